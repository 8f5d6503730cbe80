//! One reading per metric series: how far it deviates, and what that is worth among its peers.

use std::collections::{BTreeMap, BTreeSet};

use super::deviation::{self, Deviation};
use super::evidence::{Direction, Evidence};
use super::family::{self, Aspect, Family, Meaning, Side};
use super::onset;
use super::telemetry::{Period, Series};

/// Samples of baseline read per series, the latest ones.
pub const MAX_BASELINE: usize = 512;
/// Least surprise that dates an onset or is cited: one window in a hundred.
pub const NOTABLE: f64 = 2.0;
/// Weight of a move in a family's harmless direction, such as latency falling.
pub const HARMLESS: f64 = 0.5;
/// Share of failures that nobody minds: three nines.
const TOLERATED: f64 = 0.001;

/// One series of one service, measured.
pub struct Reading {
    pub service: usize,
    /// Index into the telemetry's series.
    pub series: usize,
    pub metric: String,
    pub meaning: Meaning,
    pub peer: Option<usize>,
    pub deviation: Deviation,
    /// 0..1: strength of the surprise, ranked within the family, shared and harmless discounted.
    pub severity: f64,
    pub onset: Option<i64>,
    /// A detector, whose memory is longer than a window, told of it.
    pub told: bool,
}

/// Measures all series. `services` maps names to indices.
pub fn read(
    series: &[Series],
    services: &BTreeMap<&str, usize>,
    baseline: Period,
    window: Period,
) -> Vec<Reading> {
    let mut meanings: BTreeMap<(&str, &str), Meaning> = BTreeMap::new();
    let counted = counted(series, baseline, window);
    let mut out = Vec::new();
    for (index, s) in series.iter().enumerate() {
        let Some(&service) = services.get(s.service.as_str()) else { continue };
        let meaning = meanings
            .entry((&s.metric, &s.labels))
            .or_insert_with(|| family::read(&s.metric, &s.labels, |n| services.contains_key(n)))
            .clone();
        let (mut before, after) = split(&s.points, baseline, window);
        if before.is_empty() && s.is_rate && meaning.family == Family::Error {
            let samples = counted.get(&counter(s)).copied().unwrap_or(0);
            before = vec![0.0; samples];
        }
        let Some(deviation) = measure(meaning.family, &before, &after) else { continue };
        let peer = meaning.peer.as_deref().and_then(|p| services.get(p)).copied();
        let onset =
            (deviation.surprise >= NOTABLE).then(|| date(&s.points, &deviation, window)).flatten();
        out.push(Reading {
            service,
            series: index,
            metric: s.metric.clone(),
            meaning,
            peer,
            deviation,
            severity: 0.0,
            onset,
            told: s.told > 0.0,
        });
    }
    compare_ends(&mut out, series, baseline, window);
    let tests = services.len(); // the metrics of one service are one test: they move together
    for r in &mut out {
        let surprise = r.deviation.surprise.max(series[r.series].told);
        r.severity = deviation::strength(surprise, tests);
    }
    discount_harmless(&mut out);
    discount_shared(&mut out, series);
    rank_within_family(&mut out, services.len());
    out
}

/// Whose events a counter counts, whatever their labels.
fn counter(s: &Series) -> [&str; 3] {
    [&s.service, &s.instance, &s.metric]
}

/// How often each counter was read in the baseline, at most as often as is looked at. Of what never
/// happened there is no series (`code="500"` before the first failure), but that none was counted
/// is known from the others of the counter.
fn counted(series: &[Series], baseline: Period, window: Period) -> BTreeMap<[&str; 3], usize> {
    let mut counted: BTreeMap<[&str; 3], usize> = BTreeMap::new();
    for s in series.iter().filter(|s| s.is_rate && !s.labels.is_empty()) {
        let samples = split(&s.points, baseline, window).0.len();
        let most = counted.entry(counter(s)).or_insert(0);
        *most = samples.max(*most);
    }
    counted
}

