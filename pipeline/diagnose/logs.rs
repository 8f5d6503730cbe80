//! The log lane: templates that are new, that burst or that are gone, and services that fall silent
//! or flood their logs.

use std::collections::{BTreeMap, BTreeSet};

use super::deviation::{count_z, strength, surprise_of};
use super::evidence::{Evidence, Finding, Lane, LogFinding, SpanFinding};
use super::graph::{self, CallGraph};
use super::telemetry::{SpanStats, TemplateCounts};

/// Worth of a template by what it says. Errors are findings; information is mostly a shadow of
/// traffic.
const ERROR: f64 = 1.0;
const WARNING: f64 = 0.6;
const INFORMATION: f64 = 0.3;
/// Worth of a line that parts from the lines and spans it always came with: the code has taken
/// another way, whatever the line says.
const BROKEN_FLOW: f64 = 0.8;
/// Worth of a service that writes far more or far fewer lines than the others let expect, whatever
/// they say, and from which factor on it does: load moves the services of one system apart by less.
/// It takes some services to know what is usual.
const VOLUME: f64 = 0.6;
const VOLUME_FACTOR: f64 = 3.0;
const VOLUME_SERVICES: usize = 4;
/// Fewest lines of baseline that show which counts go together.
const MIN_FLOW: u64 = 5;
/// Counts that go together are equal up to this share, and one: the requests that an edge cuts.
const FLOW_TOLERANCE: f64 = 0.1;
/// Half a count for what was never seen (Jeffreys).
const PRIOR: f64 = 0.5;
/// Least surprise that is a finding.
const NOTABLE: f64 = 1.3;

const ERROR_WORDS: [&str; 12] = [
    "error",
    "exception",
    "fail",
    "fatal",
    "panic",
    "traceback",
    "timeout",
    "timed out",
    "refused",
    "unavailable",
    "abort",
    "denied",
];
const THROWN_WORDS: [&str; 5] = ["exception", "traceback", "panic", "stack trace", "segfault"];

/// What stands before the name of a service that is called.
const CALLING: [&str; 9] =
    [" to", "from", "calling", "call", "upstream", "service", "host", "//", "invoke"];
/// A name this long is no ordinary word.
const DISTINCTIVE: usize = 10;

/// Per service 0..1 as read, the same less what callees account for, and the findings.
pub struct LogLane {
    pub raw: Vec<f64>,
    pub residual: Vec<f64>,
    /// Part of `raw` that comes from errors and stack traces.
    pub exceptions: Vec<f64>,
    pub findings: Vec<Finding>,
}

