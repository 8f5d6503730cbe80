//! What is surprising of a series that is still young, judged by what others were like at its age.
//!
//! A series of a few windows says little of itself: the next value is the first of its kind too
//! often, and how far it may go is not known. Others of its kind (the same metric of other services
//! and replicas) are, or were, as young. With `n` windows of mean `m` and sum of squares `Q` about
//! it, and a new value `x`,
//!
//! ```text
//! u² = (x − m)² / (1 + 1/n) / size²        size = max(|m|, SIZE · mean |x| of the kind)
//! s² = (PRIOR · s_k² + Q/size²) / ν        ν = PRIOR + n − 1
//! S  = ν/2 · ln(1 + u²/(ν·s²))
//! ```
//!
//! where `s_k` is the typical relative spread of the kind, `ln s_k²` the mean of `ln u²` plus 1.27
//! (which is what it falls short of `ln` of the mean for a normal law), drawn towards that of all
//! kinds by as many windows as `PRIOR_WINDOWS`. `S` is `−ln p` of Student's law with `ν` degrees of
//! freedom, to within its factor in front: about half the square of a normal deviate. How far that
//! is to be believed is learned from all young series together by [`peaks over
//! threshold`](crate::peaks_over_threshold), without its records, as what one series did says
//! little of another, and the score is never above `S` itself. Of what is told at one moment only
//! the most surprising is learnt: a fault shows in many series, and if all taught what is usual,
//! its second minute would be.
//!
//! Series that are there when a kind is first seen are not new, only unknown. One that begins later
//! is: it warms up, fills caches, and is not compared with those, but with others that began later;
//! as long as there were none, it stays silent.
//!
//! Series that are zero most of the time are another matter: next to nothing is no measure of what
//! they do. They are judged by the [events](crate::rare_events) of their kind, and left out of all
//! that is said above. So is, until long after a series is grown up, what it does after zeros.
//!
//! All rows of a moment are scored before any is learnt from, and learnt from in the order of their
//! numbers, so their order does not matter.
//!
//! Sources: Gelman et al., Bayesian Data Analysis, §5 (partial pooling) and §3.2 (Student's
//! predictive law).

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{Reader, put_f32s};
use crate::metric_anomaly::{TOLD, WARM_UP, Young};
use crate::peaks_over_threshold::{Prior, Tail};
use crate::rare_events::RareEvents;
use crate::stateful::Shared;
use crate::verdict::SCORE_MAX;

const VERSION: u8 = 2;
/// Windows that a series must have shown: fewer have no spread to speak of.
const LEAST: u32 = 4;
/// Windows of other young series before any may speak.
const ENOUGH: f32 = 100.0;
/// Windows of its own after which a series needs no other to tell how rare its events are.
pub(crate) const GROWN: u32 = 200;
/// Windows that the kind's spread is worth beside those of the series itself.
const PRIOR: f64 = 3.0;
/// Windows that the spread of all kinds is worth beside those of the kind.
const PRIOR_WINDOWS: f64 = 10.0;
/// Windows that a pool remembers.
const MEMORY: f32 = 2_000.0;
/// Share of the kind's mean size that the size of a series is at least: one that idles is not
/// measured by its own next to nothing.
const SIZE: f64 = 0.1;
/// Least relative spread, as that of the grown-up.
const SPREAD_MIN: f64 = 1e-3;
/// Largest relative deviation told apart.
const DEVIATION_MAX: f64 = 1e3;
/// `−(ψ(1/2) + ln 2)`: by how much the mean of `ln χ²₁` is below `ln 1`.
const LOG_BIAS: f64 = 1.270_36;
/// Law of `−ln p`: exponential with mean 1.
const TAIL: Prior = Prior { threshold: 3.912, excess: 1.0, weight: 8.0 };
/// Kinds remembered; series of further ones stay silent while they are young.
const KINDS_MAX: usize = 16_384;

/// Mean sizes and spreads of the young of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pool {
    /// Windows seen, and those of series that had a past, as far as they are remembered.
    windows: f32,
    compared: f32,
    /// Mean size of a value, and mean of `ln u²`.
    size: f32,
    log_square: f32,
}

