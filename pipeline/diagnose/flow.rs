//! Calls made per request handled: a service that answers as many requests as ever but no longer
//! calls a callee, or calls it over and over, has taken another way, whatever the load is.
//!
//! The metric twin of the shape of traces. The rate of the callee is divided by that of the caller
//! sample by sample, so that what load does to both cancels out.

use std::collections::BTreeMap;

use super::deviation::{self, Deviation, strength};
use super::family::{self, Family, Side};
use super::graph::CallGraph;
use super::readings::{HARMLESS, split};
use super::telemetry::{Period, Series};

/// One call whose rate was measured against its caller's.
pub struct Flow {
    pub caller: usize,
    pub callee: usize,
    /// Index into the telemetry's series: the callee's rate.
    pub series: usize,
    /// Of the callee's share in the sum of both rates.
    pub deviation: Deviation,
    /// 0..1.
    pub severity: f64,
}

/// Requests by number of the sample, summed over instances, in order.
type Rates = Vec<(i64, f64)>;

/// Measures all known calls between services that report the same rate.
pub fn read(
    series: &[Series],
    services: &BTreeMap<&str, usize>,
    graph: &CallGraph,
    baseline: Period,
    window: Period,
) -> Vec<Flow> {
    let mut metrics: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, s) in series.iter().enumerate() {
        metrics.entry(&s.metric).or_default().push(index);
    }
    let mut out = Vec::new();
    for (metric, all) in metrics {
        let meaning = family::read(metric, "", |name| services.contains_key(name));
        if meaning.family != Family::Traffic
            || meaning.peer.is_some()
            || meaning.node
            || meaning.side == Some(Side::Client)
        {
            continue;
        }
        let step = step(series, &all);
        let mut rates: BTreeMap<usize, (usize, Rates)> = BTreeMap::new();
        for index in all {
            if let Some(&v) = services.get(series[index].service.as_str()) {
                let (_, rate) = rates.entry(v).or_insert_with(|| (index, Rates::new()));
                add(rate, &series[index].points, step);
            }
        }
        for (&caller, (_, own)) in &rates {
            for &callee in graph.callees(caller) {
                let Some((index, theirs)) = rates.get(&callee) else { continue };
                let points = shares(own, theirs, step);
                let (before, after) = split(&points, baseline, window);
                let Some(deviation) = deviation::measure(&before, &after, 0.0) else { continue };
                let direction =
                    if deviation.observed < deviation.expected { 1.0 } else { HARMLESS };
                let severity = direction * strength(deviation.surprise, services.len())
                    / graph.callers(callee).len().max(1) as f64;
                out.push(Flow { caller, callee, series: *index, deviation, severity });
            }
        }
    }
    out
}

/// Median distance between samples, nanoseconds, at least one.
fn step(series: &[Series], all: &[usize]) -> i64 {
    let mut steps: Vec<i64> = all
        .iter()
        .filter_map(|&i| {
            let points = &series[i].points;
            let (first, last) = (points.first()?.0, points.last()?.0);
            (points.len() > 1).then(|| (last - first) / (points.len() as i64 - 1))
        })
        .collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(0).max(1)
}

/// Adds the mean of each step's samples.
fn add(rates: &mut Rates, points: &[(i64, f64)], step: i64) {
    let number = |ts: i64| ts.div_euclid(step);
    let known = rates.len();
    for same in points.chunk_by(|a, b| number(a.0) == number(b.0)) {
        let sum: f64 = same.iter().map(|p| p.1).sum();
        rates.push((number(same[0].0), sum / same.len() as f64));
    }
    if known > 0 {
        rates.sort_by_key(|r| r.0); // stable: instances stay in order
        rates.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0.0 };
            same
        });
    }
}

/// The callee's share in the sum of both rates wherever both are known: a ratio that is finite.
fn shares(caller: &Rates, callee: &Rates, step: i64) -> Vec<(i64, f64)> {
    let mut theirs = callee.iter().peekable();
    caller
        .iter()
        .filter(|(_, own)| *own > 0.0)
        .filter_map(|(number, own)| {
            while theirs.next_if(|t| t.0 < *number).is_some() {}
            let (_, rate) = theirs.peek().filter(|t| t.0 == *number && t.1 >= 0.0)?;
            Some((number * step + step / 2, rate / (own + rate)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 60_000_000_000;
    const BASELINE: i64 = 60;

    fn rate(service: &str, at: impl Fn(i64) -> f64) -> Series {
        Series {
            service: service.to_owned(),
            instance: format!("{service}-0"),
            metric: "requests".to_owned(),
            labels: String::new(),
            is_rate: false,
            told: 0.0,
            points: (0..BASELINE + 5).map(|i| (i * STEP, at(i))).collect(),
        }
    }

    /// Load that swings far more than what is to be found.
    fn load(i: i64) -> f64 {
        100.0 + 60.0 * ((i * 7919) % 17) as f64 / 17.0
    }

    fn flows(series: &[Series]) -> Vec<Flow> {
        let services = BTreeMap::from([("api", 0), ("db", 1), ("web", 2)]);
        let graph = CallGraph::new(3, [(2, 0), (0, 1)]);
        let (from, split) = (0, BASELINE * STEP);
        let window = Period { from: split, to: split + 5 * STEP };
        read(series, &services, &graph, Period { from, to: split }, window)
    }

    fn severity(flows: &[Flow], caller: usize) -> f64 {
        flows.iter().filter(|f| f.caller == caller).map(|f| f.severity).fold(0.0, f64::max)
    }

    #[test]
    fn who_stops_calling_is_blamed_whatever_the_load() {
        let halved = |i: i64| load(i) * if i < BASELINE { 1.0 } else { 0.5 };
        let series = [rate("web", load), rate("api", load), rate("db", halved)];
        let found = flows(&series);
        assert!(severity(&found, 0) > 0.3 && severity(&found, 2) < 0.1);
    }

    #[test]
    fn less_load_for_all_blames_nobody() {
        let all = |i: i64| load(i) * if i < BASELINE { 1.0 } else { 0.3 };
        let found = flows(&[rate("web", all), rate("api", all), rate("db", all)]);
        assert!(found.iter().all(|f| f.severity < 0.1));
    }

    #[test]
    fn instances_are_added_up() {
        let mut moved = rate("api", |i| if i < BASELINE { 0.0 } else { load(i) });
        moved.instance = "api-1".to_owned();
        let left = rate("api", |i| if i < BASELINE { load(i) } else { 0.0 });
        let found = flows(&[rate("web", load), left, moved]);
        assert!(!found.is_empty() && severity(&found, 2) < 0.1);
    }
}
