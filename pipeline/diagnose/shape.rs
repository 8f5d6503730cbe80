//! The span lane: where time is really spent, where errors begin, and which calls are missing or
//! new against the usual shape of a trace.

use std::collections::{BTreeMap, BTreeSet};

use super::deviation::{count_z, share_z, strength, surprise_of};
use super::evidence::{Evidence, Finding, Lane, SpanFinding};
use super::graph::{self, CallGraph};
use super::logs::{Accused, says_error};
use super::telemetry::{CallStats, OperationStats, Quantiles, SpanStats};

/// Fewest spans, or traces, per period for a statement about an operation.
const MIN_SPANS: u64 = 5;
/// Self times drift by as much between any two periods (caches, neighbours).
const DRIFT: f64 = 0.2;
const NOTABLE: f64 = 1.3;
/// Share of traces from which on an operation calls a service as a rule.
const USUAL: f64 = 0.5;
/// Share of lost time that is the callee's where nothing tells it from the caller's own.
const AMBIGUOUS: f64 = 0.3;
/// IQR of a normal distribution in standard deviations.
const NORMAL_IQR: f64 = 1.349;

/// Per service 0..1, and the findings.
pub struct SpanLane {
    pub self_time: Vec<f64>,
    /// Share of a service's own time that is new; `None` where its spans are too few.
    pub slower: Vec<Option<f64>>,
    pub errors: Vec<f64>,
    pub shape: Vec<f64>,
    pub findings: Vec<Finding>,
}