impl Pool {
    const NEW: Self = Self { windows: 0.0, compared: 0.0, size: 0.0, log_square: 0.0 };

    fn learn(&mut self, lesson: &Lesson) {
        self.windows = (self.windows + 1.0).min(MEMORY);
        let size = lesson.size.min(f64::from(f32::MAX)) as f32;
        self.size += size / self.windows - self.size / self.windows;
        if let Some(log_square) = lesson.log_square {
            self.compared = (self.compared + 1.0).min(MEMORY);
            self.log_square += (log_square as f32 - self.log_square) / self.compared;
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_f32s(out, &[self.windows, self.compared, self.size, self.log_square]);
    }

    fn read(from: &mut Reader) -> Option<Self> {
        let [windows, compared, size, log_square] = from.f32s()?;
        let sound = windows >= 0.0 && compared >= 0.0 && size >= 0.0;
        sound.then_some(Self { windows, compared, size, log_square })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Kind {
    /// Moments at which it had young series.
    moments: u32,
    /// Of those that were there from the beginning, and of those that began later.
    pools: [Pool; 2],
    /// Of those that are zero most of the time.
    events: RareEvents,
}

/// One row of a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Number of the kind, the same in every run.
    pub(crate) kind: u64,
    pub(crate) past: Past,
    pub(crate) value: f64,
}

/// What is known of the series of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Past {
    /// It is young, and zero most of the time or not.
    Young { young: Young, idle: bool },
    /// It is grown up, has seen so many windows, and its latest were nothing but zero.
    Still { windows: u32 },
}

/// What is learnt from one row.
struct Lesson {
    kind: u64,
    late: usize,
    size: f64,
    /// Of a series that is zero most of the time: its score.
    event: Option<f64>,
    /// `ln u²` of a series that has a past.
    log_square: Option<f64>,
    /// `S` of one that may speak.
    statistic: Option<f64>,
    fresh: bool,
}

/// What is known of the young of all kinds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Newcomers {
    kinds: BTreeMap<u64, Kind>,
    all: [Pool; 2],
    tails: [Tail; 2],
}

impl Default for Newcomers {
    fn default() -> Self {
        let tails = [Tail::new(TAIL), Tail::new(TAIL)];
        Self { kinds: BTreeMap::new(), all: [Pool::NEW; 2], tails }
    }
}

impl Newcomers {
    /// Scores the rows of young and still series at one moment, then learns from them: −log10 of
    /// the probability of a young one, of another the most that it may be. Values are finite.
    pub(crate) fn moment(&mut self, rows: &[Row]) -> Vec<f64> {
        let young = |row: &&Row| matches!(row.past, Past::Young { .. });
        let present: BTreeSet<u64> = rows.iter().filter(young).map(|row| row.kind).collect();
        for kind in present {
            let room = self.kinds.len() < KINDS_MAX;
            if room || self.kinds.contains_key(&kind) {
                let new = || Kind { moments: 0, pools: [Pool::NEW; 2], events: RareEvents::NEW };
                self.kinds.entry(kind).or_insert_with(new).moments += 1;
            }
        }
        let looked: Vec<Option<Lesson>> = rows.iter().map(|row| self.look(row)).collect();
        let score = |(lesson, row): (&Option<Lesson>, &Row)| match (lesson, row.past) {
            (Some(lesson), _) => self.score(lesson),
            (None, Past::Young { .. }) => 0.0,
            (None, Past::Still { .. }) => SCORE_MAX,
        };
        let scores: Vec<f64> = looked.iter().zip(rows).map(score).collect();
        let (mut told, mut lessons) = (Vec::new(), Vec::new());
        for (lesson, score) in looked.into_iter().zip(&scores) {
            let Some(lesson) = lesson else { continue };
            let of =
                if lesson.statistic.is_some() && *score >= TOLD { &mut told } else { &mut lessons };
            of.push(lesson);
        }
        told.retain(|lesson| lesson.fresh);
        lessons.extend(told.into_iter().max_by(Lesson::surprise));
        lessons.sort_by(Lesson::order);
        lessons.iter().for_each(|lesson| self.learn(lesson));
        scores
    }

