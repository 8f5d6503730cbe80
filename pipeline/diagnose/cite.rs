//! Ranked candidates and their facts as causes and evidence: each fact with a stable id, one safe
//! line of text, and the query that returns its rows from the archive.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Request;
use super::capture::{Captured, Templates};
use super::evidence::Evidence as Fact;
use super::lookback::EVENTS_NS_MAX;
use super::rank::{Candidate, Ranking};
use super::sql::Scope;
use super::telemetry::Period;
use crate::model::{Cause, Evidence, Share, stable_id};
use crate::source::escape;

/// Longer statements are cut: templates have no bound of their own.
const STATEMENT_BYTES_MAX: usize = 640;

/// Parts of a score that are too small to be told.
const SHARE_MIN: f64 = 0.005;

/// Causes best first, and the evidence they cite, each fact once.
pub fn cite(
    request: &Request,
    captured: &Captured,
    ranking: &Ranking,
) -> (Vec<Cause>, Vec<Evidence>) {
    let citer = Citer { request, captured };
    let facts: Vec<Evidence> = ranking.evidence.iter().map(|fact| citer.evidence(fact)).collect();
    let causes = ranking.candidates.iter().map(|c| cause(c, &facts)).collect();
    let mut seen = BTreeSet::new();
    let evidence = facts.into_iter().filter(|e| seen.insert(e.id.clone())).collect();
    (causes, evidence)
}

fn cause(candidate: &Candidate, facts: &[Evidence]) -> Cause {
    let mut seen = BTreeSet::new();
    let cited = candidate.evidence.iter().map(|index| facts[*index].id.clone());
    let shares = candidate
        .lanes
        .iter()
        .map(|lane| Share { lane: lane.lane.name().to_owned(), score: lane.value * lane.weight });
    let mut lanes: Vec<Share> = shares.filter(|share| share.score >= SHARE_MIN).collect();
    lanes.sort_by(|a, b| b.score.total_cmp(&a.score));
    Cause {
        lanes,
        service: candidate.service.clone(),
        instance: candidate.instance.clone(),
        kind: candidate.kind.to_string(),
        score: candidate.score,
        confidence: candidate.confidence,
        evidence_ids: cited.filter(|id| seen.insert(id.clone())).collect(),
    }
}

struct Citer<'a> {
    request: &'a Request,
    captured: &'a Captured,
}

/// What a fact is about.
struct Content<'a> {
    kind: &'static str,
    service: &'a str,
    instance: &'a str,
    subject: Cow<'a, str>,
    period: Period,
    observed: f64,
    expected: f64,
    sql: String,
}

