//! Ranks the services of an incident by how likely each is its cause.
//!
//! Lanes of evidence are read independently, each gives every service 0..1, and fixed weights add
//! them up; the weights of lanes without data are spread over the others. A pure function.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{Evidence, Finding, Lane};
use super::family::{Aspect, Family, Side};
use super::graph::{self, CallGraph};
use super::kind::{Kind, Signs};
use super::metrics::{self, Aspects, MetricLane};
use super::telemetry::Telemetry;
use super::{changes, logs, readings, shape, silence};

/// Weight per lane. Direct observation of the fault counts most, inference over the graph next;
/// onset is as coarse as the sampling, and a change is only a coincidence in time.
const WEIGHTS: [(Lane, f64); 6] = [
    (Lane::Severity, 0.35),
    (Lane::Onset, 0.10),
    (Lane::Graph, 0.20),
    (Lane::Spans, 0.15),
    (Lane::Logs, 0.15),
    (Lane::Changes, 0.05),
];
/// Weight of what deviates in a service that takes no part in any known call.
const UNCALLED: f64 = 0.5;
/// Onsets this far apart are e-fold different, unless sampling is coarser.
const ONSET_NS: f64 = 30e9;
/// Findings cited per candidate.
const CITED_MAX: usize = 8;
/// Candidates returned.
const CANDIDATES_MAX: usize = 20;
/// An edge is cited from this share on, if its caller shows at least such symptoms.
const EDGE_MIN: f64 = 0.3;
const SYMPTOM_MIN: f64 = 0.2;

#[derive(Clone, Debug)]
pub struct Ranking {
    /// Best first.
    pub candidates: Vec<Candidate>,
    pub evidence: Vec<Evidence>,
}

#[derive(Clone, Debug)]
pub struct Candidate {
    pub service: String,
    /// Empty where no single instance stands out.
    pub instance: String,
    pub kind: Kind,
    /// 0..=1: the weighted sum of the lanes.
    pub score: f64,
    /// 0..=1: the share of its squared score in the sum over all candidates, times how surprising
    /// its own evidence is. So one with weak evidence may be ranked above one that is surer.
    pub confidence: f64,
    /// Indices into `Ranking::evidence`, strongest first.
    pub evidence: Vec<usize>,
    /// What each lane gave, and its weight after renormalising.
    pub lanes: Vec<Contribution>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    pub lane: Lane,
    pub value: f64,
    pub weight: f64,
}

/// What all lanes say.
struct Lanes {
    metrics: MetricLane,
    spans: Option<shape::SpanLane>,
    logs: Option<logs::LogLane>,
    changes: Option<(Vec<f64>, Vec<Finding>)>,
    severity: Vec<f64>,
    blame: Option<Vec<f64>>,
    onset: Vec<f64>,
}

/// Ranks the services of `t`. Empty where nothing is known.
pub fn rank(t: &Telemetry) -> Ranking {
    let names = services(t);
    let index: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, s)| (*s, i)).collect();
    let readings = readings::read(&t.series, &index, t.baseline, t.window);
    let mut graph = CallGraph::new(names.len(), calls(t, &index, readings::calls(&readings)));
    let probes = probes(t, &index, &graph);
    for &p in &probes {
        graph.attach_probe(p);
    }
    let (periods, silences) = ((t.baseline, t.window), silence::read(t, &index));
    let metrics = metrics::assess(readings, &t.series, &graph, &index, periods, silences);
    let lanes = Lanes::read(t, metrics, &index, &graph);
    let mut scored: Vec<(usize, f64, Vec<Contribution>)> = (0..names.len())
        .filter(|v| !probes.contains(v))
        .map(|v| {
            let parts = lanes.contributions(v);
            (v, parts.iter().map(|c| c.value * c.weight).sum::<f64>(), parts)
        })
        .filter(|(_, score, _)| *score > 0.0)
        .collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scored.truncate(CANDIDATES_MAX);
    build(t, &names, &graph, &lanes, scored)
}

fn services(t: &Telemetry) -> Vec<&str> {
    let mut out: BTreeSet<&str> = BTreeSet::new();
    out.extend(t.series.iter().map(|s| s.service.as_str()));
    out.extend(t.templates.iter().map(|s| s.service.as_str()));
    out.extend(t.spans.operations.iter().map(|s| s.service.as_str()));
    out.extend(t.edges.iter().flat_map(|(a, b)| [a.as_str(), b.as_str()]));
    out.into_iter().collect()
}

