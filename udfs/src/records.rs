//! How surprising a value is that is higher than any before, in constant memory.
//!
//! Of `n` exchangeable windows the next begins a new maximum with probability `1/(n + 1)`, whatever
//! their law. How far it may exceed the old one is told by the distances between the highest peaks
//! `M₁ ≥ M₂ ≥ … ≥ M_k`: by Rényi's representation `i·(M_i − M_{i+1})` are independent exponentials
//! of mean `σ` if the tail is exponential, and the same holds for logarithms and `γ` if it is a
//! power law. With `k` of them, one of which is a guess of what is usual,
//!
//! ```text
//! P(R ≥ r) = 1/(n + 1) · (1 + (r − M₁)/(k·σ))^(−k)      exponential tail
//!          = 1/(n + 1) · (1 + ln(r/M₁)/(k·γ))^(−k)      power law
//! ```
//!
//! which are the predictive laws of a scale known from `k` values only; the higher one counts. The
//! two sides of a series have records of their own, so there are twice as many.
//!
//! Peaks are those of clusters: one begins with a window beyond `HOLD` of the last peak, and ends
//! after as many quiet windows as the caller says. So what rises over many windows does not count
//! against itself. A record is an event and no state: in a cluster only what exceeds that cluster
//! too is one. Old peaks fade, by half in about 130,000 windows.
//!
//! This is for series that are idle but for bursts: a statistic that compares a value with its
//! usual size has nothing to say of them, as every burst is infinitely many scales away, the one
//! that breaks all records no more than the others. Where peaks are within `IDLE` scales it has,
//! and a record of theirs counts for nothing here.
//!
//! Sources: A. Rényi, Acta Math. Hung. 4 (1953); B. M. Hill, Annals of Statistics 3 (1975);
//! R. L. Smith and I. Weissman, JRSS B 56 (1994), runs declustering.

use crate::codec::Reader;
use crate::verdict::SCORE_MAX;

/// Peaks kept: with the guess they make three distances, besides the one that is going on.
const PEAKS: usize = 4;
/// Fewest that say how far apart peaks are.
const PEAKS_MIN: usize = 3;
/// Scales beyond which it does not tell how large a peak is. From 5 to 20 hardly anything changes.
const IDLE: f64 = 10.0;
/// As many windows are at most taken for exchangeable: with patterns of days and weeks, trends and
/// releases a series that is older has no more to say about what it never did. Without this limit
/// a record by a hair, of which a trend has many, would count.
const EXCHANGEABLE: f64 = 2_000.0;
/// Windows after which peaks fade by one step of their resolution, a part in 128 to 256.
const FADE: u32 = 1024;
/// Share of a peak below which a value is not part of its cluster.
const HOLD: f64 = 0.5;
/// Exponent of a power law before any peak is known: between what light and heavy tails show.
const EXPONENT: f64 = 0.3;

/// The highest peaks on one side, in 16 bits each, as an idle series has many like it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Side {
    /// Falling; 0 where there was none.
    peaks: [u16; PEAKS],
}

/// The present cluster of one side, in three and five bits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cluster(u8);

/// The records of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Records {
    sides: [Side; 2],
    clusters: [Cluster; 2],
}

/// The 16 highest bits of a positive number, rounded up: a peak that comes again exceeds nothing.
fn short(v: f64) -> u16 {
    let bits = (v as f32).to_bits();
    ((bits >> 16) + u32::from(bits & 0xffff != 0)) as u16
}

fn long(v: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(v) << 16))
}

impl Cluster {
    /// Windows without anything high are counted up to this.
    const QUIET_MAX: u8 = 31;

    const fn new(current: usize, quiet: u8) -> Self {
        let quiet = if quiet < Self::QUIET_MAX { quiet } else { Self::QUIET_MAX };
        Self((current as u8) << 5 | quiet)
    }

    /// Which peak is its own; `PEAKS` where there is no cluster.
    fn current(self) -> usize {
        usize::from(self.0 >> 5)
    }

    /// Windows since the last that was part of it.
    fn quiet(self) -> u8 {
        self.0 & Self::QUIET_MAX
    }
}

