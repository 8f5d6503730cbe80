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
use super::{changes, logs, mesh, readings, shape, silence};

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
    /// its own evidence is; at most that of the candidate before it.
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
    known.extend(t.series.iter().filter_map(|s| mesh::call(s, |name| index.get(name).copied())));
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
        let m = crate::diagnose::family::read(&s.metric, &s.labels, |n| index.contains_key(n));
        let local = m.family.aspect(m.side) == Aspect::Resource || m.family == Family::Network;
        local.then_some(s.service.as_str())
    }));
    out.retain(|v| index.iter().any(|(name, i)| i == v && !working.contains(name)));
    out
}

impl Lanes {
    fn read(
        t: &Telemetry,
        mut metrics: MetricLane,
        index: &BTreeMap<&str, usize>,
        graph: &CallGraph,
    ) -> Lanes {
        let n = index.len();
        let accused = logs::Accused::new(&t.templates, index, graph);
        let failures = logs::failures(&t.templates);
        let spans = shape::read(&t.spans, (&failures, &accused), index, graph);
        if let Some(spans) = &spans {
            metrics.confirm(&spans.slower);
        }
        let logs = logs::read(&t.templates, &t.spans, index, graph);
        metrics.inherit(graph, |v| {
            let spans = spans.as_ref().map_or(0.0, |s| s.errors[v].max(s.shape[v]));
            spans.max(logs.as_ref().map_or(0.0, |l| l.exceptions[v]))
        });
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

    /// How badly users of `v` fare by its own doing.
    fn symptom(&self, v: usize) -> f64 {
        self.metrics.symptom(v).max(self.events(v))
    }

    /// How badly `v` fares by its spans and lines.
    fn events(&self, v: usize) -> f64 {
        let spans = self.spans.as_ref().map_or(0.0, |s| s.errors[v].max(s.self_time[v]));
        spans.max(self.logs.as_ref().map_or(0.0, |l| l.exceptions[v]))
    }

    /// Share of `v`'s symptoms that callee `c` accounts for.
    fn explains(&self, graph: &CallGraph, v: usize, c: usize) -> f64 {
        let by_metrics = self.metrics.explains(graph, v, c);
        let own = self.symptom(v);
        let by_events = if own > 0.0 { (self.events(c) / own).min(1.0) } else { 0.0 };
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
        // Who was scaled in is silent because somebody wanted it so.
        let scaled = findings.iter().any(|f| is_change(f, "scale"));
        let configured = findings
            .iter()
            .filter(|f| is_change(f, "config") || (is_change(f, "scale") && m.silent(v).is_some()));
        // Who gets fewer requests makes fewer calls.
        let Aspects { flow, traffic, .. } = m.residual[v];
        let flow = if flow > traffic { flow } else { 0.0 };
        let mut signs = Signs {
            latency: m.residual[v].latency,
            dependency: m.residual[v].dependency,
            wire: self.wire(v),
            errors: m.residual[v].error.max(if thrown { 0.0 } else { logged }),
            exceptions: if thrown { logged } else { 0.0 },
            error_origin: spans(|s| &s.errors),
            shape: spans(|s| &s.shape).max(flow),
            self_time: spans(|s| &s.self_time),
            configuration: configured.map(|f| f.strength).fold(0.0, f64::max),
            ..Signs::default()
        };
        for (family, rose, severity) in m.uses(v) {
            signs.add_metric(family, rose, severity);
        }
        signs.silence = if scaled { 0.0 } else { m.silence(v) };
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

fn is_change(finding: &Finding, what: &str) -> bool {
    matches!(&finding.evidence, Evidence::Change { kind, .. } if kind == what)
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
    let mut most = 1.0_f64;
    for (v, score, contributions) in scored {
        let own: Vec<&Finding> = findings.iter().filter(|f| f.service == v).collect();
        let cited = cite(&own);
        let from = out.evidence.len();
        out.evidence.extend(cited.iter().map(|f| f.evidence.clone()));
        out.evidence.extend(edges(names, graph, lanes, v));
        let strongest = own.first().map_or(0.0, |f| f.strength);
        let kind = lanes.signs(v, &own).kind();
        most = most.min(strongest * score * score / total);
        out.candidates.push(Candidate {
            service: names[v].to_owned(),
            instance: match kind {
                Kind::Crash => lanes.metrics.silent(v),
                _ => None,
            }
            .unwrap_or_else(|| instance(&lanes.metrics, t, v)),
            kind,
            score,
            confidence: most,
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
    let shown = |c: usize| metrics::performance(&lanes.metrics.raw[c]).max(lanes.events(c));
    graph
        .callers(v)
        .iter()
        .map(|&c| (c, lanes.explains(graph, c, v).max(suspected)))
        .filter(|(c, share)| *share >= EDGE_MIN && shown(*c) >= least)
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
mod tests;