/// Where both ends of a call report its latency, their ratio tells the time on the wire from the
/// time in the callee, without the noise that both have in common. If it deviates more than the
/// caller's reading does, it speaks for it.
fn compare_ends(readings: &mut [Reading], series: &[Series], baseline: Period, window: Period) {
    let ends: BTreeMap<((usize, usize), Side), usize> = readings
        .iter()
        .filter(|r| r.meaning.family == Family::Latency)
        .filter_map(|r| Some(((r.call()?, r.meaning.side?), r.series)))
        .collect();
    for r in readings.iter_mut() {
        let Some(call) = r.call() else { continue };
        if r.meaning.side != Some(Side::Client) || r.meaning.family != Family::Latency {
            continue;
        }
        let Some(&server) = ends.get(&(call, Side::Server)) else { continue };
        let ratio = log_ratios(&series[r.series].points, &series[server].points);
        let (before, after) = split(&ratio, baseline, window);
        if let Some(d) = deviation::measure(&before, &after, 0.0)
            && d.observed > d.expected
        {
            r.deviation.surprise = r.deviation.surprise.max(d.surprise);
        }
    }
}

/// `ln(a / b)` at the times of `a`, against the latest `b` not later than half a step after it.
fn log_ratios(a: &[(i64, f64)], b: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let step = |p: &[(i64, f64)]| match (p.first(), p.last()) {
        (Some(f), Some(l)) if p.len() > 1 => (l.0 - f.0) / (p.len() as i64 - 1),
        _ => 0,
    };
    let half = step(a).max(step(b)) / 2;
    a.iter()
        .filter_map(|&(ts, x)| {
            let (at, y) = *b[..b.partition_point(|p| p.0 <= ts + half)].last()?;
            (ts - at <= half && x > 0.0 && y > 0.0).then(|| (ts, (x / y).ln()))
        })
        .collect()
}

/// A share of successes is measured by what is missing to the best ever seen: two percent fewer
/// successes are little, but many more failures.
fn measure(family: Family, before: &[f64], after: &[f64]) -> Option<Deviation> {
    if family != Family::Success {
        return deviation::measure(before, after, 0.0);
    }
    let best = before.iter().chain(after).copied().fold(f64::NEG_INFINITY, f64::max);
    let missing = |values: &[f64]| -> Vec<f64> { values.iter().map(|x| best - x).collect() };
    deviation::measure(&missing(before), &missing(after), TOLERATED * best.abs()).map(|d| {
        Deviation { expected: best - d.expected, observed: best - d.observed, iqrs: -d.iqrs, ..d }
    })
}

/// Values of the latest samples of the baseline, `MAX_BASELINE` blocks of them, and of the window.
pub fn split(points: &[(i64, f64)], baseline: Period, window: Period) -> (Vec<f64>, Vec<f64>) {
    let at = |ts: i64| points.partition_point(|p| p.0 < ts);
    let values = |range: std::ops::Range<usize>| points[range].iter().map(|p| p.1).collect();
    let after: Vec<f64> = values(at(window.from)..at(window.to));
    let (from, to) = (at(baseline.from), at(baseline.to));
    let most = MAX_BASELINE * deviation::block(after.len()).max(1);
    (values(from.max(to.saturating_sub(most))..to), after)
}

/// The onset may lie before the window by as much as the window is long: detection is late.
fn date(points: &[(i64, f64)], d: &Deviation, window: Period) -> Option<i64> {
    let from = window.from - (window.to - window.from);
    let range = points.partition_point(|p| p.0 < from)..points.partition_point(|p| p.0 < window.to);
    onset::onset(&points[range], d.expected, d.spread, d.observed > d.expected)
}

fn discount_harmless(readings: &mut [Reading]) {
    for r in readings {
        let rose = r.deviation.observed > r.deviation.expected;
        let harmful = match r.meaning.family.harmful() {
            0 => true,
            h => rose == (h > 0),
        };
        if !harmful {
            r.severity *= HARMLESS;
        }
    }
}

