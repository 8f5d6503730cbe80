//! One line that names an incident to a person.

use std::collections::{BTreeMap, BTreeSet};

use super::topology::Topology;
use crate::model::{Incident, Signal};

/// Characters of a name that a title shows.
const MAX_NAME: usize = 60;

/// For example `checkout: latency up on 3 instances, 4 more series; also 2 callers, 1 callee`.
///
/// Plain text on one line: control characters of names are replaced and long names cut.
pub fn title(incident: &Incident, main_service: &str, topology: &Topology) -> String {
    let own = |signal: &&Signal| signal.service == main_service;
    let mut subjects: BTreeMap<(&str, &str), Vec<&Signal>> = BTreeMap::new();
    for signal in incident.signals.iter().filter(own) {
        subjects.entry((&signal.metric, &signal.direction)).or_default().push(signal);
    }
    let peak = |signals: &[&Signal]| signals.iter().map(|s| s.score).fold(0.0, f64::max);
    // What users feel says more than what is written about it.
    let felt = |(metric, _): &(&str, &str)| !metric.starts_with("log:");
    let main = subjects.iter().max_by(|a, b| {
        let felt = felt(a.0).cmp(&felt(b.0));
        felt.then(peak(a.1).total_cmp(&peak(b.1))).then(b.0.cmp(a.0))
    });
    let mut text = format!("{}: ", shown(main_service));
    match main {
        Some(((metric, direction), signals)) => text += &subject(metric, direction, signals),
        None => text += "abnormal",
    }
    if subjects.len() > 1 {
        text += &format!(", {} more series", subjects.len() - 1);
    }
    let others = others(incident, main_service, topology);
    if !others.is_empty() {
        text += &format!("; also {}", others.join(", "));
    }
    text
}

fn subject(metric: &str, direction: &str, signals: &[&Signal]) -> String {
    let name = match metric.split_once(':') {
        Some(("log", "errors")) => "errors in logs".to_owned(),
        Some(("log", _)) => "log messages".to_owned(),
        Some(("span", operation)) => shown(operation),
        _ => shown(metric),
    };
    let moved = match direction {
        "up" | "down" => format!("{name} {direction}"),
        _ => format!("{name} abnormal"),
    };
    let instances: BTreeSet<&str> =
        signals.iter().map(|s| s.instance.as_str()).filter(|i| !i.is_empty()).collect();
    match instances.len() {
        0 | 1 => moved,
        n => format!("{moved} on {n} instances"),
    }
}

fn others(incident: &Incident, main_service: &str, topology: &Topology) -> Vec<String> {
    let callers: BTreeSet<&str> = topology.callers(main_service).collect();
    let callees: BTreeSet<&str> = topology.callees(main_service).collect();
    let (mut above, mut below, mut beside) = (0, 0, 0);
    for service in incident.services.iter().filter(|s| *s != main_service) {
        if callers.contains(service.as_str()) {
            above += 1;
        } else if callees.contains(service.as_str()) {
            below += 1;
        } else {
            beside += 1;
        }
    }
    [(above, "caller"), (below, "callee"), (beside, "other service")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, noun)| format!("{n} {noun}{}", if n == 1 { "" } else { "s" }))
        .collect()
}

fn shown(name: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut chars = name.chars().map(clean);
    let mut text: String = chars.by_ref().take(MAX_NAME).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::correlate::samples::signal;
    use super::*;
    use crate::model::{IncidentState, Severity};

    fn incident(signals: Vec<Signal>) -> Incident {
        let services: BTreeSet<String> = signals.iter().map(|s| s.service.clone()).collect();
        Incident {
            id: "i".into(),
            cluster: "c".into(),
            state: IncidentState::Open,
            severity: Severity::Warning,
            opened_at: 0,
            started_at: 0,
            last_seen_at: 0,
            closed_at: None,
            services: services.into_iter().collect(),
            signals,
        }
    }

    #[test]
    fn names_the_strongest_series_and_the_neighbours() {
        let shop = Topology::of_static([("front", "cart"), ("mail", "cart"), ("cart", "db")]);
        let replica = Signal { instance: "cart-1".into(), ..signal("cart", "latency", 1, 8.0) };
        let incident = incident(vec![
            signal("cart", "latency", 1, 9.0),
            replica,
            signal("cart", "cpu", 1, 5.0),
            signal("front", "errors", 1, 5.0),
            signal("mail", "errors", 1, 5.0),
            signal("ads", "errors", 1, 5.0),
        ]);
        assert_eq!(
            title(&incident, "cart", &shop),
            "cart: latency up on 2 instances, 1 more series; also 2 callers, 1 other service"
        );
    }

    #[test]
    fn hostile_names_stay_one_short_line() {
        let name = format!("a\n\u{1b}[31m{}", "x".repeat(500));
        let text =
            title(&incident(vec![signal(&name, &name, 1, 9.0)]), &name, &Topology::default());
        assert!(text.chars().count() < 150 && !text.chars().any(char::is_control), "{text}");
    }
}
