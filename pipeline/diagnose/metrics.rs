//! The metric lane: how far each service deviates by itself, after what its callees, its callers
//! and its load account for.

mod traced;

use std::collections::BTreeMap;

use super::evidence::{Finding, Lane};
use super::family::{Aspect, Family};
use super::flow::{self, Flow};
use super::graph::{self, CallGraph};
use super::readings::{self, NOTABLE, Reading};
use super::silence::Silence;
use super::telemetry::{Period, Series};

/// Share of its callers' change at which a callee's change counts by half.
const NEGLIGIBLE: f64 = 0.1;
/// How much faster than load a queue's delay grows: at two thirds of its capacity twice as fast,
/// `d ln R / d ln λ = ρ / (1 − ρ)`.
const QUEUEING: f64 = 2.0;
/// Weight of a silence of which nobody knows who suffers from it.
const UNKNOWN: f64 = 0.5;
/// Weight of the second strongest reading beside the strongest: one alone may be a glitch.
const SECOND: f64 = 0.5;

/// Severity of one service by aspect, 0..1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aspects {
    pub resource: f64,
    pub latency: f64,
    pub dependency: f64,
    pub error: f64,
    pub traffic: f64,
    /// Calls made per request handled.
    pub flow: f64,
    /// Samples that no longer come.
    pub silence: f64,
    /// What its callers have in common.
    pub shared: f64,
}

/// What metrics say about every service.
pub struct MetricLane {
    pub readings: Vec<Reading>,
    /// As measured.
    pub raw: Vec<Aspects>,
    /// After what others account for.
    pub residual: Vec<Aspects>,
    pub onsets: Vec<Option<i64>>,
    /// Median sampling period, nanoseconds; 0 if unknown.
    pub sampling: i64,
    /// Per service the greatest change by metric, in the metric's unit.
    changes: Vec<BTreeMap<String, f64>>,
    calls: EdgeSeverity,
    /// Calls whose rate no longer fits the caller's.
    flows: Vec<Flow>,
    silences: Vec<Silence>,
    /// The callee that callers have in common who suffer from nothing else.
    suspect: Option<(usize, f64)>,
    /// Share of each service's slowness that its spans, where there are any, show as its own.
    own: Vec<f64>,
}

/// Strongest plus a part of the second: one fluke is worth less than two that agree.
#[derive(Clone, Copy, Default)]
struct Top2(f64, f64);

impl Top2 {
    fn add(&mut self, x: f64) {
        if x > self.0 {
            *self = Top2(x, self.0);
        } else if x > self.1 {
            self.1 = x;
        }
    }

    fn value(self) -> f64 {
        (self.0 + SECOND * self.1) / (1.0 + SECOND)
    }
}

/// Puts readings together per service and takes away what others account for.
pub fn assess(
    readings: Vec<Reading>,
    series: &[Series],
    graph: &CallGraph,
    services: &BTreeMap<&str, usize>,
    (baseline, window): (Period, Period),
    silences: Vec<Silence>,
) -> MetricLane {
    let n = services.len();
    let calls = edge_severity(&readings);
    let mut tops = vec![[Top2::default(); 5]; n];
    let mut changes: Vec<BTreeMap<String, f64>> = vec![BTreeMap::new(); n];
    for r in readings.iter().filter(|r| r.peer.is_none()) {
        tops[r.service][slot(r.aspect())].add(r.severity);
        let metric = &series[r.series].metric;
        let change = changes[r.service].entry(metric.clone()).or_insert(0.0);
        if r.change().abs() > change.abs() {
            *change = r.change();
        }
    }
    let mut raw: Vec<Aspects> = tops
        .iter()
        .map(|t| Aspects {
            resource: t[0].value(),
            latency: t[1].value(),
            dependency: t[2].value(),
            error: t[3].value(),
            traffic: t[4].value(),
            flow: 0.0,
            silence: 0.0,
            shared: 0.0,
        })
        .collect();
    for (v, aspects) in raw.iter_mut().enumerate() {
        aspects.latency = aspects.latency.max(calls.towards(graph, v));
        aspects.dependency = aspects.dependency.max(calls.out_of(graph, v));
    }
    let flows = flow::read(series, services, graph, baseline, window);
    let mut starved = vec![Top2::default(); n];
    for f in &flows {
        starved[f.caller].add(f.severity);
    }
    for (aspects, top) in raw.iter_mut().zip(&starved) {
        aspects.flow = top.value();
    }
    for s in &silences {
        let aspect = &mut raw[s.service].silence;
        *aspect = aspect.max(s.severity);
    }
    let onsets = (0..n).map(|v| earliest(&readings, v)).collect();
    let sampling = sampling(series);
    let mut lane = MetricLane {
        residual: raw.clone(),
        readings,
        raw,
        onsets,
        sampling,
        changes,
        calls,
        flows,
        silences,
        suspect: None,
        own: vec![1.0; n],
    };
    lane.residual = lane.residuals(graph);
    lane.accuse(graph);
    lane
}