fn calls(
    t: &Telemetry,
    index: &BTreeMap<&str, usize>,
    mut known: Vec<(usize, usize)>,
) -> Vec<(usize, usize)> {
    let topology = t.edges.iter().map(|(a, b)| (a.as_str(), b.as_str()));
    let traced = t.spans.calls.iter().map(|c| (c.caller.as_str(), c.callee.as_str()));
    known
        .extend(topology.chain(traced).filter_map(|(a, b)| Some((*index.get(a)?, *index.get(b)?))));
    known
}

/// Services that only watch: outside the call graph, without logs, spans or resources, with
/// nothing but latency, errors or traffic. They see the whole system as its users do, so they are
/// taken to call its entries, and they are no candidates.
fn probes(t: &Telemetry, index: &BTreeMap<&str, usize>, graph: &CallGraph) -> BTreeSet<usize> {
    if graph.is_empty() {
        return BTreeSet::new();
    }
    let mut out: BTreeSet<usize> = (0..index.len()).filter(|&v| graph.isolated(v)).collect();
    let mut working: BTreeSet<&str> = BTreeSet::new();
    working.extend(t.templates.iter().map(|x| x.service.as_str()));
    working.extend(t.spans.operations.iter().map(|x| x.service.as_str()));
    let apart = |s: &str| index.get(s).is_some_and(|v| out.contains(v));
    working.extend(t.series.iter().filter(|s| apart(&s.service)).filter_map(|s| {
        let m = crate::diagnose::family::read(&s.metric, |name| index.contains_key(name));
        let local = m.family.aspect(m.side) == Aspect::Resource || m.family == Family::Network;
        local.then_some(s.service.as_str())
    }));
    out.retain(|v| index.iter().any(|(name, i)| i == v && !working.contains(name)));
    out
}

impl Lanes {
    fn read(
        t: &Telemetry,
        metrics: MetricLane,
        index: &BTreeMap<&str, usize>,
        graph: &CallGraph,
    ) -> Lanes {
        let n = index.len();
        let accused = logs::Accused::new(&t.templates, index, graph);
        let failures = logs::failures(&t.templates);
        let spans = shape::read(&t.spans, (&failures, &accused), index, graph);
        let logs = logs::read(&t.templates, &t.spans, index, graph);
        let severity: Vec<f64> = (0..n)
            .map(|v| {
                let away = !graph.is_empty() && graph.isolated(v);
                severity(&metrics.residual[v]) * if away { UNCALLED } else { 1.0 }
            })
            .collect();
        let onset = onset(&metrics, &severity);
        let changes = changes::read(&t.changes, index, &metrics.onsets, t.window.from);
        let mut lanes = Lanes { metrics, spans, logs, changes, severity, blame: None, onset };
        if !graph.is_empty() {
            lanes.blame = lanes.blame(graph, n);
        }
        lanes
    }

    /// Mass of the walk relative to its largest, as strong as the strongest symptom.
    fn blame(&self, graph: &CallGraph, n: usize) -> Option<Vec<f64>> {
        let symptoms: Vec<f64> = (0..n).map(|v| self.symptom(v)).collect();
        let strongest = symptoms.iter().copied().fold(0.0, f64::max);
        let mass = graph::blame(graph, &symptoms, |v, c| self.explains(graph, v, c));
        let most = mass.iter().copied().fold(0.0, f64::max);
        (most > 0.0).then(|| mass.iter().map(|m| m / most * strongest).collect())
    }

    /// How badly users of `v` fare.
    fn symptom(&self, v: usize) -> f64 {
        let spans = self.spans.as_ref().map_or(0.0, |s| s.errors[v].max(s.self_time[v]));
        let logs = self.logs.as_ref().map_or(0.0, |l| l.exceptions[v]);
        metrics::performance(&self.metrics.raw[v]).max(spans).max(logs)
    }

    /// Share of `v`'s symptoms that callee `c` accounts for.
    fn explains(&self, graph: &CallGraph, v: usize, c: usize) -> f64 {
        let by_metrics = self.metrics.explains(graph, v, c);
        let own = self.symptom(v);
        let events = self.spans.as_ref().map_or(0.0, |s| s.errors[c].max(s.self_time[c]));
        let events = events.max(self.logs.as_ref().map_or(0.0, |l| l.exceptions[c]));
        let by_events = if own > 0.0 { (events / own).min(1.0) } else { 0.0 };
        by_metrics.max(by_events)
    }

