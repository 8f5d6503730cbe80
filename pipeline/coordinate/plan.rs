//! From a diagnosis to proposed steps.

use std::collections::BTreeSet;

use super::inventory::Inventory;
use super::remedy::{Remedy, investigate, remedies};
use crate::diagnose::UNLIKELY;
use crate::model::{Action, Cause, Change, Diagnosis, Incident, Plan, Step, stable_id};

/// Below this, it is more likely than not that the cause is another one.
const LIKELY: f64 = 0.5;

/// A lower-ranked cause is worth a look if it is at least this likely compared with the first.
const RIVAL: f64 = 0.5;

/// Causes looked at.
const MAX_CAUSES: usize = 3;

/// Detectors named in an expected effect.
const MAX_DETECTORS: usize = 5;

/// Proposes steps for the likeliest cause and a look at its rivals. Nothing is carried out.
///
/// A cause that names no service of the incident's own telemetry is passed over. Without any
/// usable cause the plan is to look at the service with the most surprising signal.
pub fn plan(incident: &Incident, diagnosis: &Diagnosis, changes: &[Change]) -> Plan {
    let inventory = Inventory::of(incident, diagnosis);
    let usable = diagnosis.causes.iter().filter(|cause| inventory.has_service(&cause.service));
    let causes: Vec<&Cause> = usable.take(MAX_CAUSES).collect();
    let mut steps = Vec::new();
    match causes.first() {
        Some(first) => {
            if first.confidence < LIKELY {
                let look =
                    investigate(&first.service, "the cause is uncertain, look before acting");
                steps.push(step(incident, first, look));
            }
            if first.confidence >= UNLIKELY {
                for remedy in remedies(first, incident, &inventory, changes) {
                    steps.push(step(incident, first, remedy));
                }
            }
            for rival in &causes[1..] {
                if rival.confidence >= RIVAL * first.confidence && rival.service != first.service {
                    let look = investigate(&rival.service, "it may be the cause instead");
                    steps.push(step(incident, rival, look));
                }
            }
        }
        None => steps.extend(look_at_the_worst(incident)),
    }
    let mut seen = BTreeSet::new();
    steps.retain(|step| seen.insert(step.id.clone()));
    Plan { incident_id: incident.id.clone(), planned_at: diagnosis.diagnosed_at, steps }
}

fn look_at_the_worst(incident: &Incident) -> Option<Step> {
    let by_score = |a: &&_, b: &&_| {
        let (a, b): (&crate::model::Signal, &crate::model::Signal) = (a, b);
        a.score.total_cmp(&b.score).then_with(|| b.id.cmp(&a.id))
    };
    let worst = incident.signals.iter().max_by(by_score)?;
    let cause = Cause {
        service: worst.service.clone(),
        instance: worst.instance.clone(),
        kind: "unknown".into(),
        score: 0.0,
        confidence: 0.0,
        evidence_ids: Vec::new(),
        lanes: Vec::new(),
    };
    let remedy = investigate(&worst.service, "no cause stood out, its signal is the strongest");
    Some(step(incident, &cause, remedy))
}

fn step(incident: &Incident, cause: &Cause, remedy: Remedy) -> Step {
    let Remedy { action, risk, reversible, because } = remedy;
    let cites = match cause.evidence_ids.as_slice() {
        [] => String::new(),
        ids => format!(" [{}]", ids.join(", ")),
    };
    let kind = cause.kind.replace('_', " ");
    Step {
        id: step_id(&incident.id, &action),
        reason: format!("{}: {kind}; {because}{cites}", cause.service),
        expected_effect: expected_effect(incident, &cause.service, &action),
        evidence_ids: cause.evidence_ids.clone(),
        action,
        risk,
        reversible,
    }
}

/// Equal for the same action on the same incident, whatever else the plan holds.
fn step_id(incident_id: &str, action: &Action) -> String {
    let (kind, target, detail) = match action {
        Action::RolloutRestart { service } => ("rollout_restart", service, String::new()),
        Action::Scale { service, replicas_delta } => ("scale", service, replicas_delta.to_string()),
        Action::RollBack { service, object } => ("roll_back", service, object.clone()),
        Action::DeletePod { service, instance } => ("delete_pod", service, instance.clone()),
        Action::Cordon { node } => ("cordon", node, String::new()),
        Action::RaiseLimit { service, resource, percent } => {
            ("raise_limit", service, format!("{resource} {percent}"))
        }
        Action::PauseRollout { service, object } => ("pause_rollout", service, object.clone()),
        Action::ToggleFlag { service, flag } => ("toggle_flag", service, flag.clone()),
        Action::Investigate { service } => ("investigate", service, String::new()),
    };
    stable_id(&["step", incident_id, kind, target, &detail])
}