    /// What a row says; nothing if its kind is one too many.
    fn look(&self, row: &Row) -> Option<Lesson> {
        let kind = self.kinds.get(&row.kind)?;
        let size = row.value.abs();
        let lesson = |event| Lesson {
            kind: row.kind,
            late: 0,
            size,
            event,
            log_square: None,
            statistic: None,
            fresh: true,
        };
        let young = match row.past {
            Past::Young { young, idle: false } => young,
            Past::Young { young, idle: true } => {
                return Some(lesson(Some(kind.events.score(size, young.windows))));
            }
            // Where the kind has never moved, the series itself knows best.
            Past::Still { .. } if !kind.events.happen() => return Some(lesson(Some(SCORE_MAX))),
            Past::Still { windows } => {
                return Some(lesson(Some(kind.events.score(size, windows))));
            }
        };
        let late = usize::from(kind.moments.saturating_sub(young.windows + 1) >= WARM_UP);
        let mut lesson = Lesson { late, fresh: !young.hot, ..lesson(None) };
        if young.windows == 0 {
            return Some(lesson);
        }
        let (n, pool) = (f64::from(young.windows), kind.pools[late]);
        let away = (row.value - young.mean).abs();
        let usual = young.mean.abs().max(SIZE * f64::from(pool.size));
        let size = if usual > 0.0 { usual } else { away };
        let relative = |v: f64| if size > 0.0 { (v / size).min(DEVIATION_MAX) } else { 0.0 };
        let least = SPREAD_MIN * SPREAD_MIN;
        let square = relative(away).powi(2) / (1.0 + 1.0 / n);
        lesson.log_square = Some((square + least).ln());
        if young.windows >= LEAST {
            let known = relative(young.squares.sqrt()).powi(2);
            let freedom = PRIOR + n - 1.0;
            let spread = ((PRIOR * self.spread(pool, late) + known) / freedom).max(least);
            lesson.statistic = Some(0.5 * freedom * (square / (freedom * spread)).ln_1p());
        }
        Some(lesson)
    }

    /// Typical square of the relative spread of a kind.
    fn spread(&self, pool: Pool, late: usize) -> f64 {
        let (own, all) = (f64::from(pool.compared), f64::from(self.all[late].log_square));
        let mean = (own * f64::from(pool.log_square) + PRIOR_WINDOWS * all) / (own + PRIOR_WINDOWS);
        (mean + LOG_BIAS).exp()
    }

    fn score(&self, lesson: &Lesson) -> f64 {
        if let Some(score) = lesson.event {
            return score.min(SCORE_MAX);
        }
        let known = self.all[lesson.late].compared >= ENOUGH;
        let Some(statistic) = lesson.statistic.filter(|_| known) else { return 0.0 };
        let model = statistic / std::f64::consts::LN_10;
        self.tails[lesson.late].score_by_law(statistic, TAIL).min(model).min(SCORE_MAX)
    }

    fn learn(&mut self, lesson: &Lesson) {
        if let Some(kind) = self.kinds.get_mut(&lesson.kind) {
            if lesson.event.is_some() {
                kind.events.learn(lesson.size);
                return;
            }
            kind.pools[lesson.late].learn(lesson);
        }
        self.all[lesson.late].learn(lesson);
        if let Some(statistic) = lesson.statistic {
            self.tails[lesson.late].learn(statistic, TAIL, lesson.fresh);
        }
    }
}