/// `None` where the window has no lines at all: then it is their collector that is silent.
pub fn read(
    templates: &[TemplateCounts],
    spans: &SpanStats,
    services: &BTreeMap<&str, usize>,
    graph: &CallGraph,
) -> Option<LogLane> {
    let n = services.len();
    let merged = merge(templates, services, graph);
    let counters = counters(&merged, spans, services);
    if merged.iter().all(|m| m.window == 0) {
        return None;
    }
    let mut totals = vec![(0u64, 0u64); n];
    for m in &merged {
        totals[m.owner].0 += m.baseline;
        totals[m.owner].1 += m.window;
    }
    let exposure = exposure(&totals);
    let mut lane = LogLane {
        raw: vec![0.0; n],
        residual: Vec::new(),
        exceptions: vec![0.0; n],
        findings: Vec::new(),
    };
    let mut excess = vec![0.0; n];
    for m in &merged {
        let v = m.owner;
        let flow = m.companions(&counters[v]).and_then(|(ratio, agree)| {
            m.judge(ratio).map(|j| Judgement { effect: j.effect * agree, ..j })
        });
        let own = totals[v];
        // A service that handles more writes more of everything, but not more errors.
        let own_ratio = (own.1 as f64 + PRIOR) / (own.0 as f64 + PRIOR);
        let level = m.level();
        let alone = m.judge(if level == ERROR { exposure } else { exposure.max(own_ratio) });
        let worth = |j: &Judgement, w: f64| w * strength(j.surprise, n) * j.effect;
        let fewer_errors = |j: &Judgement| j.finding == LogFinding::Gone && level == ERROR;
        let by_flow = flow.filter(|j| !fewer_errors(j)).map(|j| (worth(&j, BROKEN_FLOW), j));
        let by_level =
            alone.filter(|j| j.finding != LogFinding::Gone).map(|j| (worth(&j, level), j));
        let best = by_flow.into_iter().chain(by_level).max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((worth, Judgement { finding, expected, .. })) = best else { continue };
        lane.raw[v] = lane.raw[v].max(worth);
        if finding != LogFinding::Gone && m.level() == ERROR {
            lane.exceptions[v] = lane.exceptions[v].max(worth);
            excess[v] = f64::max(excess[v], m.window as f64 - expected);
        }
        lane.findings.push(m.finding(finding, expected, worth));
    }
    for finding in volumes(&totals, exposure, spans, services) {
        lane.raw[finding.service] = lane.raw[finding.service].max(finding.strength);
        lane.findings.push(finding);
    }
    // Failures climb: a callee with as many new error lines accounts for its caller's.
    lane.residual = graph::residuals(
        &lane.raw,
        |v| graph.callees(v).to_vec(),
        |v, c| {
            let likely = if lane.raw[v] > 0.0 { (lane.raw[c] / lane.raw[v]).min(1.0) } else { 0.0 };
            let cover = if excess[v] > 0.0 { (excess[c] / excess[v]).min(1.0) } else { likely };
            likely * cover
        },
    );
    Some(lane)
}

fn level(t: &TemplateCounts) -> f64 {
    let severity = t.severity.to_lowercase();
    match severity.as_str() {
        "error" | "err" | "fatal" | "critical" | "crit" | "alert" | "emerg" | "panic"
        | "severe" => ERROR,
        _ if t.owner.is_some() || says_error(&t.template) => ERROR,
        "warn" | "warning" => WARNING,
        _ => INFORMATION,
    }
}

/// `(service, template)` of the lines that report a failure.
pub fn failures(templates: &[TemplateCounts]) -> BTreeSet<(&str, &str)> {
    let failing = templates.iter().filter(|t| level(t) == ERROR);
    failing.map(|t| (t.service.as_str(), t.template.as_str())).collect()
}

/// Whether a finding is a line that code which threw or crashed writes.
pub fn is_exception(evidence: &Evidence) -> bool {
    match evidence {
        Evidence::LogTemplate { finding: LogFinding::Gone, .. } => false,
        Evidence::LogTemplate { template, owner, .. } => owner.is_some() || says_thrown(template),
        Evidence::SpanPath { finding: SpanFinding::New, operation, .. } => says_thrown(operation),
        _ => false,
    }
}

fn says_thrown(text: &str) -> bool {
    let text = text.to_lowercase();
    THROWN_WORDS.iter().any(|w| text.contains(w))
}

/// Whether a text speaks of a failure.
pub fn says_error(text: &str) -> bool {
    let text = text.to_lowercase();
    ERROR_WORDS.iter().any(|w| text.contains(w))
}

/// Lines of the window per line of the baseline: the median over services, so that one that
/// bursts or falls silent does not shift what is expected of the others.
fn exposure(totals: &[(u64, u64)]) -> f64 {
    let mut ratios: Vec<f64> = totals
        .iter()
        .filter(|(b, w)| *b > 0 && *w > 0)
        .map(|(b, w)| *w as f64 / *b as f64)
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(1.0)
}