impl Side {
    const fn new() -> Self {
        Self { peaks: [0; PEAKS] }
    }

    /// Decades by which the excess of `r` over the record lowers the probability, or `None` where
    /// `r` is no record. The present cluster does not say how far apart peaks are.
    fn decades(&self, current: usize, r: f64, scale: f64) -> Option<f64> {
        let mut past = [0.0; PEAKS];
        let mut known = 0;
        for (i, peak) in self.peaks.iter().enumerate() {
            if i != current && *peak > 0 {
                past[known] = long(*peak);
                known += 1;
            }
        }
        let present = self.peaks.get(current).map_or(0.0, |peak| long(*peak));
        let idle = scale > 0.0 && past[0] >= IDLE * scale;
        if known < PEAKS_MIN || !idle || r <= past[0].max(present) {
            return None;
        }
        let (mut distance, mut exponent) = (scale, EXPONENT);
        for (i, pair) in past[..known].windows(2).enumerate() {
            let rank = (i + 1) as f64;
            distance += rank * (pair[0] - pair[1]);
            exponent += rank * (pair[0] / pair[1]).ln();
        }
        let k = known as f64;
        let exponential = k * ((r - past[0]) / distance).ln_1p();
        let power = k * ((r / past[0]).ln() / exponent).ln_1p();
        Some(exponential.min(power) / std::f64::consts::LN_10)
    }

    /// The cluster after a window; one ends after `quiet_max` windows without anything high.
    fn learn(&mut self, cluster: Cluster, r: f64, quiet_max: u8) -> Cluster {
        let current = if cluster.quiet() >= quiet_max { PEAKS } else { cluster.current() };
        let mut at = current.min(PEAKS - 1);
        let part = r > HOLD * long(self.peaks[at]);
        let quiet = if part { 0 } else { cluster.quiet() + 1 };
        if r <= long(self.peaks[at]) {
            return Cluster::new(current, quiet);
        }
        self.peaks[at] = short(r);
        while at > 0 && self.peaks[at] > self.peaks[at - 1] {
            self.peaks.swap(at, at - 1);
            at -= 1;
        }
        Cluster::new(at, quiet)
    }
}

impl Records {
    pub(crate) const fn new() -> Self {
        Self { sides: [Side::new(); 2], clusters: [Cluster::new(PEAKS, u8::MAX); 2] }
    }

    /// −log10 of the probability of a value as far out as `residual`; 0 if it is no record.
    /// `scale` is the usual size of residuals, `windows` how many the records are out of.
    pub(crate) fn score(&self, residual: f64, scale: f64, windows: f64) -> f64 {
        let side = usize::from(residual < 0.0);
        let current = self.clusters[side].current();
        let decades = self.sides[side].decades(current, residual.abs(), scale);
        let Some(decades) = decades else { return 0.0 };
        let chances = self.sides.len() as f64;
        (((windows.min(EXCHANGEABLE) + 1.0) / chances).log10() + decades).clamp(0.0, SCORE_MAX)
    }