/// `None` where one of the periods has no traces: without a baseline there is no usual shape.
pub fn read(
    stats: &SpanStats,
    (failures, accused): (&BTreeSet<(&str, &str)>, &Accused<'_>),
    services: &BTreeMap<&str, usize>,
    graph: &CallGraph,
) -> Option<SpanLane> {
    if stats.traces.window == 0 || stats.traces.baseline == 0 {
        return None;
    }
    let mut findings = Vec::new();
    let (self_time, slower) = self_time(stats, services, &mut findings);
    let errors = errors(stats, services, &mut findings);
    let shape = shape(&stats.calls, (failures, accused), services, graph, &mut findings);
    Some(SpanLane { self_time, slower, errors, shape, findings })
}

/// Operations and the other services that they usually call.
struct Calls<'a> {
    callees: BTreeMap<(usize, &'a str), BTreeSet<usize>>,
    /// Measured operations by service.
    operations: BTreeMap<usize, BTreeSet<&'a str>>,
}

impl<'a> Calls<'a> {
    fn new(stats: &'a SpanStats, services: &BTreeMap<&str, usize>) -> Self {
        let mut callees: BTreeMap<(usize, &str), BTreeSet<usize>> = BTreeMap::new();
        for c in &stats.calls {
            let ends = (services.get(c.caller.as_str()), services.get(c.callee.as_str()));
            let (Some(&caller), Some(&callee)) = ends else { continue };
            let usual = c.with_child.baseline as f64 / c.parents.baseline.max(1) as f64;
            if caller == callee || c.parents.baseline < MIN_SPANS || usual < USUAL {
                continue;
            }
            callees.entry((caller, &c.caller_operation)).or_default().insert(callee);
        }
        let mut operations: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
        for o in &stats.operations {
            if o.baseline.count >= MIN_SPANS
                && o.window.count >= MIN_SPANS
                && let Some(&v) = services.get(o.service.as_str())
            {
                operations.entry(v).or_default().insert(&o.operation);
            }
        }
        Calls { callees, operations }
    }

    /// For operations whose self time grew, by `(service, operation)`: the callee on the way to
    /// which the time may be lost, and the share that is. Time on the wire is self time of the
    /// caller. It is the callee's if the caller's operations grew that call it, and no others; the
    /// more callers agree and the more operations could disagree, the surer.
    fn wires<'b>(
        &self,
        grown: &BTreeSet<(usize, &'b str)>,
    ) -> BTreeMap<(usize, &'b str), (usize, f64)> {
        let mut sure: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
        for (v, operations) in &self.operations {
            let calls = |o: &&str, c: usize| {
                self.callees.get(&(*v, *o)).is_some_and(|callees| callees.contains(&c))
            };
            let grew = |o: &&str| grown.contains(&(*v, *o));
            let own = self.callees.range((*v, "")..(*v + 1, ""));
            let callees: BTreeSet<usize> = own.flat_map(|(_, c)| c.iter().copied()).collect();
            for c in callees {
                let count = |f: &dyn Fn(&&str) -> bool| operations.iter().filter(|o| f(o)).count();
                let (with, grew_all) = (count(&|o| calls(o, c)), count(&grew));
                let both = count(&|o| calls(o, c) && grew(o)) as f64;
                if with == 0 {
                    continue;
                }
                let fit = if grew_all == 0 { 0.0 } else { both * both / (with * grew_all) as f64 };
                let free = count(&|o| !calls(o, c)) > 0;
                sure.entry(c).or_default().push((*v, if free { fit } else { fit * AMBIGUOUS }));
            }
        }
        let mut out: BTreeMap<(usize, &str), (usize, f64)> = BTreeMap::new();
        for (c, callers) in sure {
            let most = callers.iter().map(|(_, fit)| *fit).fold(0.0, f64::max);
            let sum: f64 = callers.iter().map(|(_, fit)| fit).sum();
            let agree = sum / callers.len() as f64;
            for (v, fit) in callers.into_iter().filter(|(_, fit)| *fit > 0.0) {
                let share = agree * fit / most;
                for key in grown.iter().filter(|k| k.0 == v) {
                    if self.callees.get(key).is_some_and(|all| all.contains(&c)) {
                        let known = out.entry(*key).or_insert((c, share));
                        if share > known.1 {
                            *known = (c, share);
                        }
                    }
                }
            }
        }
        out
    }
}

/// Latency of a trace is the sum of the self times on its path. What a service adds counts both
/// as a share of what its operation then takes and of what a trace then takes: their product's
/// root, where each alone would blame the trivial or the large.
fn self_time(
    stats: &SpanStats,
    services: &BTreeMap<&str, usize>,
    findings: &mut Vec<Finding>,
) -> (Vec<f64>, Vec<Option<f64>>) {
    let n = services.len();
    let (mut added_us, mut best) = (vec![0.0; n], vec![0.0; n]);
    let usual: f64 = stats
        .operations
        .iter()
        .map(|o| per_trace(o.baseline.self_us.mean, o.baseline.count, stats.traces.baseline))
        .sum();
    let grown = growth(stats, services);
    let keys = grown.iter().map(|g| (g.service, g.operation)).collect();
    let wires = Calls::new(stats, services).wires(&keys);
    let slower = slower(stats, services, &wires);
    for g in grown {
        let callee = wires.get(&(g.service, g.operation)).copied();
        let own = (g.service, 1.0 - callee.map_or(0.0, |(_, share)| share));
        for (v, share) in [Some(own), callee].into_iter().flatten().filter(|e| e.1 > 0.0) {
            best[v] = f64::max(best[v], g.worth * share);
            added_us[v] += g.us * share;
            findings.push(Finding {
                service: v,
                lane: Lane::Spans,
                strength: g.worth * share,
                evidence: g.evidence.clone(),
            });
        }
    }
    let of_trace = |us: f64| (us / (us + usual).max(1.0)).sqrt();
    ((0..n).map(|v| best[v] * of_trace(added_us[v])).collect(), slower)
}

/// Per service the share of its own time that is new, by means or, where that is more, by
/// trimeans: of a few long spans the one sees what the other does not.
fn slower(
    stats: &SpanStats,
    services: &BTreeMap<&str, usize>,
    wires: &BTreeMap<(usize, &str), (usize, f64)>,
) -> Vec<Option<f64>> {
    let mut sums = vec![[(0.0, 0.0); 2]; services.len()];
    for o in &stats.operations {
        let Some(&v) = services.get(o.service.as_str()) else { continue };
        if o.baseline.count < MIN_SPANS || o.window.count < MIN_SPANS {
            continue;
        }
        let wire = wires.get(&(v, o.operation.as_str())).map_or(0.0, |(_, share)| *share);
        let middles: [fn(&Quantiles) -> f64; 2] = [|q| q.mean, trimean];
        for ((added, all), middle) in sums[v].iter_mut().zip(middles) {
            let (before, now) = (middle(&o.baseline.self_us), middle(&o.window.self_us));
            *added += o.window.count as f64 * (now - before) * (1.0 - wire);
            *all += o.window.count as f64 * now;
        }
    }
    let share = |(added, all): (f64, f64)| (all > 0.0).then(|| (added / all).clamp(0.0, 1.0));
    sums.into_iter().map(|[a, b]| Some(share(a)?.max(share(b)?))).collect()
}

/// An operation whose self time has grown.
struct Growth<'a> {
    service: usize,
    operation: &'a str,
    worth: f64,
    /// Added per trace.
    us: f64,
    evidence: Evidence,
}

