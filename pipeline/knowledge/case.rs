//! A closed incident as reusable knowledge.

use std::collections::BTreeSet;

use super::fingerprint;
use super::library::Question;
use crate::model::{Diagnosis, Incident, IncidentState, Nanos, Plan, Signal};

/// Series and log templates that the text of a case names.
const SERIES_MAX: usize = 40;

#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub incident_id: String,
    pub cluster: String,
    pub opened_at: Nanos,
    pub closed_at: Nanos,
    pub title: String,
    /// Services with signals, sorted.
    pub services: Vec<String>,
    /// First ranked cause; empty where nothing stood out.
    pub root_service: String,
    pub root_kind: String,
    /// Exact terms, sorted; see [`fingerprint`].
    pub fingerprint: Vec<String>,
    /// What was proposed or done, one line each.
    pub actions: Vec<String>,
    /// What is searched for words.
    pub text: String,
}

impl Case {
    /// `None` while the incident is open.
    pub fn of(
        incident: &Incident,
        title: &str,
        diagnosis: &Diagnosis,
        plan: &Plan,
    ) -> Option<Self> {
        let closed = incident.state == IncidentState::Closed;
        closed.then(|| Self::so_far(incident, title, diagnosis, plan))
    }

    /// What an incident would be as a case if it were over.
    pub fn so_far(incident: &Incident, title: &str, diagnosis: &Diagnosis, plan: &Plan) -> Self {
        let closed_at = incident.closed_at.unwrap_or(incident.last_seen_at);
        let actions: Vec<String> = plan.steps.iter().map(|s| s.action.to_string()).collect();
        let root = diagnosis.causes.first();
        Self {
            incident_id: incident.id.clone(),
            cluster: incident.cluster.clone(),
            opened_at: archived(incident.opened_at),
            closed_at: archived(closed_at),
            title: title.to_owned(),
            services: incident.services.clone(),
            root_service: root.map(|c| c.service.clone()).unwrap_or_default(),
            root_kind: root.map_or_else(|| "unknown".to_owned(), |c| c.kind.clone()),
            fingerprint: fingerprint::of(incident, diagnosis),
            text: format!(
                "{}\n{}",
                text(incident, title, diagnosis),
                actions.iter().map(|a| format!("action: {a}")).collect::<Vec<_>>().join("\n")
            ),
            actions,
        }
    }
}

/// The archive keeps microseconds, and a case must be the same before and after.
fn archived(ts: Nanos) -> Nanos {
    ts.div_euclid(1_000) * 1_000
}

/// What is searched for an incident: its text and its fingerprint.
pub fn described(incident: &Incident, title: &str, diagnosis: &Diagnosis) -> (String, Vec<String>) {
    (text(incident, title, diagnosis), fingerprint::of(incident, diagnosis))
}

/// Names by which runbooks may know an incident: services, metrics, and the jobs that saw it, as
/// alerts are often called alike.
pub fn names_of(incident: &Incident, fingerprint: &[String]) -> Vec<String> {
    let metrics = fingerprint::metrics(fingerprint).map(str::to_owned);
    let jobs: BTreeSet<&String> = incident.signals.iter().map(|s| &s.job).collect();
    let jobs = jobs.into_iter().cloned();
    incident.services.iter().cloned().chain(metrics).chain(jobs).collect()
}

impl Case {
    /// The question that this case is the answer to, as of when its incident opened.
    pub fn question(&self) -> Question {
        let services = self.services.iter().map(String::as_str);
        let names: Vec<&str> = services.chain(fingerprint::metrics(&self.fingerprint)).collect();
        Question::of_case(&self.text, &self.fingerprint, &names, self.opened_at)
    }
}

/// An incident in words, as its case will have them: title, cause, series and log templates.
fn text(incident: &Incident, title: &str, diagnosis: &Diagnosis) -> String {
    let mut lines = vec![title.to_owned()];
    if let Some(cause) = diagnosis.causes.first() {
        lines.push(format!("cause: {} {}", cause.service, cause.kind));
    }
    let mut signals: Vec<&Signal> = incident.signals.iter().collect();
    signals.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    let mut said = BTreeSet::new();
    for signal in signals {
        let Signal { service, metric, direction, detail, .. } = signal;
        let line = match (metric.split_once(':'), detail.is_empty()) {
            (Some(("log", _)), false) => format!("{service} logs {detail}"),
            (Some(("log", _)), true) => format!("{service} logs {direction}"),
            (Some(("span", operation)), _) => format!("{service} {operation} {direction}"),
            _ => format!("{service} {metric} {direction}"),
        };
        if said.len() < SERIES_MAX && said.insert(line.clone()) {
            lines.push(line);
        }
    }
    lines.join("\n")
}