    /// Takes in the residual of the `count`th window; `cluster` windows without anything high end
    /// a cluster.
    pub(crate) fn learn(&mut self, count: u32, residual: f64, cluster: u8) {
        if count.is_multiple_of(FADE) {
            for peak in self.sides.iter_mut().flat_map(|side| &mut side.peaks) {
                *peak = peak.saturating_sub(1);
            }
        }
        let sides = self.sides.iter_mut().zip(&mut self.clusters);
        for ((side, present), r) in sides.zip([residual, -residual]) {
            *present = side.learn(*present, r, cluster);
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (side, cluster) in self.sides.iter().zip(&self.clusters) {
            side.peaks.iter().for_each(|peak| out.extend_from_slice(&peak.to_le_bytes()));
            out.push(cluster.0);
        }
    }

    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        let mut records = Self::new();
        for (side, cluster) in records.sides.iter_mut().zip(&mut records.clusters) {
            for peak in &mut side.peaks {
                *peak = from.u16()?;
            }
            *cluster = Cluster(from.u8()?);
            let falling = side.peaks.is_sorted_by(|a, b| a >= b);
            let finite = side.peaks.iter().all(|peak| long(*peak).is_finite() && *peak < 0x8000);
            if !falling || !finite || cluster.current() > PEAKS {
                return None;
            }
        }
        Some(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Rng;

    const CLUSTER: u8 = 16;

    /// Records of one-sided values, and how many windows they are out of.
    #[derive(Default)]
    struct Fed {
        records: Option<Records>,
        windows: u32,
    }

    impl Fed {
        fn learn(&mut self, v: f64, cluster: u8) {
            self.windows += 1;
            self.records.get_or_insert(Records::new()).learn(self.windows, v, cluster);
        }

        fn score(&self, v: f64, scale: f64) -> f64 {
            self.records.map_or(0.0, |r| r.score(v, scale, f64::from(self.windows)))
        }
    }

    fn fed(values: impl IntoIterator<Item = f64>) -> Fed {
        let mut fed = Fed::default();
        values.into_iter().for_each(|v| fed.learn(v, CLUSTER));
        fed
    }

    /// Bursts of one window each, 50 windows apart.
    fn bursts(heights: &[f64]) -> Fed {
        fed(heights.iter().flat_map(|h| std::iter::once(*h).chain(std::iter::repeat_n(0.0, 49))))
    }

    #[test]
    fn what_happened_before_is_no_record_and_a_higher_one_is() {
        let records = bursts(&[50.0, 40.3, 60.7, 45.0, 57.3, 38.0, 60.7]);
        assert_eq!(records.score(60.7, 0.1), 0.0);
        assert!(records.score(61.5, 0.1) < records.score(90.0, 0.1));
        assert!(records.score(600.0, 0.1) > 3.5, "{}", records.score(600.0, 0.1));
        assert_eq!(records.score(-600.0, 0.1), 0.0, "nothing is known of that side");
        assert_eq!(records.score(600.0, 10.0), 0.0, "peaks are of the usual size");
    }

    #[test]
    fn a_record_is_no_more_frequent_than_its_score_says() {
        for (name, power) in [("exponential", false), ("power law", true)] {
            let (mut rng, mut hits, runs, windows) = (Rng(5), 0, 40, 5_000);
            for _ in 0..runs {
                let mut records = Fed::default();
                for _ in 0..windows {
                    let e = -rng.uniform().ln();
                    let v = if power { (0.4 * e).exp() } else { e };
                    hits += u32::from(records.score(v, 0.1) >= 3.0);
                    records.learn(v, 1);
                }
            }
            let expected = 1e-3 * f64::from(runs * windows);
            assert!(hits > 0 && f64::from(hits) < expected, "{name}: {hits} of {expected}");
        }
    }

    #[test]
    fn what_goes_on_does_not_count_against_itself() {
        let mut records = bursts(&[5.0, 4.0, 6.0, 5.5]);
        records.learn(50.0, CLUSTER);
        let first = records.score(55.0, 0.1);
        records.learn(55.0, CLUSTER);
        assert!(records.score(60.0, 0.1) >= first);
        assert_eq!(records.score(52.0, 0.1), 0.0, "it has been higher");
        (0..=CLUSTER).for_each(|_| records.learn(0.0, CLUSTER));
        assert_eq!(records.score(55.0, 0.1), 0.0, "it is over, and was a record");
    }

    #[test]
    fn old_records_fade() {
        let mut records = bursts(&[1e3, 10.0, 11.0, 12.0]);
        (0..40_000).for_each(|i| records.learn(if i % 100 == 0 { 10.0 } else { 0.0 }, CLUSTER));
        assert!(records.score(900.0, 1.0) > 3.0);
    }

    #[test]
    fn any_value_is_survived_and_bytes_come_back() {
        let records = fed([1e30, -1e30, 0.0, 1e-30, 5.0, -0.0]).records.unwrap();
        let mut bytes = vec![1];
        records.write(&mut bytes);
        let read = |bytes: &[u8]| Records::read(&mut Reader::new(bytes, 1).unwrap());
        assert_eq!(read(&bytes), Some(records));
        assert_eq!(read(&bytes[..bytes.len() - 1]), None);
    }
}