fn growth<'a>(stats: &'a SpanStats, services: &BTreeMap<&str, usize>) -> Vec<Growth<'a>> {
    let mut out = Vec::new();
    for o in &stats.operations {
        let Some(&service) = services.get(o.service.as_str()) else { continue };
        if o.baseline.count < MIN_SPANS || o.window.count < MIN_SPANS {
            continue;
        }
        let (before, now) = (trimean(&o.baseline.self_us), trimean(&o.window.self_us));
        let added = now - before;
        let s = surprise_of(added / standard_error(o, before));
        if added <= 0.0 || s < NOTABLE {
            continue;
        }
        out.push(Growth {
            service,
            operation: &o.operation,
            worth: strength(s, services.len()) * added / now,
            us: per_trace(added, o.window.count, stats.traces.window),
            evidence: Evidence::SpanPath {
                service: o.service.clone(),
                instance: o.instance.clone(),
                operation: o.operation.clone(),
                caller: None,
                finding: SpanFinding::SelfTime,
                observed: now,
                expected: before,
            },
        });
    }
    out
}

fn per_trace(us: f64, count: u64, traces: u64) -> f64 {
    us * count as f64 / traces.max(1) as f64
}

/// Tukey's trimean: robust like the median, but sees a shift of either half.
fn trimean(q: &Quantiles) -> f64 {
    (q.p25 + 2.0 * q.p50 + q.p75) / 4.0
}

/// Of the difference of two trimeans; never below `DRIFT`.
fn standard_error(o: &OperationStats, level: f64) -> f64 {
    let variance = |q: &Quantiles, n: u64| {
        let sd = (q.p75 - q.p25) / NORMAL_IQR;
        1.25 * sd * sd / n as f64
    };
    let noise = variance(&o.baseline.self_us, o.baseline.count)
        + variance(&o.window.self_us, o.window.count);
    noise.sqrt().max(DRIFT * level).max(1.0)
}

/// Errors that begin in a service (no span below failed), beyond its usual rate, as a share of all
/// traces that newly fail.
fn errors(
    stats: &SpanStats,
    services: &BTreeMap<&str, usize>,
    findings: &mut Vec<Finding>,
) -> Vec<f64> {
    let n = services.len();
    let scale = stats.traces.window as f64 / stats.traces.baseline as f64;
    let (mut excess, mut best) = (vec![0.0; n], vec![0.0; n]);
    for o in &stats.operations {
        let Some(&v) = services.get(o.service.as_str()) else { continue };
        let expected = o.baseline.origins as f64 * scale;
        let now = o.window.origins as f64;
        let s = surprise_of(count_z(o.window.origins, o.baseline.origins, scale));
        if now <= expected || s < NOTABLE {
            continue;
        }
        excess[v] += now - expected;
        best[v] = f64::max(best[v], strength(s, n));
        findings.push(Finding {
            service: v,
            lane: Lane::Spans,
            strength: strength(s, n),
            evidence: Evidence::SpanPath {
                service: o.service.clone(),
                instance: o.instance.clone(),
                operation: o.operation.clone(),
                caller: None,
                finding: SpanFinding::ErrorOrigin,
                observed: now,
                expected,
            },
        });
    }
    let most = excess.iter().copied().fold(0.0, f64::max);
    (0..n).map(|v| if most > 0.0 { best[v] * excess[v] / most } else { 0.0 }).collect()
}