    /// The lanes that have data, with weights that sum to one.
    fn contributions(&self, v: usize) -> Vec<Contribution> {
        let value = |lane: Lane| match lane {
            Lane::Severity => (!self.metrics.readings.is_empty()).then(|| self.severity[v]),
            Lane::Onset => self.metrics.onsets.iter().any(Option::is_some).then(|| self.onset[v]),
            Lane::Graph => self.blame.as_ref().map(|b| b[v]),
            Lane::Spans => {
                self.spans.as_ref().map(|s| combine(&[s.self_time[v], s.errors[v], s.shape[v]]))
            }
            Lane::Logs => self.logs.as_ref().map(|l| l.residual[v]),
            Lane::Changes => self.changes.as_ref().map(|c| c.0[v]),
        };
        // In what order faults spread shows only where sampling is about as fine as they are fast.
        let dated = (ONSET_NS / self.metrics.sampling.max(1) as f64).min(1.0);
        let present: Vec<(Lane, f64, f64)> = WEIGHTS
            .iter()
            .map(|(lane, w)| (*lane, *w))
            .map(|(lane, w)| (lane, if lane == Lane::Onset { w * dated } else { w }))
            .filter_map(|(lane, w)| Some((lane, w, value(lane)?)))
            .collect();
        let total: f64 = present.iter().map(|(_, w, _)| w).sum();
        present
            .into_iter()
            .map(|(lane, w, value)| Contribution { lane, value, weight: w / total })
            .collect()
    }

    fn findings(&self, t: &Telemetry, names: &[&str]) -> Vec<Finding> {
        let mut out = self.metrics.findings(&t.series, names);
        out.extend(self.spans.iter().flat_map(|s| s.findings.iter().cloned()));
        out.extend(self.logs.iter().flat_map(|l| l.findings.iter().cloned()));
        out.extend(self.changes.iter().flat_map(|c| c.1.iter().cloned()));
        out
    }

    /// What speaks for which kind of fault at `v`.
    fn signs(&self, v: usize, findings: &[&Finding]) -> Signs {
        let m = &self.metrics;
        let logged = self.logs.as_ref().map_or(0.0, |l| l.exceptions[v]);
        let thrown = findings.iter().any(|f| logs::is_exception(&f.evidence));
        let spans =
            |part: fn(&shape::SpanLane) -> &[f64]| self.spans.as_ref().map_or(0.0, |s| part(s)[v]);
        let configured = findings
            .iter()
            .filter(|f| matches!(&f.evidence, Evidence::Change { kind, .. } if kind == "config"));
        let mut signs = Signs {
            latency: m.residual[v].latency,
            dependency: m.residual[v].dependency,
            wire: self.wire(v),
            errors: m.residual[v].error.max(if thrown { 0.0 } else { logged }),
            exceptions: if thrown { logged } else { 0.0 },
            error_origin: spans(|s| &s.errors),
            shape: spans(|s| &s.shape).max(m.residual[v].flow),
            self_time: spans(|s| &s.self_time),
            configuration: configured.map(|f| f.strength).fold(0.0, f64::max),
            ..Signs::default()
        };
        for (family, rose, severity) in m.uses(v) {
            signs.add_metric(family, rose, severity);
        }
        signs.silence = m.silence(v);
        signs
    }

    /// How much slower `v` looks from the other end of its calls than from its own.
    fn wire(&self, v: usize) -> f64 {
        let (mut client, mut server) = (0.0, 0.0);
        for r in self.metrics.readings.iter().filter(|r| r.meaning.family == Family::Latency) {
            let seen: &mut f64 = match (r.peer == Some(v), r.service == v, r.meaning.side) {
                (true, _, Some(Side::Client)) => &mut client,
                (_, true, Some(Side::Server)) => &mut server,
                _ => continue,
            };
            if r.deviation.observed > r.deviation.expected {
                *seen = seen.max(r.severity);
            }
        }
        f64::max(0.0, client - server)
    }
}

