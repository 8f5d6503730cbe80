//! What an incident looks like, as exact terms: services, families of metrics with the direction
//! in which they moved, log templates, and the causes that were found.

use std::collections::BTreeSet;

use crate::diagnose::family::{self, Family};
use crate::model::{Cause, Diagnosis, Incident, Signal};

/// Terms of one fingerprint; those of the strongest signals are kept.
const TERMS_MAX: usize = 256;

/// Ranked causes that go into it.
const CAUSES_MAX: usize = 3;

/// Begins terms that are the name of a metric.
const NAME: &str = "name:";

/// The terms, sorted.
pub fn of(incident: &Incident, diagnosis: &Diagnosis) -> Vec<String> {
    let mut terms = BTreeSet::new();
    for (rank, cause) in diagnosis.causes.iter().take(CAUSES_MAX).enumerate() {
        let Cause { service, kind, .. } = cause;
        if rank == 0 {
            terms.extend(cause_terms(service, kind));
        }
        terms.insert(format!("suspect:{service}"));
    }
    for change in diagnosis.evidence.iter().filter(|e| e.kind == "change") {
        let kind = change.statement.split(' ').next().unwrap_or_default();
        terms.insert(format!("change:{kind}:{}", change.service));
    }
    let mut signals: Vec<&Signal> = incident.signals.iter().collect();
    signals.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    for signal in signals {
        for term in of_signal(signal) {
            if terms.len() < TERMS_MAX {
                terms.insert(term);
            }
        }
    }
    terms.into_iter().collect()
}

/// How a root cause is spelt.
pub fn cause_terms(service: &str, kind: &str) -> [String; 2] {
    [format!("cause:{service}"), format!("cause:{service}:{kind}")]
}

fn of_signal(signal: &Signal) -> Vec<String> {
    let Signal { service, metric, direction, detail, .. } = signal;
    let mut terms = vec![format!("service:{service}")];
    match metric.split_once(':') {
        Some(("log", id)) => {
            if id.chars().all(|c| c.is_ascii_hexdigit()) && !id.is_empty() {
                terms.push(format!("template:{id}"));
            }
            if !detail.is_empty() {
                terms.push(format!("line:{service}:{detail}"));
            }
            terms.push(format!("log:{service}:{direction}"));
        }
        Some(("span", operation)) => {
            terms.push(format!("span:{service}:{operation}:{direction}"));
        }
        _ => {
            let family = family_of(metric);
            terms.push(format!("{NAME}{}", bare(metric)));
            terms.push(format!("metric:{family}:{direction}"));
            terms.push(format!("metric:{family}:{direction}@{service}"));
        }
    }
    terms
}

/// The name without labels.
fn bare(metric: &str) -> &str {
    metric.split('{').next().unwrap_or(metric)
}

/// Names of metrics in a fingerprint.
pub fn metrics(terms: &[String]) -> impl Iterator<Item = &str> {
    terms.iter().filter_map(|t| t.strip_prefix(NAME))
}

/// What the metric measures; its own name, without labels, where the words of it do not say.
fn family_of(metric: &str) -> String {
    let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
    match family::read(name, labels, |_| false).family {
        Family::Other => name.to_owned(),
        known => known.to_string(),
    }
}

/// What a term of the question counts: causes more than symptoms, which spread.
pub fn weight(term: &str) -> f32 {
    match term.split(':').next() {
        Some("cause") => 3.0,
        Some("template" | "line" | "change") => 2.0,
        _ => 1.0,
    }
}

/// How alike two fingerprints are, 0 to 1: shared terms over the geometric mean of their numbers
/// (Ochiai 1957). Both are sorted.
pub fn likeness(a: &[String], b: &[String]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let shared = a.iter().filter(|term| b.binary_search(term).is_ok()).count();
    shared as f64 / (a.len() as f64 * b.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IncidentState, Severity};

    fn signal(service: &str, metric: &str, detail: &str, score: f64) -> Signal {
        Signal {
            id: format!("{service}{metric}"),
            job: "j".to_owned(),
            severity: Severity::Warning,
            cluster: "c".to_owned(),
            service: service.to_owned(),
            instance: format!("{service}-0"),
            metric: metric.to_owned(),
            window_start: 0,
            window_end: 1,
            score,
            observed: 2.0,
            expected: 1.0,
            direction: "up".to_owned(),
            predicted: false,
            detail: detail.to_owned(),
        }
    }

    fn incident(signals: Vec<Signal>) -> Incident {
        Incident {
            id: "i".to_owned(),
            cluster: "c".to_owned(),
            state: IncidentState::Closed,
            severity: Severity::Warning,
            opened_at: 1,
            started_at: 0,
            last_seen_at: 1,
            closed_at: Some(2),
            services: vec!["db".to_owned()],
            signals,
        }
    }

    fn diagnosis() -> Diagnosis {
        let cause = |service: &str| Cause {
            service: service.to_owned(),
            instance: String::new(),
            kind: "load".to_owned(),
            score: 0.5,
            confidence: 0.5,
            evidence_ids: Vec::new(),
            lanes: Vec::new(),
        };
        Diagnosis {
            incident_id: "i".to_owned(),
            diagnosed_at: 1,
            complete_at: 1,
            reporting: Default::default(),
            method: "statistical".to_owned(),
            causes: ["db", "web"].map(cause).to_vec(),
            evidence: Vec::new(),
        }
    }

    #[test]
    fn terms_name_what_moved_where_and_why() {
        let signals = vec![
            signal("db", "latency_p50_ms", "", 9.0),
            signal("db", "latency_p95_ms{route=\"a\"}", "", 8.0),
            signal("db", "zorbs", "", 3.0),
            signal("web", "log:00c0ffee", "lost <*>", 4.0),
            signal("web", "span:GET /", "", 4.0),
        ];
        let terms = of(&incident(signals), &diagnosis());
        let expect = [
            "cause:db",
            "cause:db:load",
            "line:web:lost <*>",
            "log:web:up",
            "metric:latency:up",
            "metric:latency:up@db",
            "metric:zorbs:up",
            "metric:zorbs:up@db",
            "name:latency_p50_ms",
            "name:latency_p95_ms",
            "name:zorbs",
            "service:db",
            "service:web",
            "span:web:GET /:up",
            "suspect:db",
            "suspect:web",
            "template:00c0ffee",
        ];
        assert_eq!(terms, expect);
    }

    #[test]
    fn a_storm_is_bounded_and_keeps_its_strongest() {
        let signals = (0..900).map(|n| signal(&format!("s{n:03}"), "cpu", "", f64::from(n)));
        let terms = of(&incident(signals.collect()), &diagnosis());
        assert_eq!(terms.len(), TERMS_MAX);
        assert!(terms.contains(&"service:s899".to_owned()));
        assert!(!terms.contains(&"service:s000".to_owned()));
    }

    #[test]
    fn likeness_is_one_for_the_same_and_none_for_strangers() {
        let terms = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let a = terms(&["a", "b", "c", "d"]);
        assert_eq!(likeness(&a, &a), 1.0);
        assert_eq!(likeness(&a, &terms(&["a"])), 0.5);
        assert_eq!(likeness(&a, &terms(&["e"])), 0.0);
        assert_eq!(likeness(&a, &[]), 0.0);
    }
}