fn slot(aspect: Aspect) -> usize {
    match aspect {
        Aspect::Resource => 0,
        Aspect::Latency => 1,
        Aspect::Dependency => 2,
        Aspect::Error => 3,
        Aspect::Traffic => 4,
    }
}

/// Severity per call, where metrics tell calls apart.
struct EdgeSeverity(BTreeMap<(usize, usize), f64>);

fn edge_severity(readings: &[Reading]) -> EdgeSeverity {
    let mut out: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for r in readings {
        if let Some(call) = r.call() {
            let s = out.entry(call).or_insert(0.0);
            *s = s.max(r.severity);
        }
    }
    EdgeSeverity(out)
}

impl EdgeSeverity {
    fn get(&self, caller: usize, callee: usize) -> Option<f64> {
        self.0.get(&(caller, callee)).copied()
    }

    /// A slow callee is slow for all its callers: their mean, each without the part that its
    /// caller shows towards everyone.
    fn towards(&self, graph: &CallGraph, callee: usize) -> f64 {
        let seen: Vec<f64> = graph
            .callers(callee)
            .iter()
            .filter_map(|&c| Some(self.get(c, callee)? * (1.0 - self.breadth(graph, c))))
            .collect();
        mean(&seen)
    }

    /// A caller whose network or processor is slow sees all its callees slow.
    fn out_of(&self, graph: &CallGraph, caller: usize) -> f64 {
        let seen: Vec<f64> =
            graph.callees(caller).iter().filter_map(|&c| self.get(caller, c)).collect();
        mean(&seen) * self.breadth(graph, caller)
    }