/// How badly a service fares by itself, in any aspect.
fn severity(a: &Aspects) -> f64 {
    combine(&[a.resource, a.latency, a.error, a.dependency, a.traffic, a.flow, a.silence, a.shared])
}

/// Any one of the parts is enough, and each is read by itself: a noisy or (Pearl 1988).
fn combine(parts: &[f64]) -> f64 {
    1.0 - parts.iter().map(|x| 1.0 - x).product::<f64>()
}

/// Earlier is more likely the cause; as strong as what began.
fn onset(metrics: &MetricLane, severity: &[f64]) -> Vec<f64> {
    let tau = ONSET_NS.max(metrics.sampling as f64);
    let Some(first) = metrics.onsets.iter().flatten().min() else {
        return vec![0.0; severity.len()];
    };
    metrics
        .onsets
        .iter()
        .zip(severity)
        .map(|(at, s)| at.map_or(0.0, |at| s * (-((at - first) as f64) / tau).exp()))
        .collect()
}

fn build(
    t: &Telemetry,
    names: &[&str],
    graph: &CallGraph,
    lanes: &Lanes,
    scored: Vec<(usize, f64, Vec<Contribution>)>,
) -> Ranking {
    let mut findings = lanes.findings(t, names);
    findings.sort_by(|a, b| a.service.cmp(&b.service).then(b.strength.total_cmp(&a.strength)));
    let total: f64 = scored.iter().map(|(_, s, _)| s * s).sum();
    let mut out = Ranking { candidates: Vec::new(), evidence: Vec::new() };
    for (v, score, contributions) in scored {
        let own: Vec<&Finding> = findings.iter().filter(|f| f.service == v).collect();
        let cited = cite(&own);
        let from = out.evidence.len();
        out.evidence.extend(cited.iter().map(|f| f.evidence.clone()));
        out.evidence.extend(edges(names, graph, lanes, v));
        let strongest = own.first().map_or(0.0, |f| f.strength);
        out.candidates.push(Candidate {
            service: names[v].to_owned(),
            instance: instance(&lanes.metrics, t, v),
            kind: lanes.signs(v, &own).kind(),
            score,
            confidence: strongest * score * score / total,
            evidence: (from..out.evidence.len()).collect(),
            lanes: contributions,
        });
    }
    out
}

/// The strongest of each lane first, then the strongest of the rest.
fn cite<'a>(own: &[&'a Finding]) -> Vec<&'a Finding> {
    let mut seen = BTreeSet::new();
    let (mut first, rest): (Vec<&Finding>, Vec<&Finding>) =
        own.iter().copied().partition(|f| seen.insert(f.lane));
    first.extend(rest);
    first.truncate(CITED_MAX);
    first.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    first
}

/// Callers whose symptoms `v` accounts for; all that have any, where they speak against `v`.
fn edges(names: &[&str], graph: &CallGraph, lanes: &Lanes, v: usize) -> Vec<Evidence> {
    let suspected = lanes.metrics.suspected(v);
    let least = if suspected > 0.0 { f64::MIN_POSITIVE } else { SYMPTOM_MIN };
    graph
        .callers(v)
        .iter()
        .map(|&c| (c, lanes.explains(graph, c, v).max(suspected)))
        .filter(|(c, share)| *share >= EDGE_MIN && lanes.symptom(*c) >= least)
        .map(|(c, share)| Evidence::Edge {
            caller: names[c].to_owned(),
            callee: names[v].to_owned(),
            share,
        })
        .collect()
}