impl Citer<'_> {
    fn evidence(&self, fact: &Fact) -> Evidence {
        let content = self.content(fact);
        let statement = bounded(escape::line(&fact.text()).into_owned());
        let incident_id = &self.request.incident_id;
        let identity = [
            incident_id,
            content.kind,
            content.service,
            content.instance,
            &content.subject,
            &statement,
            &content.sql,
        ];
        Evidence {
            id: stable_id(&identity),
            incident_id: incident_id.clone(),
            kind: content.kind.to_owned(),
            service: content.service.to_owned(),
            instance: content.instance.to_owned(),
            subject: bounded(escape::line(&content.subject).into_owned()),
            statement,
            from: content.period.from,
            to: content.period.to,
            observed: content.observed,
            expected: content.expected,
            sql: content.sql,
        }
    }

    fn content<'a>(&self, fact: &'a Fact) -> Content<'a> {
        let period = self.captured.telemetry.window;
        match fact {
            Fact::MetricWindow {
                service, instance, metric, labels, observed, expected, ..
            } => Content {
                kind: "metric",
                service,
                instance,
                subject: metric.into(),
                period,
                observed: *observed,
                expected: *expected,
                sql: self.samples().metric([service, instance, metric, labels]),
            },
            Fact::LogTemplate {
                service,
                instance,
                template_id,
                template,
                observed,
                expected,
                ..
            } => Content {
                kind: "log",
                service,
                instance,
                subject: template.into(),
                period,
                observed: *observed as f64,
                expected: *expected,
                sql: self.lines(service, *template_id),
            },
            Fact::LogVolume { service, observed, expected } => {
                let told = ("lines".into(), *observed as f64, *expected);
                self.about("log", service, told, self.events().lines_of(service))
            }
            Fact::SpanPath { service, instance, operation, caller, observed, expected, .. } => {
                let (kind, sql) = self.path([service, instance, operation], caller.as_ref());
                Content {
                    kind,
                    service,
                    instance,
                    subject: operation.into(),
                    period,
                    observed: *observed,
                    expected: *expected,
                    sql,
                }
            }
            Fact::Change { ts, service, kind, object, .. } => {
                let period = Period { from: *ts, to: ts.saturating_add(1) };
                let sql = self.scope(period).change(service, kind, object);
                Content { period, ..self.about("change", service, (object.into(), 1.0, 0.0), sql) }
            }
            Fact::Silence { service, instance, observed, expected } => {
                let told = ("samples".into(), *observed, *expected);
                let sql = self.samples().metrics_of([service, service]);
                Content { instance, ..self.about("metric", service, told, sql) }
            }
            Fact::Edge { caller, callee, share } => {
                let told = (format!("{caller} -> {callee}").into(), *share, 0.0);
                self.about("edge", callee, told, self.edge(caller, callee))
            }
        }
    }

    /// What is said of a service over the whole window: subject, observed, expected.
    fn about<'a>(
        &self,
        kind: &'static str,
        service: &'a str,
        (subject, observed, expected): (Cow<'a, str>, f64, f64),
        sql: String,
    ) -> Content<'a> {
        let period = self.captured.telemetry.window;
        Content { kind, service, instance: "", subject, period, observed, expected, sql }
    }

    /// Spans of an operation or a call; lines, where the operation stands for a template.
    fn path(
        &self,
        [service, instance, operation]: [&str; 3],
        caller: Option<&(String, String)>,
    ) -> (&'static str, String) {
        let named = (service.to_owned(), operation.to_owned());
        let templates = &self.captured.telemetry.templates;
        let template = templates
            .iter()
            .find(|t| t.service == service && t.template == operation)
            .filter(|_| !self.captured.operations.contains(&named));
        if let Some(t) = template {
            return ("log", self.lines(service, t.template_id));
        }
        let sql = match caller {
            Some((above, entry)) => self.events().calls(above, service, Some([entry, operation])),
            None => self.events().spans(service, instance, operation),
        };
        ("span", sql)
    }

    fn lines(&self, service: &str, template_id: u64) -> String {
        let templates = self.captured.templates.get(&(service.to_owned(), template_id));
        self.events().lines(service, templates.unwrap_or(&Templates::new()))
    }

    /// Spans where they show the call, else what both ends measure.
    fn edge(&self, caller: &str, callee: &str) -> String {
        let calls = &self.captured.telemetry.spans.calls;
        if calls.iter().any(|c| c.caller == caller && c.callee == callee) {
            self.events().calls(caller, callee, None)
        } else {
            self.samples().metrics_of([caller, callee])
        }
    }

    /// The window and what of the baseline is kept in the archive.
    fn samples(&self) -> Scope<'_> {
        let Period { from, to } = self.captured.telemetry.window;
        self.scope(Period { from: from.saturating_sub(EVENTS_NS_MAX), to })
    }

    /// The window and its control.
    fn events(&self) -> Scope<'_> {
        let to = self.captured.telemetry.window.to;
        self.scope(Period { from: self.captured.control.from(), to })
    }

    fn scope(&self, period: Period) -> Scope<'_> {
        let Request { incident_id, cluster, .. } = self.request;
        Scope { incident_id, cluster, period }
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > STATEMENT_BYTES_MAX {
        text.truncate(escape::boundary(&text, STATEMENT_BYTES_MAX));
        text.push('…');
    }
    text
}