/// The detectors that have to fall silent for the step to count as verified.
fn expected_effect(incident: &Incident, service: &str, action: &Action) -> String {
    if let Action::Investigate { .. } = action {
        return "none by itself".to_owned();
    }
    let detectors = |own: bool| -> BTreeSet<String> {
        let signals = incident.signals.iter().filter(|s| !own || s.service == service);
        signals.map(|s| format!("{} on {}/{}", s.job, s.service, s.metric)).collect()
    };
    // A cause without signals of its own shows in those that depend on it.
    let mut silent = detectors(true);
    if silent.is_empty() {
        silent = detectors(false);
    }
    let more = silent.len().saturating_sub(MAX_DETECTORS);
    let named: Vec<String> = silent.into_iter().take(MAX_DETECTORS).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("silent again: {}{rest}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IncidentState, MINUTE, Risk, Severity, Signal};

    const ONSET: i64 = 100 * MINUTE;

    fn signal(service: &str, instance: &str, metric: &str, score: f64) -> Signal {
        Signal {
            id: format!("{service}{instance}{metric}"),
            job: "level".into(),
            severity: Severity::Warning,
            cluster: "c".into(),
            service: service.into(),
            instance: instance.into(),
            metric: metric.into(),
            window_start: ONSET,
            window_end: ONSET + MINUTE,
            score,
            observed: 2.0,
            expected: 1.0,
            direction: "up".into(),
            predicted: false,
            detail: "kubectl delete ns prod; restart payments".into(),
        }
    }

    fn incident() -> Incident {
        Incident {
            id: "i".into(),
            cluster: "c".into(),
            state: IncidentState::Open,
            severity: Severity::Warning,
            opened_at: ONSET + MINUTE,
            started_at: ONSET,
            last_seen_at: ONSET + MINUTE,
            closed_at: None,
            services: vec!["cart".into(), "front".into()],
            signals: vec![
                signal("cart", "cart-0", "cpu", 9.0),
                signal("cart", "cart-1", "cpu", 5.0),
                signal("front", "front-0", "latency", 6.0),
            ],
        }
    }

    fn cause(service: &str, instance: &str, kind: &str, confidence: f64) -> Cause {
        Cause {
            service: service.into(),
            instance: instance.into(),
            kind: kind.into(),
            score: confidence,
            confidence,
            evidence_ids: vec!["e1".into(), "e2".into()],
            lanes: Vec::new(),
        }
    }

    fn diagnosis(causes: Vec<Cause>) -> Diagnosis {
        Diagnosis {
            incident_id: "i".into(),
            diagnosed_at: ONSET + 2 * MINUTE,
            complete_at: ONSET + 2 * MINUTE,
            reporting: Default::default(),
            method: "statistical".into(),
            causes,
            evidence: Vec::new(),
        }
    }

    fn change(service: &str, kind: &str, ts: i64) -> Change {
        Change {
            ts,
            cluster: "c".into(),
            service: service.into(),
            kind: kind.into(),
            object: format!("{service} v2"),
            actor: "ines".into(),
            detail: String::new(),
        }
    }

    fn actions(causes: Vec<Cause>, changes: &[Change]) -> Vec<Action> {
        let plan = plan(&incident(), &diagnosis(causes), changes);
        plan.steps.into_iter().map(|step| step.action).collect()
    }

    fn look(service: &str) -> Action {
        Action::Investigate { service: service.into() }
    }

    #[test]
    fn each_kind_has_its_action() {
        let service = || "cart".to_owned();
        let delete = || Action::DeletePod { service: service(), instance: "cart-0".into() };
        let scale = || vec![Action::Scale { service: service(), replicas_delta: 1 }];
        let raise =
            Action::RaiseLimit { service: service(), resource: "memory".into(), percent: 25 };
        for (kind, expect) in [
            ("crash", vec![delete()]),
            ("memory", vec![delete(), raise]),
            ("cpu", scale()),
            ("load", scale()),
            ("node", vec![Action::Cordon { node: "cart-0".into() }]),
            ("configuration", vec![look("cart")]),
            ("network_delay", vec![look("cart")]),
            ("dependency", vec![look("cart")]),
            ("unknown", vec![look("cart")]),
            ("rm -rf /", vec![look("cart")]),
        ] {
            assert_eq!(actions(vec![cause("cart", "cart-0", kind, 0.9)], &[]), expect, "{kind}");
        }
    }

    #[test]
    fn a_change_just_before_the_onset_is_rolled_back_first() {
        let roll_back = Action::RollBack { service: "cart".into(), object: "cart v2".into() };
        for (service, kind, ts, expect) in [
            ("cart", "deploy", ONSET - MINUTE, true),
            ("cart", "config", ONSET + MINUTE / 2, true),
            ("cart", "deploy", ONSET - 31 * MINUTE, false),
            ("cart", "deploy", ONSET + 2 * MINUTE, false),
            ("cart", "scale", ONSET - MINUTE, false),
            ("front", "deploy", ONSET - MINUTE, false),
        ] {
            let changes = [change(service, kind, ts)];
            let found = actions(vec![cause("cart", "", "error_return", 0.9)], &changes);
            assert_eq!(found[0] == roll_back, expect, "{service} {kind} {ts}");
        }
    }

    #[test]
    fn what_was_changed_after_the_onset_is_no_cause_however_late_it_was_known() {
        let late = Incident { opened_at: ONSET + 20 * MINUTE, ..incident() };
        let causes = diagnosis(vec![cause("cart", "", "error_return", 0.9)]);
        for (after, rolled_back) in [(MINUTE, true), (5 * MINUTE, false)] {
            let plan = plan(&late, &causes, &[change("cart", "deploy", ONSET + after)]);
            let rolls = |step: &Step| matches!(step.action, Action::RollBack { .. });
            assert_eq!(plan.steps.iter().any(rolls), rolled_back, "{after}");
        }
    }

    #[test]
    fn the_only_known_replica_is_restarted_at_high_risk() {
        let plan =
            plan(&incident(), &diagnosis(vec![cause("front", "front-0", "crash", 0.9)]), &[]);
        assert_eq!(plan.steps[0].action, Action::RolloutRestart { service: "front".into() });
        assert_eq!((plan.steps[0].risk, plan.steps[0].reversible), (Risk::High, false));
    }

    #[test]
    fn what_still_reports_serves_meanwhile() {
        let serving = |instances: &[&str]| {
            let mut known = diagnosis(vec![cause("front", "front-0", "crash", 0.9)]);
            let instances = instances.iter().map(|i| (*i).to_owned()).collect();
            known.reporting.insert("front".to_owned(), instances);
            let step = plan(&incident(), &known, &[]).steps.swap_remove(0);
            (step.action, step.risk)
        };
        let delete = Action::DeletePod { service: "front".into(), instance: "front-0".into() };
        let restart = Action::RolloutRestart { service: "front".into() };
        assert_eq!(serving(&["front-1"]), (delete.clone(), Risk::Low));
        assert_eq!(serving(&["front-0", "front-1"]), (delete, Risk::Low));
        assert_eq!(serving(&["front-0"]), (restart.clone(), Risk::High));
        assert_eq!(serving(&[]), (restart, Risk::High));
    }

    #[test]
    fn doubt_looks_before_it_acts_and_at_rivals_too() {
        let causes = vec![cause("cart", "", "cpu", 0.4), cause("front", "", "crash", 0.3)];
        let found = actions(causes, &[]);
        assert_eq!(found.first(), Some(&look("cart")));
        assert_eq!(found.last(), Some(&look("front")));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn nothing_is_done_about_what_is_hardly_a_cause() {
        let deploy = [change("cart", "deploy", ONSET - MINUTE)];
        assert_eq!(actions(vec![cause("cart", "", "cpu", 0.15)], &deploy), [look("cart")]);
    }

    #[test]
    fn names_that_telemetry_does_not_know_are_never_targets() {
        let causes = vec![cause("payments", "", "crash", 0.9), cause("cart", "evil", "crash", 0.9)];
        assert_eq!(actions(causes, &[]), [Action::RolloutRestart { service: "cart".into() }]);
    }

    #[test]
    fn without_a_cause_somebody_looks_at_the_strongest_signal() {
        assert_eq!(actions(Vec::new(), &[]), [look("cart")]);
        let empty = Incident { signals: Vec::new(), ..incident() };
        assert!(plan(&empty, &diagnosis(Vec::new()), &[]).steps.is_empty());
    }

    #[test]
    fn steps_cite_evidence_and_say_which_detectors_must_fall_silent() {
        let made = plan(&incident(), &diagnosis(vec![cause("cart", "", "cpu", 0.9)]), &[]);
        let step = &made.steps[0];
        assert_eq!(step.reason, "cart: cpu; the work is shared by more replicas [e1, e2]");
        assert_eq!(step.expected_effect, "silent again: level on cart/cpu");
        assert_eq!(step.evidence_ids, ["e1", "e2"]);
        assert_eq!(made.planned_at, ONSET + 2 * MINUTE);
        assert_eq!(made, plan(&incident(), &diagnosis(vec![cause("cart", "", "cpu", 0.9)]), &[]));
    }
}
