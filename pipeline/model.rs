//! The nouns that agents exchange. Times are event time: UTC nanoseconds since the epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// UTC nanoseconds since the epoch, in event time.
pub type Nanos = i64;

pub const SECOND: Nanos = 1_000_000_000;
pub const MINUTE: Nanos = 60 * SECOND;
pub const HOUR: Nanos = 60 * MINUTE;
pub const DAY: Nanos = 24 * HOUR;

/// How bad a job says its signals are; incidents take the worst of their signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    #[default]
    Warning,
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "info" => Some(Self::Info),
            "warning" => Some(Self::Warning),
            "critical" => Some(Self::Critical),
            _ => None,
        }
    }
}

/// One abnormal window of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Stable: derived from job, job configuration, series and window.
    pub id: String,
    pub job: String,
    pub severity: Severity,
    pub cluster: String,
    pub service: String,
    pub instance: String,
    /// Metric name; `log:<template id>` for logs, `span:<operation>` for spans.
    pub metric: String,
    pub window_start: Nanos,
    /// Exclusive; the signal is known from here on.
    pub window_end: Nanos,
    /// −log10 of the tail probability of the window under the series' own baseline.
    #[serde(deserialize_with = "number")]
    pub score: f64,
    #[serde(deserialize_with = "number")]
    pub observed: f64,
    #[serde(deserialize_with = "number")]
    pub expected: f64,
    /// `up`, `down` or `none`.
    pub direction: String,
    /// True for a forecast: the window is still normal, its continuation is not.
    pub predicted: bool,
    /// What a person should read beside the numbers, such as a log template; may be empty.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    Open,
    Closed,
}

/// Signals that belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Stable: derived from the signal that opened it.
    pub id: String,
    pub cluster: String,
    pub state: IncidentState,
    pub severity: Severity,
    /// When the opening signal became known.
    pub opened_at: Nanos,
    /// Start of the earliest abnormal window.
    pub started_at: Nanos,
    /// End of the latest abnormal window so far.
    pub last_seen_at: Nanos,
    /// Set when it closed; `None` while open.
    pub closed_at: Option<Nanos>,
    /// Services with signals, sorted, without repeats.
    pub services: Vec<String>,
    pub signals: Vec<Signal>,
}

/// A change to the system: deploy, config, scale, node or event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub ts: Nanos,
    pub cluster: String,
    pub service: String,
    pub kind: String,
    pub object: String,
    pub actor: String,
    pub detail: String,
}

/// A citable fact about an incident; `sql` returns it from the archive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub id: String,
    pub incident_id: String,
    /// `metric`, `log`, `span`, `edge`, `change`; `case`, `runbook` for what is known of old.
    pub kind: String,
    pub service: String,
    pub instance: String,
    /// What was looked at: metric name, template, operation, changed object.
    pub subject: String,
    /// One sentence for a person.
    pub statement: String,
    pub from: Nanos,
    pub to: Nanos,
    #[serde(deserialize_with = "number")]
    pub observed: f64,
    #[serde(deserialize_with = "number")]
    pub expected: f64,
    pub sql: String,
}

impl Evidence {
    /// Known of old, a past case or a runbook: not seen in the telemetry of this incident.
    pub fn is_learned(&self) -> bool {
        matches!(self.kind.as_str(), "case" | "runbook")
    }
}

/// One ranked cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    pub service: String,
    pub instance: String,
    /// `cpu`, `memory`, `network_delay`, …, `unknown`.
    pub kind: String,
    /// 0 to 1; comparable within one diagnosis.
    pub score: f64,
    pub confidence: f64,
    pub evidence_ids: Vec<String>,
    /// What the score is made of, the most first.
    pub lanes: Vec<Share>,
}

/// The part of a score that one independent line of evidence gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// `metrics`, `onset`, `graph`, `spans`, `logs` or `changes`.
    pub lane: String,
    pub score: f64,
}

/// Ranked causes of one incident, best first; empty means that nothing stood out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    pub incident_id: String,
    /// Event time up to which telemetry was read.
    pub diagnosed_at: Nanos,
    /// Event time at which the abnormal window is over: a diagnosis made then would know more if
    /// this one was made earlier.
    pub complete_at: Nanos,
    /// `statistical`, or `llm` where a language model ranked again.
    pub method: String,
    pub causes: Vec<Cause>,
    pub evidence: Vec<Evidence>,
    /// Instances of the causes' services that sent samples of metrics in the window.
    #[serde(default)]
    pub reporting: BTreeMap<String, BTreeSet<String>>,
}

/// Score that the best cause stays below at nineteen of twenty moments at which nothing is wrong:
/// measured on generated days (`tests/eval.py --only calm`).
const CALM_SCORE: f64 = 0.11;

impl Diagnosis {
    /// Whether it says no more than one of a calm moment does.
    pub fn is_weak(&self) -> bool {
        self.causes.first().is_none_or(|cause| cause.score < CALM_SCORE)
    }
}

/// How much a plan can hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    Low,
    Medium,
    High,
}

impl Risk {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// The closed set of things that Faultline may ever propose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    RolloutRestart {
        service: String,
    },
    Scale {
        service: String,
        replicas_delta: i32,
    },
    RollBack {
        service: String,
        object: String,
    },
    DeletePod {
        service: String,
        instance: String,
    },
    Cordon {
        node: String,
    },
    RaiseLimit {
        service: String,
        resource: String,
        percent: u32,
    },
    PauseRollout {
        service: String,
        object: String,
    },
    ToggleFlag {
        service: String,
        flag: String,
    },
    /// Nothing in the closed set fits: a person has to look.
    Investigate {
        service: String,
    },
}

/// In words for a person.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RolloutRestart { service } => write!(f, "restart the rollout of {service}"),
            Self::Scale { service, replicas_delta } => {
                write!(f, "scale {service} by {replicas_delta:+}")
            }
            Self::RollBack { service, object } => write!(f, "roll back {object} of {service}"),
            Self::DeletePod { service, instance } => {
                write!(f, "delete pod {instance} of {service}")
            }
            Self::Cordon { node } => write!(f, "cordon {node}"),
            Self::RaiseLimit { service, resource, percent } => {
                write!(f, "raise the {resource} limit of {service} by {percent} %")
            }
            Self::PauseRollout { service, object } => {
                write!(f, "pause the rollout {object} of {service}")
            }
            Self::ToggleFlag { service, flag } => write!(f, "toggle {flag} of {service}"),
            Self::Investigate { service } => write!(f, "look at {service} yourself"),
        }
    }
}

/// One proposed step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub id: String,
    pub action: Action,
    pub risk: Risk,
    pub reversible: bool,
    /// Why this step, citing the evidence.
    pub reason: String,
    pub expected_effect: String,
    pub evidence_ids: Vec<String>,
}

/// Typed actions proposed for a diagnosis. Nothing in it has been carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub incident_id: String,
    pub planned_at: Nanos,
    pub steps: Vec<Step>,
}

/// JSON has no NaN: it is written as null, and read as NaN again.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Stable 16-digit identifier of an ordered list of parts.
///
/// Every part is length-prefixed, so that no two different lists share their bytes.
pub fn stable_id(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().as_str()[..16].to_owned()
}