impl Shared for Newcomers {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&(self.kinds.len() as u32).to_le_bytes());
        for (number, kind) in &self.kinds {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&kind.moments.to_le_bytes());
            kind.pools.iter().for_each(|pool| pool.write(out));
            kind.events.write(out);
        }
        self.all.iter().for_each(|pool| pool.write(out));
        self.tails.iter().for_each(|tail| tail.write(out));
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut from = Reader::new(bytes, VERSION)?;
        let mut kinds = BTreeMap::new();
        for _ in 0..from.u32()? {
            let (number, moments) = (from.i64()? as u64, from.u32()?);
            let pools = [Pool::read(&mut from)?, Pool::read(&mut from)?];
            let events = RareEvents::read(&mut from)?;
            kinds.insert(number, Kind { moments, pools, events });
        }
        let all = [Pool::read(&mut from)?, Pool::read(&mut from)?];
        let tails = [Tail::read(&mut from)?, Tail::read(&mut from)?];
        Some((Self { kinds, all, tails }, from.rest()))
    }
}

impl Lesson {
    /// The most surprising last.
    fn surprise(a: &Self, b: &Self) -> std::cmp::Ordering {
        let of = |l: &Self| l.statistic.unwrap_or(0.0);
        of(a).total_cmp(&of(b)).then_with(|| Self::order(a, b))
    }