    /// 0 if one callee alone is slow for this caller, 1 if all are equally.
    fn breadth(&self, graph: &CallGraph, caller: usize) -> f64 {
        let mut seen: Vec<f64> =
            graph.callees(caller).iter().filter_map(|&c| self.get(caller, c)).collect();
        seen.sort_by(f64::total_cmp);
        match seen.pop() {
            Some(most) if most > 0.0 && !seen.is_empty() => mean(&seen) / most,
            _ => 0.0,
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Earliest onset among the service's readings that are at least half as severe as its worst.
fn earliest(readings: &[Reading], service: usize) -> Option<i64> {
    let own = || readings.iter().filter(|r| r.service == service && r.onset.is_some());
    let worst = own().map(|r| r.severity).fold(0.0, f64::max);
    own().filter(|r| r.severity >= worst / 2.0).filter_map(|r| r.onset).min()
}

/// Median over series of the mean distance between samples.
fn sampling(series: &[Series]) -> i64 {
    let mut steps: Vec<i64> = series
        .iter()
        .filter_map(|s| {
            let (first, last) = (s.points.first()?.0, s.points.last()?.0);
            (s.points.len() > 1).then(|| (last - first) / (s.points.len() as i64 - 1))
        })
        .collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(0)
}

impl MetricLane {
    /// Share of `v`'s slowness or errors that callee `c` accounts for: as seen in `c`'s own
    /// metrics, in that it has none any more, or in those of the call.
    pub fn explains(&self, graph: &CallGraph, v: usize, c: usize) -> f64 {
        let own = performance(&self.raw[v]);
        if own <= 0.0 {
            return 0.0;
        }
        let theirs = performance(&self.raw[c]).max(self.missed(graph, c));
        let likely = f64::min(1.0, theirs / own);
        let by_metrics = self.cover(v, c).map_or(likely, |cover| cover * likely);
        let call = self.calls.get(v, c).unwrap_or(0.0) * (1.0 - self.calls.breadth(graph, v));
        by_metrics.max((call / own).min(1.0))
    }

    /// Share of `v`'s worst change, in the metric's own unit, that `c`'s change of the same metric
    /// covers: added milliseconds and added failures are passed on from callee to caller.
    fn cover(&self, v: usize, c: usize) -> Option<f64> {
        let metric = &self.worst(v)?.metric;
        let (own, theirs) = (self.changes[v].get(metric)?, self.changes[c].get(metric)?);
        (*own != 0.0).then(|| (theirs / own).clamp(0.0, 1.0))
    }

    /// The most severe slowness or failure that `v` itself reports.
    fn worst(&self, v: usize) -> Option<&Reading> {
        self.readings
            .iter()
            .filter(|r| r.service == v && r.peer.is_none())
            .filter(|r| matches!(r.aspect(), Aspect::Latency | Aspect::Error))
            .max_by(|a, b| a.severity.total_cmp(&b.severity).then(b.series.cmp(&a.series)))
    }

    /// How much of what its callers show `v` could bring about, 0..=1: a database that takes a
    /// millisecond more does not matter where its callers take a second more. Callers that show
    /// nothing do not count.
    fn matters(&self, graph: &CallGraph, v: usize) -> f64 {
        graph
            .callers(v)
            .iter()
            .filter(|&&c| performance(&self.raw[c]) >= performance(&self.raw[v]) / 2.0)
            .filter_map(|&c| self.cover(c, v))
            .map(|cover| cover / (cover + NEGLIGIBLE) * (1.0 + NEGLIGIBLE))
            .fold(1.0, f64::min)
    }

    fn residuals(&self, graph: &CallGraph) -> Vec<Aspects> {
        let n = self.raw.len();
        let column = |f: fn(&Aspects) -> f64| -> Vec<f64> { self.raw.iter().map(f).collect() };
        let callees = |v: usize| graph.callees(v).to_vec();
        let explains = |v: usize, c: usize| self.explains(graph, v, c);
        let latency = graph::residuals(&column(|a| a.latency), callees, explains);
        let error = graph::residuals(&column(|a| a.error), callees, explains);
        let ratios: Vec<Option<f64>> = (0..n).map(|v| self.log_ratio(v, Family::Traffic)).collect();
        (0..n)
            .map(|v| {
                let by_callers = graph
                    .callers(v)
                    .iter()
                    .map(|&c| readings::covers(ratios[v], ratios[c]))
                    .fold(0.0, f64::max);
                let matters = self.matters(graph, v);
                let unloaded = 1.0 - self.by_load(v, ratios[v]);
                Aspects {
                    resource: self.beyond_load(v, ratios[v]),
                    latency: latency[v] * matters * unloaded,
                    dependency: self.own_network(graph, v),
                    error: error[v] * matters,
                    traffic: self.raw[v].traffic * (1.0 - by_callers),
                    flow: self.raw[v].flow,
                    silence: self.missed(graph, v),
                    shared: 0.0,
                }
            })
            .collect()
    }

    /// Slowness of `v`'s calls without what one slow callee accounts for.
    fn own_network(&self, graph: &CallGraph, v: usize) -> f64 {
        let own = self.raw[v].dependency;
        if own <= 0.0 {
            return 0.0;
        }
        let slow = |c: &usize| self.calls.towards(graph, *c).max(performance(&self.raw[*c]));
        let most = graph.callees(v).iter().map(slow).fold(0.0, f64::max);
        // Who waits for a call shows it: calls that delay no request are nobody's loss.
        let served = self.readings.iter().any(|r| r.service == v && r.aspect() == Aspect::Latency);
        let felt = if served { performance(&self.raw[v]).min(own) } else { own };
        felt * (1.0 - (1.0 - self.calls.breadth(graph, v)) * (most / own).min(1.0))
    }

    /// Natural logarithm of window against baseline of the service's most severe reading of a
    /// family.
    fn log_ratio(&self, v: usize, family: Family) -> Option<f64> {
        self.readings
            .iter()
            .filter(|r| r.service == v && r.peer.is_none() && r.meaning.family == family)
            .max_by(|a, b| {
                a.deviation.surprise.total_cmp(&b.deviation.surprise).then(b.series.cmp(&a.series))
            })
            .and_then(|r| readings::ratio(r.deviation.expected, r.deviation.observed))
    }

    /// Resource severity without what the service's own load accounts for.
    fn beyond_load(&self, v: usize, load: Option<f64>) -> f64 {
        let mut top = Top2::default();
        for r in self.readings.iter().filter(|r| r.service == v && r.peer.is_none()) {
            if r.aspect() == Aspect::Resource {
                top.add(r.beyond(load));
            }
        }
        top.value()
    }

    /// Finds the callee whose callers all suffer while hardly anybody else does, whether or not it
    /// shows something itself: the way to it is broken. The measure is Ochiai's, of spectrum-based
    /// fault localisation (Abreu et al., TAICPART 2007), with severities for verdicts; one caller
    /// alone is not told from its callee.
    fn accuse(&mut self, graph: &CallGraph) {
        let left = |a: &Aspects| a.latency.max(a.error).max(a.dependency);
        let suffer: Vec<f64> = self.residual.iter().map(left).collect();
        let (all, most) = suffer.iter().fold((0.0, 0.0), |(s, m), x| (s + x, f64::max(m, *x)));
        let likeness = |v: usize| {
            let callers = graph.callers(v);
            let seen: f64 = callers.iter().map(|c| suffer[*c]).sum();
            let sick = callers.iter().filter(|c| suffer[**c] > most / 2.0).count();
            let alike = (all * most * callers.len() as f64).sqrt();
            if sick > 1 { seen / alike } else { 0.0 }
        };
        let by_callers = (0..suffer.len()).map(|v| (v, likeness(v)));
        let best = by_callers.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let Some((v, share)) = best.filter(|(_, share)| *share > 0.0) else { return };
        for &c in graph.callers(v) {
            let a = &mut self.residual[c];
            for part in [&mut a.latency, &mut a.error, &mut a.dependency] {
                *part *= 1.0 - share;
            }
        }
        self.residual[v].shared = most * share;
        self.suspect = Some((v, share));
    }

    /// Silence of `v`, as far as those who call it fare as badly as anybody else: collecting
    /// metrics fails too. What is left of `v` may be slow just because the rest is gone.
    fn missed(&self, graph: &CallGraph, v: usize) -> f64 {
        let worst = |of: &mut dyn Iterator<Item = usize>| {
            of.map(|c| performance(&self.raw[c])).fold(0.0, f64::max)
        };
        let all = worst(&mut (0..self.raw.len()).filter(|c| *c != v));
        let needed = match graph.callers(v) {
            callers if callers.is_empty() || all == 0.0 => UNKNOWN,
            callers => worst(&mut callers.iter().copied()) / all,
        };
        self.raw[v].silence * needed
    }

    /// The one instance of `v` that is silent, empty where several are; `None` where none is.
    pub fn silent(&self, v: usize) -> Option<String> {
        let mut silent = self.silences.iter().filter(|s| s.service == v);
        let first = silent.next()?;
        Some(silent.next().map_or_else(|| first.instance.clone(), |_| String::new()))
    }

    /// Share of what its callers show that `v` accounts for as what they have in common.
    pub fn suspected(&self, v: usize) -> f64 {
        self.suspect.filter(|(s, _)| *s == v).map_or(0.0, |(_, share)| share)
    }

    /// Share of `v`'s slowness that its own load accounts for.
    pub fn by_load(&self, v: usize, load: Option<f64>) -> f64 {
        let worst = self
            .readings
            .iter()
            .filter(|r| r.service == v && r.peer.is_none() && r.meaning.family == Family::Latency);
        let worst =
            worst.max_by(|a, b| a.severity.total_cmp(&b.severity).then(b.series.cmp(&a.series)));
        let change =
            worst.and_then(|r| readings::ratio(r.deviation.expected, r.deviation.observed));
        readings::covers(change, load.map(|l| QUEUEING * l).filter(|l| *l > 0.0))
    }

    /// Family, direction (true for up) and severity beyond the load of each of `v`'s readings.
    pub fn uses(&self, v: usize) -> Vec<(Family, bool, f64)> {
        let load = self.log_ratio(v, Family::Traffic);
        self.readings
            .iter()
            .filter(|r| r.service == v && r.peer.is_none())
            .map(|r| {
                let severity =
                    if r.meaning.family == Family::Traffic { r.severity } else { r.beyond(load) };
                (r.meaning.family, r.change() > 0.0, severity)
            })
            .collect()
    }

    /// How surely `v` gets no requests any more although its callers have some to pass on.
    pub fn silence(&self, v: usize) -> f64 {
        let silent = |observed: f64, expected: f64| observed == 0.0 && expected > 0.0;
        let starved = self.flows.iter().filter(|f| f.callee == v).filter_map(|f| {
            silent(f.deviation.observed, f.deviation.expected).then_some(f.severity)
        });
        let idle = self.readings.iter().filter(|r| {
            let d = &r.deviation;
            r.service == v && r.meaning.family == Family::Traffic && silent(d.observed, d.expected)
        });
        let known = idle.map(|r| r.severity).chain(starved);
        known.fold(self.residual[v].silence, f64::max)
    }

    /// The readings worth citing, as findings: the notable ones, and the worst of each service, so
    /// that whatever is ranked by metrics can be checked. A call that is missing speaks against its
    /// caller.
    pub fn findings(&self, series: &[Series], names: &[&str]) -> Vec<Finding> {
        let silences = self.silences.iter().map(|s| s.finding(names[s.service], s.severity));
        let flows = self.flows.iter().filter(|f| f.deviation.surprise >= NOTABLE).filter_map(|f| {
            let rate = self.readings.iter().find(|r| r.series == f.series)?;
            Some(Finding {
                service: f.caller,
                lane: Lane::Severity,
                strength: f.severity,
                evidence: rate.evidence(series),
            })
        });
        let mut worst: BTreeMap<usize, &Reading> = BTreeMap::new();
        // Nothing "rises" from 12 to 12, however even the past was.
        let moved = || self.readings.iter().filter(|r| r.change() != 0.0);
        for r in moved().filter(|r| r.severity > 0.0) {
            let known = worst.entry(r.service).or_insert(r);
            if r.severity > known.severity {
                *known = r;
            }
        }
        let is_worst = |r: &Reading| worst.get(&r.service).is_some_and(|w| w.series == r.series);
        moved()
            .filter(|r| r.deviation.surprise >= NOTABLE || is_worst(r))
            .map(|r| Finding {
                service: r.service,
                lane: Lane::Severity,
                strength: r.severity,
                evidence: r.evidence(series),
            })
            .chain(flows)
            .chain(silences)
            .collect()
    }
}

/// The worse of slowness and errors.
pub fn performance(a: &Aspects) -> f64 {
    a.latency.max(a.error)
}
