//! Which action answers which kind of cause.
//!
//! | cause | action |
//! |---|---|
//! | a deploy or a change of configuration of the service just before the onset | roll it back |
//! | crash | delete the pod, or restart the service where no single pod is to blame |
//! | cpu, load | scale out by a quarter, by one replica at least |
//! | memory | the same as for a crash, and raise the limit |
//! | node | cordon it |
//! | anything else | a person has to look |
//!
//! Undoing a change comes first whatever the kind: it is the one action whose effect is known to
//! have been good, because the service ran that way before.

use super::inventory::Inventory;
use crate::diagnose::changes::TOLERANCE_NS;
use crate::model::{Action, Cause, Change, HOUR, Incident, Nanos, Risk};

/// A change explains an onset for this long.
const CHANGE_EFFECT: Nanos = HOUR / 2;

/// One scaling step adds one of this many replicas, and one at least.
const SCALE_SHARE: usize = 4;

/// One step raises a limit by this much.
const LIMIT_PERCENT: u32 = 25;

/// An action with what makes it more or less dangerous.
pub struct Remedy {
    pub action: Action,
    pub risk: Risk,
    pub reversible: bool,
    /// Why this action answers this cause.
    pub because: String,
}

/// The actions for one cause, best first; at least one.
pub fn remedies(
    cause: &Cause,
    incident: &Incident,
    inventory: &Inventory,
    changes: &[Change],
) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    if let Some(change) = change_before(incident, &cause.service, changes) {
        remedies.push(roll_back(change, incident));
    }
    match cause.kind.as_str() {
        "crash" => remedies.push(restart(cause, inventory, "it starts anew")),
        "memory" => {
            remedies.push(restart(cause, inventory, "memory in use is given back now"));
            remedies.push(raise_memory(cause));
        }
        "cpu" => remedies.push(scale(cause, inventory, "the work is shared by more replicas")),
        "load" => remedies.push(scale(cause, inventory, "capacity follows the load")),
        "node" => remedies.extend(cordon(cause, inventory)),
        _ => {}
    }
    if remedies.is_empty() {
        remedies.push(investigate(&cause.service, "no action of the closed set answers this kind"));
    }
    remedies
}

pub fn investigate(service: &str, because: &str) -> Remedy {
    Remedy {
        action: Action::Investigate { service: service.to_owned() },
        risk: Risk::Low,
        reversible: true,
        because: because.to_owned(),
    }
}

/// The last deploy or change of configuration of the service before the incident began. What came
/// later may be someone's answer to it.
fn change_before<'a>(
    incident: &Incident,
    service: &str,
    changes: &'a [Change],
) -> Option<&'a Change> {
    let when = incident.started_at.saturating_sub(CHANGE_EFFECT)
        ..=incident.started_at.saturating_add(TOLERANCE_NS);
    let suspects = changes.iter().filter(|change| {
        change.service == service
            && (change.cluster == incident.cluster || change.cluster.is_empty())
            && matches!(change.kind.as_str(), "deploy" | "config")
            && when.contains(&change.ts)
    });
    suspects.max_by(|a, b| (a.ts, &a.kind, &a.object).cmp(&(b.ts, &b.kind, &b.object)))
}

fn roll_back(change: &Change, incident: &Incident) -> Remedy {
    let seconds = (incident.started_at - change.ts) / crate::model::SECOND;
    let when = match seconds {
        0.. => format!("{seconds} s before the first abnormal window"),
        _ => "in the first abnormal window".to_owned(),
    };
    Remedy {
        action: Action::RollBack { service: change.service.clone(), object: change.object.clone() },
        risk: Risk::Medium,
        reversible: true,
        because: format!("its last {} was made {when}", change.kind),
    }
}

/// Deletes the pod to blame where others remain, and restarts the whole service otherwise.
fn restart(cause: &Cause, inventory: &Inventory, because: &str) -> Remedy {
    let service = cause.service.clone();
    let (action, risk) = match inventory.instance(cause) {
        Some(instance) if inventory.others_serve(cause) => {
            (Action::DeletePod { service, instance: instance.to_owned() }, Risk::Low)
        }
        _ if inventory.instance_count(&service) > 1 => {
            (Action::RolloutRestart { service }, Risk::Medium)
        }
        // As far as is known, nothing would serve meanwhile.
        _ => (Action::RolloutRestart { service }, Risk::High),
    };
    Remedy { action, risk, reversible: false, because: because.to_owned() }
}

fn raise_memory(cause: &Cause) -> Remedy {
    Remedy {
        action: Action::RaiseLimit {
            service: cause.service.clone(),
            resource: "memory".into(),
            percent: LIMIT_PERCENT,
        },
        risk: Risk::Medium,
        reversible: true,
        because: "a restart alone lasts only until memory is full again".into(),
    }
}

fn scale(cause: &Cause, inventory: &Inventory, because: &str) -> Remedy {
    let replicas = inventory.instance_count(&cause.service);
    let more = i32::try_from((replicas / SCALE_SHARE).max(1)).unwrap_or(1);
    Remedy {
        action: Action::Scale { service: cause.service.clone(), replicas_delta: more },
        risk: Risk::Low,
        reversible: true,
        because: because.to_owned(),
    }
}

/// The instance of a cause of kind `node` is the node.
fn cordon(cause: &Cause, inventory: &Inventory) -> Option<Remedy> {
    Some(Remedy {
        action: Action::Cordon { node: inventory.instance(cause)?.to_owned() },
        risk: Risk::Medium,
        reversible: true,
        because: "new pods keep away from it".into(),
    })
}