/// The share of traces with a kind of parent in which it has a kind of child, against the usual
/// share: so the mix of requests does not matter, nor how often one request calls. The parent's
/// service is to answer for it, less what its callees show of the same: they may have made it turn
/// another way.
fn shape(
    calls: &[CallStats],
    (failures, accused): (&BTreeSet<(&str, &str)>, &Accused<'_>),
    services: &BTreeMap<&str, usize>,
    graph: &CallGraph,
    findings: &mut Vec<Finding>,
) -> Vec<f64> {
    let n = services.len();
    let (mut affected, mut best) = (vec![0.0; n], vec![0.0; n]);
    let replaced = replaced(calls, failures);
    for c in calls {
        let Some(&caller) = services.get(c.caller.as_str()) else { continue };
        let accused = accused.by(caller, &c.callee_operation);
        if c.parents.baseline < MIN_SPANS || c.parents.window == 0 {
            continue;
        }
        let usual = c.with_child.baseline as f64 / c.parents.baseline as f64;
        let expected = usual * c.parents.window as f64;
        let now = c.with_child.window as f64;
        let s = surprise_of(share_z(
            (c.with_child.window, c.parents.window),
            (c.with_child.baseline, c.parents.baseline),
        ));
        if s < NOTABLE {
            continue;
        }
        let failure = fails(c, failures);
        if now < expected && failure {
            continue; // fewer errors are no fault
        }
        let v = accused.unwrap_or(caller);
        let effect = (now / c.parents.window as f64 - usual).abs();
        let other = replaced.get(&parent(c)).filter(|_| now < expected);
        let telling = 1.0 - other.map_or(0.0, |new| (new / effect).min(1.0));
        let worth = telling * strength(s, n) * effect;
        affected[v] = f64::max(affected[v], (now - expected).abs());
        best[v] = f64::max(best[v], worth);
        let missing = now < expected;
        findings.push(Finding {
            service: v,
            lane: Lane::Spans,
            strength: worth,
            evidence: Evidence::SpanPath {
                service: c.callee.clone(),
                instance: String::new(),
                operation: c.callee_operation.clone(),
                caller: Some((c.caller.clone(), c.caller_operation.clone())),
                finding: if missing { SpanFinding::Missing } else { SpanFinding::New },
                observed: now,
                expected,
            },
        });
    }
    graph::residuals(
        &best,
        |v| graph.callees(v).to_vec(),
        |v, c| {
            if best[v] <= 0.0 || affected[v] <= 0.0 {
                return 0.0;
            }
            (best[c] / best[v]).min(1.0) * (affected[c] / affected[v]).min(1.0)
        },
    )
}

/// Whether the child, a span or a line, reports a failure.
fn fails(c: &CallStats, failures: &BTreeSet<(&str, &str)>) -> bool {
    says_error(&c.callee_operation) || failures.contains(&(&c.callee, &c.callee_operation))
}

/// One kind of parent.
fn parent(c: &CallStats) -> [&str; 3] {
    [&c.caller, &c.caller_entry, &c.caller_operation]
}

/// Per kind of parent the greatest share of its traces by which a child that speaks of no failure
/// has become more usual: requests of another kind take another branch, and what they no longer
/// need is not missing.
fn replaced<'a>(
    calls: &'a [CallStats],
    failures: &BTreeSet<(&str, &str)>,
) -> BTreeMap<[&'a str; 3], f64> {
    let mut out: BTreeMap<[&str; 3], f64> = BTreeMap::new();
    for c in calls.iter().filter(|c| !fails(c, failures)) {
        if c.parents.baseline < MIN_SPANS || c.parents.window == 0 {
            continue;
        }
        let share = |with: u64, of: u64| with as f64 / of as f64;
        let more = share(c.with_child.window, c.parents.window)
            - share(c.with_child.baseline, c.parents.baseline);
        let most = out.entry(parent(c)).or_insert(0.0);
        *most = most.max(more);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::telemetry::{Counts, SpanAggregate};

    fn lane(replacement: &str, failures: &[(&str, &str)]) -> f64 {
        let child = |operation: &str, baseline: u64, window: u64| CallStats {
            caller: "api".to_owned(),
            caller_entry: "get".to_owned(),
            caller_operation: "get".to_owned(),
            callee: "api".to_owned(),
            callee_operation: operation.to_owned(),
            parents: Counts { baseline: 200, window: 200 },
            with_child: Counts { baseline, window },
        };
        let calls = vec![child("found it", 190, 10), child(replacement, 10, 190)];
        let traces = Counts { baseline: 200, window: 200 };
        let stats = SpanStats { traces, operations: Vec::new(), calls };
        let services = BTreeMap::from([("api", 0)]);
        let graph = CallGraph::new(1, []);
        let accused = Accused::new(&[], &services, &graph);
        let failures = failures.iter().copied().collect();
        let lane = read(&stats, (&failures, &accused), &services, &graph).unwrap();
        let missing = |f: &&Finding| {
            matches!(&f.evidence, Evidence::SpanPath { finding: SpanFinding::Missing, .. })
        };
        lane.findings.iter().find(missing).map_or(0.0, |f| f.strength)
    }

    #[test]
    fn what_another_branch_replaces_is_not_missing() {
        assert!(lane("took the other train", &[]) < 0.01);
        assert!(lane("failed to find it", &[]) > 0.3);
        assert!(lane("nothing there", &[("api", "nothing there")]) > 0.3);
    }

    #[test]
    fn time_lost_on_the_way_to_one_callee_is_the_callees() {
        let slow = |slow: &[&str]| {
            let self_us = |us: f64| Quantiles { p25: us * 0.9, p50: us, p75: us * 1.1, mean: us };
            let aggregate = |us| SpanAggregate { count: 200, origins: 0, self_us: self_us(us) };
            let rows = [("a", "read"), ("a", "write"), ("b", "get"), ("b", "list")];
            let operations = rows.iter().map(|(service, operation)| OperationStats {
                service: service.to_string(),
                instance: String::new(),
                operation: operation.to_string(),
                baseline: aggregate(1_000.0),
                window: aggregate(if slow.contains(operation) { 9_000.0 } else { 1_000.0 }),
            });
            let counts = Counts { baseline: 200, window: 200 };
            let call = |caller: &str, operation: &str| CallStats {
                caller: caller.to_owned(),
                caller_entry: operation.to_owned(),
                caller_operation: operation.to_owned(),
                callee: "db".to_owned(),
                callee_operation: "query".to_owned(),
                parents: counts,
                with_child: counts,
            };
            let calls = vec![call("a", "read"), call("b", "get")];
            let stats = SpanStats { traces: counts, operations: operations.collect(), calls };
            let services = BTreeMap::from([("a", 0), ("b", 1), ("db", 2)]);
            let graph = CallGraph::new(3, [(0, 2), (1, 2)]);
            let accused = Accused::new(&[], &services, &graph);
            read(&stats, (&BTreeSet::new(), &accused), &services, &graph).unwrap().self_time
        };
        let all_that_call = slow(&["read", "get"]);
        assert!(all_that_call[2] > 2.0 * all_that_call[0], "{all_that_call:?}");
        let all_of_one = slow(&["read", "write"]);
        assert!(all_of_one[0] > 2.0 * all_of_one[2], "{all_of_one:?}");
    }
}