/// Services that write a multiple or a fraction of the lines that the others let expect. Where
/// spans tell how much a service is asked to do, its lines only repeat that.
fn volumes(
    totals: &[(u64, u64)],
    exposure: f64,
    spans: &SpanStats,
    services: &BTreeMap<&str, usize>,
) -> Vec<Finding> {
    if totals.iter().filter(|(before, _)| *before > 0).count() < VOLUME_SERVICES {
        return Vec::new();
    }
    let traced: BTreeSet<&str> = spans.operations.iter().map(|o| o.service.as_str()).collect();
    let judge = |(name, v): (&&str, &usize)| {
        let (before, now) = totals[*v];
        let expected = before as f64 * exposure;
        let (less, more) = (expected.min(now as f64), expected.max(now as f64));
        let apart = before > 0 && more >= VOLUME_FACTOR * less;
        let surprise = surprise_of(count_z(now, before, exposure));
        if !apart || surprise < NOTABLE || traced.contains(name) {
            return None;
        }
        let evidence = Evidence::LogVolume { service: (*name).to_owned(), observed: now, expected };
        let strength = VOLUME * strength(surprise, totals.len()) * (1.0 - less / more);
        Some(Finding { service: *v, lane: Lane::Logs, strength, evidence })
    };
    services.iter().filter_map(judge).collect()
}

/// Baseline and window of every line and every operation of each service.
fn counters(
    merged: &[Merged<'_>],
    spans: &SpanStats,
    services: &BTreeMap<&str, usize>,
) -> Vec<Vec<(u64, u64)>> {
    let mut out = vec![Vec::new(); services.len()];
    for m in merged {
        out[m.owner].push((m.baseline, m.window));
    }
    let mut operations: BTreeMap<(usize, &str), (u64, u64)> = BTreeMap::new();
    for o in &spans.operations {
        if let Some(&v) = services.get(o.service.as_str()) {
            let c = operations.entry((v, &o.operation)).or_default();
            c.0 += o.baseline.count;
            c.1 += o.window.count;
        }
    }
    for ((v, _), c) in operations {
        out[v].push(c);
    }
    out
}

/// What a template's counts show.
struct Judgement {
    finding: LogFinding,
    expected: f64,
    surprise: f64,
    /// Share of the lines that are too many or too few.
    effect: f64,
}

/// One template over all services and instances that write it.
struct Merged<'a> {
    first: &'a TemplateCounts,
    /// Lines of each service that writes it, baseline and window.
    writers: BTreeMap<&'a str, (u64, u64)>,
    /// Who is to answer for it: the owner of the stack trace, else the callee of whose failure the
    /// line speaks, else who wrote it.
    owner: usize,
    baseline: u64,
    window: u64,
}

fn merge<'a>(
    templates: &'a [TemplateCounts],
    services: &BTreeMap<&str, usize>,
    graph: &CallGraph,
) -> Vec<Merged<'a>> {
    let accused = Accused::new(templates, services, graph);
    let mut out: BTreeMap<(usize, u64), Merged<'a>> = BTreeMap::new();
    for t in templates {
        let writer = services.get(t.service.as_str()).copied();
        let thrower = t.owner.as_deref().and_then(|o| services.get(o)).copied();
        let named = || writer.and_then(|w| accused.by(w, &t.template));
        let Some(owner) = thrower.or_else(named).or(writer) else { continue };
        let m = out.entry((owner, t.template_id)).or_insert(Merged {
            first: t,
            writers: BTreeMap::new(),
            owner,
            baseline: 0,
            window: 0,
        });
        let lines = m.writers.entry(&t.service).or_default();
        *lines = (lines.0 + t.baseline, lines.1 + t.window);
        m.baseline += t.baseline;
        m.window += t.window;
    }
    out.into_values().collect()
}

/// Callees that failure lines name. `a: call to b failed` speaks against `b`, unless `a` says the
/// same of several callees: then what they have in common is `a`.
pub struct Accused<'a>(BTreeMap<(usize, &'a str), usize>);

impl<'a> Accused<'a> {
    pub fn new(
        templates: &'a [TemplateCounts],
        services: &BTreeMap<&str, usize>,
        graph: &CallGraph,
    ) -> Self {
        let mut names = vec![""; services.len()];
        services.iter().for_each(|(name, v)| names[*v] = name);
        let mut found = BTreeMap::new();
        let mut several: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for t in templates.iter().filter(|t| t.window > t.baseline && level(t) == ERROR) {
            let Some(&writer) = services.get(t.service.as_str()) else { continue };
            let text = t.template.to_lowercase();
            let callees = graph.callees(writer).iter().copied();
            for callee in callees.filter(|c| names_service(&text, &names[*c].to_lowercase())) {
                found.insert((writer, t.template.as_str()), callee);
                several.entry(writer).or_default().insert(callee);
            }
        }
        found.retain(|(writer, _), _| several[writer].len() == 1);
        Accused(found)
    }