/// A reading that `k` services show alike (a node's metric under every pod on it) tells none of
/// them from the others: each gets its `k`-th part.
fn discount_shared(readings: &mut [Reading], series: &[Series]) {
    let key = |r: &Reading| {
        let d = &r.deviation;
        (series[r.series].metric.as_str(), d.expected.to_bits(), d.observed.to_bits())
    };
    let mut sharers: BTreeMap<(&str, u64, u64), BTreeSet<usize>> = BTreeMap::new();
    for r in readings.iter().filter(|r| r.deviation.observed != r.deviation.expected) {
        sharers.entry(key(r)).or_default().insert(r.service);
    }
    let sizes: Vec<usize> =
        readings.iter().map(|r| sharers.get(&key(r)).map_or(1, BTreeSet::len)).collect();
    for (r, k) in readings.iter_mut().zip(sizes) {
        r.severity /= k as f64;
        if r.meaning.node && k == 1 {
            r.severity *= HARMLESS; // the machine's, even where only one of its tenants is known
        }
    }
}

/// Multiplies each severity by the share of the other services that it exceeds in its family, so
/// that what moves everywhere alike counts less than what moves in one place. Traffic is left
/// alone: who brought it is read from the calls.
fn rank_within_family(readings: &mut [Reading], services: usize) {
    let group = |r: &Reading| (r.meaning.family, r.meaning.side, r.peer.is_some(), r.meaning.node);
    let mut best: BTreeMap<_, Vec<Option<f64>>> = BTreeMap::new();
    for r in readings.iter() {
        let slot = &mut best.entry(group(r)).or_insert_with(|| vec![None; services])[r.service];
        *slot = Some(slot.unwrap_or(0.0).max(r.severity));
    }
    let sorted: BTreeMap<_, Vec<f64>> = best
        .iter()
        .map(|(g, v)| {
            let mut v: Vec<f64> = v.iter().flatten().copied().collect();
            v.sort_by(f64::total_cmp);
            (*g, v)
        })
        .collect();
    for r in readings.iter_mut().filter(|r| r.meaning.family != Family::Traffic) {
        let peers = &sorted[&group(r)];
        if peers.len() > 1 {
            let below = peers.partition_point(|s| *s < r.severity);
            r.severity *= below as f64 / (peers.len() - 1) as f64;
        }
    }
}

/// Calls that metric names reveal: `(caller, callee)`.
pub fn calls(readings: &[Reading]) -> Vec<(usize, usize)> {
    let mut out: Vec<(usize, usize)> = readings.iter().filter_map(Reading::call).collect();
    out.sort_unstable();
    out.dedup();
    out
}

impl Reading {
    /// `(caller, callee)` if the series measures one call. Without a side, the owner is the caller.
    pub fn call(&self) -> Option<(usize, usize)> {
        let peer = self.peer?;
        Some(match self.meaning.side {
            Some(Side::Server) => (peer, self.service),
            _ => (self.service, peer),
        })
    }

    /// In the metric's own unit.
    pub fn change(&self) -> f64 {
        self.deviation.observed - self.deviation.expected
    }

    /// Severity less the share that a change of load accounts for, unless a detector told of it.
    pub fn beyond(&self, load: Option<f64>) -> f64 {
        if self.told {
            return self.severity;
        }
        let change = ratio(self.deviation.expected, self.deviation.observed);
        self.severity * (1.0 - covers(change, load))
    }

    pub fn aspect(&self) -> Aspect {
        self.meaning.family.aspect(self.meaning.side)
    }

    /// The reading as something to cite.
    pub fn evidence(&self, series: &[Series]) -> Evidence {
        let s = &series[self.series];
        Evidence::MetricWindow {
            service: s.service.clone(),
            instance: s.instance.clone(),
            metric: s.metric.clone(),
            labels: s.labels.clone(),
            is_rate: s.is_rate,
            observed: self.deviation.observed,
            expected: self.deviation.expected,
            deviation: self.deviation.iqrs,
            surprise: self.deviation.surprise,
            direction: if self.change() < 0.0 { Direction::Down } else { Direction::Up },
            onset: self.onset,
        }
    }
}

/// Natural logarithm of window against baseline.
pub fn ratio(expected: f64, observed: f64) -> Option<f64> {
    (expected > 0.0 && observed > 0.0).then(|| (observed / expected).ln())
}

/// Share of a relative change that another one in the same direction accounts for.
pub fn covers(change: Option<f64>, by: Option<f64>) -> f64 {
    match (change, by) {
        (Some(c), Some(b)) if c * b > 0.0 => (b / c).clamp(0.0, 1.0),
        _ => 0.0,
    }
}