    /// An order that does not depend on that of the rows.
    fn order(a: &Self, b: &Self) -> std::cmp::Ordering {
        let numbers = |l: &Self| [Some(l.size), l.event, l.log_square, l.statistic];
        let place = |l: &Self| (l.kind, l.late, l.fresh);
        let pairs = numbers(a).into_iter().zip(numbers(b));
        pairs.fold(place(a).cmp(&place(b)), |order, (a, b)| {
            order.then_with(|| a.unwrap_or(-1.0).total_cmp(&b.unwrap_or(-1.0)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{FAMILIES, Noise};

    /// A series as a detector would keep it.
    #[derive(Clone, Default)]
    struct Series {
        kind: u64,
        values: Vec<f64>,
    }

    impl Series {
        fn row(&self, value: f64) -> Row {
            let n = self.values.len().max(1) as f64;
            let mean = self.values.iter().sum::<f64>() / n;
            let squares = self.values.iter().map(|v| (v - mean).powi(2)).sum();
            let windows = self.values.len() as u32;
            let young = Young { windows, mean, squares, hot: false };
            Row { kind: self.kind, past: Past::Young { young, idle: false }, value }
        }
    }

    /// Ten series each of kinds that have nothing in common, `windows` long; returns scores by
    /// series. `fault` is added to the first series of each kind from the given window on.
    fn watched(seed: u64, windows: usize, fault: Option<(usize, f64)>) -> Vec<Vec<f64>> {
        let mut newcomers = Newcomers::default();
        let mut series = Vec::new();
        for (kind, family) in FAMILIES.into_iter().enumerate() {
            for i in 0..10 {
                let noise = Noise::new(family, seed * 1_000 + kind as u64 * 10 + i);
                let level = 10f64.powi(i as i32 % 4 + 1);
                series.push((Series { kind: kind as u64, values: Vec::new() }, noise, level));
            }
        }
        let mut scores = vec![Vec::new(); series.len()];
        for at in 0..windows {
            let faulty = |i: usize, level: f64| match fault {
                Some((from, share)) if i.is_multiple_of(10) && at >= from => share * level,
                _ => 0.0,
            };
            let values: Vec<f64> = series
                .iter_mut()
                .enumerate()
                .map(|(i, (_, noise, level))| {
                    *level * (1.0 + 0.02 * noise.next()) + faulty(i, *level)
                })
                .collect();
            let rows: Vec<Row> =
                series.iter().zip(&values).map(|((s, _, _), v)| s.row(*v)).collect();
            for (i, score) in newcomers.moment(&rows).into_iter().enumerate() {
                scores[i].push(score);
                series[i].0.values.push(values[i]);
            }
        }
        scores
    }

    #[test]
    fn calm_series_of_many_families_rarely_alarm_and_faults_do() {
        let (mut alarms, mut windows, mut found, mut faults) = (0, 0, 0, 0);
        for seed in 0..10 {
            let calm: Vec<f64> = watched(seed, 24, None).concat();
            windows += calm.len();
            alarms += calm.iter().filter(|s| **s >= 3.0).count();
            for scores in watched(seed, 16, Some((12, 1.0))).iter().step_by(10) {
                faults += 1;
                found += usize::from(scores[12] >= 3.0);
            }
        }
        assert!((alarms as f64) < 3e-3 * windows as f64, "{alarms} of {windows}");
        assert!(10 * found >= 7 * faults, "{found} of {faults}");
    }

    #[test]
    fn what_begins_later_is_compared_with_what_began_later() {
        let mut newcomers = Newcomers::default();
        let mut noise = Noise::new(crate::noise::Family::Normal, 1);
        let mut grow = |newcomers: &mut Newcomers, series: &mut Vec<Series>, levels: [f64; 2]| {
            let level = |i: usize| levels[usize::from(i > 0)];
            let values: Vec<f64> =
                (0..series.len()).map(|i| level(i) * (1.0 + 0.02 * noise.next())).collect();
            let rows: Vec<Row> = series.iter().zip(&values).map(|(s, v)| s.row(*v)).collect();
            let scores = newcomers.moment(&rows);
            series.iter_mut().zip(values).for_each(|(s, v)| s.values.push(v));
            scores
        };
        let mut founders = vec![Series::default(); 20];
        for _ in 0..24 {
            grow(&mut newcomers, &mut founders, [100.0; 2]);
        }
        for rollout in 0..4 {
            let mut pods = vec![Series::default(); 8];
            // They warm up, which is no fault.
            for minute in 0..12 {
                let level = 100.0 - 60.0 * 0.7f64.powi(minute);
                let scores = grow(&mut newcomers, &mut pods, [level; 2]);
                assert!(scores.iter().all(|s| *s < 3.0), "roll-out {rollout}: {scores:?}");
            }
            let failing = if rollout % 3 == 0 { 1_000.0 } else { 100.0 };
            let scores = grow(&mut newcomers, &mut pods, [failing, 100.0]);
            assert_eq!(scores[0] >= 3.0, rollout == 3, "roll-out {rollout}: {scores:?}");
            for _ in 13..24 {
                grow(&mut newcomers, &mut pods, [100.0; 2]);
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter_and_a_restored_state_goes_on() {
        let (mut forth, mut back) = (Newcomers::default(), Newcomers::default());
        let mut noise = Noise::new(crate::noise::Family::LogNormal, 5);
        let kinds = [1, u64::MAX, 7];
        let mut series: Vec<Series> =
            (0..30).map(|i| Series { kind: kinds[i % 3], values: Vec::new() }).collect();
        for at in 0..20 {
            let values: Vec<f64> = series.iter().map(|_| noise.next()).collect();
            let mut rows: Vec<Row> = series.iter().zip(&values).map(|(s, v)| s.row(*v)).collect();
            let scores = forth.moment(&rows);
            rows.reverse();
            let mut reversed = back.moment(&rows);
            reversed.reverse();
            assert_eq!(scores, reversed);
            series.iter_mut().zip(values).for_each(|(s, v)| s.values.push(v));
            let mut bytes = Vec::new();
            forth.write(&mut bytes);
            assert!(Newcomers::read(&bytes[..bytes.len() - 1]).is_none());
            if at % 5 == 4 {
                forth = Newcomers::read(&bytes).unwrap().0;
            }
            assert_eq!(forth, back);
        }
    }

    #[test]
    fn nothing_and_the_largest_numbers_are_harmless() {
        let mut newcomers = Newcomers::default();
        for windows in 0..24 {
            for (mean, squares, value) in
                [(0.0, 0.0, 0.0), (0.0, 0.0, f64::MAX), (f64::MAX, f64::INFINITY, f64::MIN)]
            {
                let young = Young { windows, mean, squares, hot: true };
                for past in [false, true].map(|idle| Past::Young { young, idle }) {
                    let scores = newcomers.moment(&vec![Row { kind: 3, past, value }; 20]);
                    assert!(scores.iter().all(|s| s.is_finite()), "{scores:?}");
                }
                let past = Past::Still { windows };
                let scores = newcomers.moment(&vec![Row { kind: 3, past, value }; 20]);
                assert!(scores.iter().all(|s| s.is_finite()), "{scores:?}");
            }
        }
    }
}