    /// The callee that a line of `writer` holds responsible.
    pub fn by(&self, writer: usize, template: &str) -> Option<usize> {
        self.0.get(&(writer, template)).copied()
    }
}

/// Whether `text` names a service, as a whole word; a name that could be an ordinary word counts
/// only where it is called or answers.
fn names_service(text: &str, name: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let distinctive = name.len() >= DISTINCTIVE || name.contains(['-', '_']);
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let whole = !before.ends_with(inside) && !after.starts_with(inside);
        let prior = before.trim_end_matches([' ', '"', '\'', '`', '[', '(', ':', '=']);
        whole && (distinctive || CALLING.iter().any(|w| prior.ends_with(w)))
    })
}

impl Merged<'_> {
    /// Against `ratio` lines of the window per line of the baseline.
    fn judge(&self, ratio: f64) -> Option<Judgement> {
        let surprise = surprise_of(count_z(self.window, self.baseline, ratio));
        let (now, expected) = (self.window as f64, self.baseline as f64 * ratio);
        let finding = match (now > expected, self.baseline) {
            (true, 0) => LogFinding::New,
            (true, _) => LogFinding::Burst,
            (false, _) => LogFinding::Gone,
        };
        let effect = (now - expected).abs() / now.max(expected);
        (surprise >= NOTABLE).then_some(Judgement { finding, expected, surprise, effect })
    }

    /// Window against baseline of the counts of the same service that were equal in the baseline,
    /// by their median, and how far they agree on it (1 all, 0 half): lines and spans of one
    /// request handler rise and fall together.
    fn companions(&self, counters: &[(u64, u64)]) -> Option<(f64, f64)> {
        if self.baseline < MIN_FLOW {
            return None;
        }
        let slack = 1.0 + FLOW_TOLERANCE * self.baseline as f64;
        let mut ratios: Vec<f64> = counters
            .iter()
            .filter(|(b, _)| (*b as f64 - self.baseline as f64).abs() <= slack)
            .map(|(b, w)| *w as f64 / *b as f64)
            .collect();
        if ratios.len() < 3 {
            return None; // the template itself is among them
        }
        ratios.sort_by(f64::total_cmp);
        let middle = ratios[ratios.len() / 2];
        let own = self.window as f64 / self.baseline as f64;
        let others = (ratios.len() - 1) as f64;
        let like_own = ratios.iter().filter(|r| (**r - own).abs() < (**r - middle).abs()).count();
        let against = like_own.saturating_sub(1) as f64 / others;
        Some((middle, (1.0 - 2.0 * against).max(0.0)))
    }

    fn level(&self) -> f64 {
        level(self.first)
    }

    fn finding(&self, finding: LogFinding, expected: f64, strength: f64) -> Finding {
        let t = self.first;
        // Of several writers, the one that shows it most is cited with its own lines.
        let moved = |(baseline, window): &(u64, u64)| match finding {
            LogFinding::Gone => *baseline,
            LogFinding::New | LogFinding::Burst => *window,
        };
        let most = self.writers.iter().rev().max_by_key(|(_, lines)| moved(lines));
        let (writer, (baseline, window)) =
            most.map_or(("", (0, 0)), |(name, lines)| (*name, *lines));
        let share = if self.baseline > 0 { baseline as f64 / self.baseline as f64 } else { 0.0 };
        Finding {
            service: self.owner,
            lane: Lane::Logs,
            strength,
            evidence: Evidence::LogTemplate {
                service: writer.to_owned(),
                instance: if writer == t.service { t.instance.clone() } else { String::new() },
                template_id: t.template_id,
                template: t.template.clone(),
                severity: t.severity.clone(),
                owner: t.owner.clone(),
                finding,
                observed: window,
                expected: expected * share,
            },
        }
    }
}