/// The instance with the worst reading, unless another of the service is nearly as bad.
fn instance(metrics: &MetricLane, t: &Telemetry, v: usize) -> String {
    let mut worst: BTreeMap<&str, f64> = BTreeMap::new();
    for r in metrics.readings.iter().filter(|r| r.service == v) {
        let w = worst.entry(t.series[r.series].instance.as_str()).or_insert(0.0);
        *w = w.max(r.severity);
    }
    let mut worst: Vec<(&str, f64)> = worst.into_iter().collect();
    worst.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    match worst.as_slice() {
        [first, second, ..] if second.1 > 0.8 * first.1 => String::new(),
        [first, ..] => first.0.to_owned(),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::telemetry::{Change, Counts, Period, Series, SpanStats, TemplateCounts};

    const STEP: i64 = 60_000_000_000;
    const BASELINE: i64 = 60;
    const WINDOW: i64 = 5;

    /// `usual` with a little noise, and `now` in the window.
    fn series(service: &str, metric: &str, usual: f64, now: f64) -> Series {
        let noise = |i: i64| 1.0 + ((i * 7919 + metric.len() as i64) % 11) as f64 / 200.0;
        let at = |i: i64| if i < BASELINE { usual } else { now };
        Series {
            service: service.to_owned(),
            instance: format!("{service}-0"),
            metric: metric.to_owned(),
            labels: String::new(),
            is_rate: false,
            points: (0..BASELINE + WINDOW).map(|i| (i * STEP, at(i) * noise(i))).collect(),
        }
    }

    fn telemetry(series: Vec<Series>, edges: &[(&str, &str)]) -> Telemetry {
        let split = BASELINE * STEP;
        Telemetry {
            baseline: Period { from: 0, to: split },
            window: Period { from: split, to: split + WINDOW * STEP },
            series,
            templates: Vec::new(),
            spans: SpanStats::default(),
            edges: edges.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
            changes: Vec::new(),
        }
    }

    /// web -> api -> db and web -> cache; the database is slow and all above it with it.
    fn slow_database() -> Telemetry {
        let rows =
            [("web", 80.0, 580.0), ("api", 50.0, 550.0), ("db", 5.0, 505.0), ("cache", 1.0, 1.0)];
        let series = rows.iter().map(|(s, usual, now)| series(s, "latency_p50", *usual, *now));
        telemetry(series.collect(), &[("web", "api"), ("api", "db"), ("web", "cache")])
    }

    fn template(service: &str, text: &str, severity: &str, counts: (u64, u64)) -> TemplateCounts {
        TemplateCounts {
            service: service.to_owned(),
            instance: String::new(),
            template_id: text.bytes().map(u64::from).sum(),
            template: text.to_owned(),
            severity: severity.to_owned(),
            owner: None,
            baseline: counts.0,
            window: counts.1,
            first_seen: 0,
        }
    }

    fn best(t: &Telemetry) -> Candidate {
        rank(t).candidates.into_iter().next().unwrap()
    }

    #[test]
    fn a_slow_database_is_ranked_above_its_callers() {
        let ranking = rank(&slow_database());
        let order: Vec<&str> = ranking.candidates.iter().map(|c| c.service.as_str()).collect();
        assert_eq!(order[0], "db", "{:?}", ranking.candidates);
        assert_eq!(ranking.candidates[0].kind, Kind::NetworkDelay);
        let cited = &ranking.candidates[0].evidence;
        assert!(cited.iter().any(|i| matches!(
            &ranking.evidence[*i],
            Evidence::Edge { caller, .. } if caller == "api"
        )));
    }

    #[test]
    fn saturation_outranks_the_slowness_that_it_causes() {
        let mut t = slow_database();
        t.series.push(series("api", "cpu_usage", 10.0, 90.0));
        t.series.retain(|s| s.service != "db");
        let c = best(&t);
        assert_eq!((c.service.as_str(), c.kind), ("api", Kind::Cpu));
    }

    #[test]
    fn a_probe_outside_the_graph_is_no_candidate() {
        let mut t = slow_database();
        t.series.push(series("synthetic-check", "latency_p50", 80.0, 5800.0));
        let ranking = rank(&t);
        assert!(ranking.candidates.iter().all(|c| c.service != "synthetic-check"));
        assert_eq!(ranking.candidates[0].service, "db");
    }

    #[test]
    fn what_a_whole_node_shows_blames_no_single_service() {
        let mut t = slow_database();
        for service in ["web", "api", "db", "cache"] {
            t.series.push(series(service, "node_cpu_usage", 10.0, 90.0));
        }
        assert_eq!(best(&t).service, "db");
    }

    #[test]
    fn order_of_input_and_unit_of_metrics_do_not_matter() {
        let forward = rank(&slow_database());
        let mut t = slow_database();
        t.series.reverse();
        t.edges.reverse();
        t.series.iter_mut().flat_map(|s| &mut s.points).for_each(|p| p.1 *= 1e-3);
        let back = rank(&t);
        for (a, b) in forward.candidates.iter().zip(&back.candidates) {
            assert_eq!(a.service, b.service);
            assert!((a.score - b.score).abs() < 1e-9);
        }
    }

    #[test]
    fn new_errors_without_metrics_name_the_service() {
        let mut t = telemetry(Vec::new(), &[("web", "api")]);
        t.templates = vec![
            template("web", "served <*>", "INFO", (500, 480)),
            template("api", "read <*>", "INFO", (400, 410)),
            template("api", "unhandled exception in <*>", "ERROR", (0, 60)),
        ];
        let c = best(&t);
        assert_eq!((c.service.as_str(), c.kind), ("api", Kind::Exception));
        assert_eq!(c.lanes.iter().map(|l| l.weight).sum::<f64>(), 1.0);
    }

    #[test]
    fn a_line_that_parts_from_its_companions_is_found() {
        let mut t = telemetry(Vec::new(), &[]);
        t.templates = ["start <*>", "load user <*>", "answer with <*>", "finished it <*>"]
            .iter()
            .map(|text| template("api", text, "INFO", (200, 210)))
            .collect();
        t.templates[1].window = 4;
        // The whole other service falls silent alike: a change of load, no broken flow.
        t.templates.extend(
            ["in <*>", "work on <*>", "out again <*>"]
                .iter()
                .map(|text| template("job", text, "INFO", (200, 40))),
        );
        let ranking = rank(&t);
        assert_eq!(ranking.candidates.len(), 1);
        assert_eq!(ranking.candidates[0].service, "api");
        assert!(ranking.evidence[0].text().contains("load user"));
    }

    #[test]
    fn a_recent_deploy_decides_between_equals() {
        let rows = [("a", 10.0, 90.0), ("b", 10.0, 90.0)];
        let both = rows.iter().map(|(s, usual, now)| series(s, "cpu_usage", *usual, *now));
        let mut t = telemetry(both.collect(), &[]);
        t.changes.push(Change {
            ts: (BASELINE - 2) * STEP,
            service: "b".to_owned(),
            kind: "deploy".to_owned(),
            object: "b:v2".to_owned(),
            detail: String::new(),
        });
        assert_eq!(best(&t).service, "b");
    }

    #[test]
    fn a_change_of_configuration_names_the_kind_only_if_it_is_recent() {
        let kind = |config: i64, deploy: i64| {
            let mut t = telemetry(vec![series("a", "latency", 10.0, 13.0)], &[]);
            for (kind, minutes) in [("config", config), ("deploy", deploy)] {
                t.changes.push(Change {
                    ts: BASELINE * STEP - minutes * STEP,
                    service: "a".to_owned(),
                    kind: kind.to_owned(),
                    object: "a".to_owned(),
                    detail: String::new(),
                });
            }
            best(&t).kind
        };
        assert_eq!(kind(1, 57), Kind::Configuration);
        assert_ne!(kind(57, 1), Kind::Configuration, "the deploy lends it no weight");
    }

    #[test]
    fn lines_of_several_writers_are_told_of_the_one_that_wrote_most() {
        let mut t = telemetry(Vec::new(), &[("front", "db"), ("shop", "db")]);
        for (writer, counts) in [("front", (4, 40)), ("shop", (4, 160))] {
            t.templates.push(template(writer, "call to db failed: timeout", "ERROR", counts));
            t.templates.push(template(writer, "served <*>", "INFO", (200, 200)));
        }
        let ranking = rank(&t);
        let told = ranking.evidence.iter().find_map(|e| match e {
            Evidence::LogTemplate { service, observed, expected, .. } => {
                Some((service.as_str(), *observed, *expected < 10.0))
            }
            _ => None,
        });
        assert_eq!(told, Some(("shop", 160, true)));
    }

    #[test]
    fn what_has_not_moved_is_not_cited() {
        let points = (0..BASELINE + WINDOW).map(|i| (i * STEP, 12.0)).collect();
        let even = Series { points, ..series("a", "cpu_usage", 1.0, 1.0) };
        let mut t = telemetry(vec![even], &[]);
        t.templates.push(template("a", "cannot go on", "ERROR", (0, 50)));
        let ranking = rank(&t);
        assert!(!ranking.evidence.is_empty());
        let still = |e: &Evidence| match e {
            Evidence::MetricWindow { observed, expected, .. } => observed == expected,
            _ => false,
        };
        assert!(!ranking.evidence.iter().any(still), "{:?}", ranking.evidence);
    }

    #[test]
    fn a_missing_call_blames_the_service_that_no_longer_makes_it() {
        let mut t = telemetry(Vec::new(), &[]);
        t.spans.traces = Counts { baseline: 300, window: 300 };
        let call =
            |caller: &str, callee: &str, with_child: u64| crate::diagnose::telemetry::CallStats {
                caller: caller.to_owned(),
                caller_entry: "get".to_owned(),
                caller_operation: "get".to_owned(),
                callee: callee.to_owned(),
                callee_operation: "get".to_owned(),
                parents: Counts { baseline: 300, window: 300 },
                with_child: Counts { baseline: 300, window: with_child },
            };
        t.spans.calls = vec![call("web", "api", 300), call("api", "db", 20)];
        t.edges = vec![("web".to_owned(), "api".to_owned()), ("api".to_owned(), "db".to_owned())];
        assert_eq!(best(&t).service, "api");
    }

    #[test]
    fn a_line_that_names_a_failing_callee_blames_the_callee() {
        let mut t = telemetry(Vec::new(), &[("web", "stock-api"), ("web", "cart-api")]);
        t.templates = vec![
            template("web", "served <*>", "INFO", (500, 480)),
            template("stock-api", "read <*>", "INFO", (400, 410)),
            template("cart-api", "read <*>", "INFO", (400, 410)),
            template("web", "call to cart-api failed: status <*>", "ERROR", (0, 60)),
        ];
        assert_eq!(best(&t).service, "cart-api");
        // Who fails to reach all its callees is itself cut off.
        t.templates.push(template("web", "call to stock-api failed: <*>", "ERROR", (0, 60)));
        assert_eq!(best(&t).service, "web");
    }

    #[test]
    fn what_suffering_callers_have_in_common_is_blamed() {
        let edges = [("web", "a"), ("web", "b"), ("web", "c"), ("a", "db"), ("b", "db")];
        let rows = [("a", 0.5), ("b", 0.5), ("c", 0.0)];
        let mut all: Vec<Series> =
            rows.iter().map(|(s, now)| series(s, "error_ratio", 0.001, 0.001 + now)).collect();
        all.push(series("db", "cpu_usage", 10.0, 10.0));
        let t = telemetry(all, &edges);
        let ranking = rank(&t);
        assert_eq!(ranking.candidates[0].service, "db", "{:?}", ranking.candidates);
        let cited = &ranking.candidates[0].evidence;
        assert!(cited.iter().any(|i| matches!(&ranking.evidence[*i], Evidence::Edge { .. })));
    }

    #[test]
    fn who_falls_silent_while_its_callers_fail_has_crashed() {
        let mut t = slow_database();
        t.series = vec![
            series("web", "error_ratio", 0.001, 0.5),
            series("api", "error_ratio", 0.001, 0.5),
            series("db", "cpu_usage", 10.0, 10.0),
            series("cache", "cpu_usage", 10.0, 10.0),
        ];
        t.series[2].points.truncate(BASELINE as usize);
        let c = best(&t);
        assert_eq!((c.service.as_str(), c.kind), ("db", Kind::Crash));
        // Its lines go on: then only its metrics are missing.
        t.templates = vec![
            template("db", "checkpoint <*>", "INFO", (300, 300)),
            template("api", "read <*>", "INFO", (300, 300)),
        ];
        t.templates[0].instance = "db-0".to_owned();
        assert_ne!(best(&t).kind, Kind::Crash);
    }

    #[test]
    fn load_is_blamed_where_it_comes_in() {
        let services = ["web", "api", "db"];
        let mut all: Vec<Series> =
            services.iter().map(|s| series(s, "request_rate", 10.0, 40.0)).collect();
        all.extend(services.iter().map(|s| series(s, "latency_p50", 10.0, 60.0)));
        let t = telemetry(all, &[("web", "api"), ("api", "db")]);
        let c = best(&t);
        assert_eq!((c.service.as_str(), c.kind), ("web", Kind::Load));
    }

    #[test]
    fn nothing_in_nothing_out() {
        let ranking = rank(&telemetry(Vec::new(), &[]));
        assert!(ranking.candidates.is_empty() && ranking.evidence.is_empty());
        let mut t = slow_database();
        t.baseline = Period { from: -2, to: -1 };
        assert!(rank(&t).candidates.is_empty());
    }
}
