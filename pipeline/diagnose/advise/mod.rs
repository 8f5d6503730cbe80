//! The optional language model: it may rank again what statistics have found, and nothing else.
//!
//! Invariants: a model is sent nothing but [`redact::Redacted`] text; what comes back can change
//! the order of causes that were candidates already, between rivals only; every call is bounded in
//! time, tries, tokens and money before it is made; whatever goes wrong, the statistical diagnosis
//! stands; what was recorded is replayed to the same bytes.

mod advisor;
mod answer;
mod breaker;
mod budget;
mod client;
mod completion;
mod conversation;
mod embed;
mod endpoint;
mod fold;
mod forms;
#[cfg(test)]
mod planted;
mod pseudonym;
mod queries;
mod record;
mod redact;
mod secrets;
mod settings;
mod skip;
#[cfg(test)]
mod stub;
mod suspicion;
#[cfg(test)]
mod tests;
mod verdict;
mod vocabulary;

use std::collections::BTreeMap;

pub use advisor::{Advisor, Clock};
pub use client::Guarded;
pub use embed::Embedder;
pub use endpoint::is_forbidden;
pub use record::Mode;
pub use redact::{hide_secrets, without_secrets};
pub use settings::{EmbeddingsConfig, LlmConfig};

use crate::model::{Diagnosis, Nanos};

/// The `method` of a diagnosis that a model has ranked again.
pub const METHOD: &str = "llm";

/// What a model is told about.
#[derive(Clone, Debug)]
pub struct Brief {
    pub diagnosis: Diagnosis,
    /// Known calls: `(caller, callee)`.
    pub calls: Vec<(String, String)>,
    /// Start of the first abnormal window, by service, as far as it is known.
    pub began: BTreeMap<String, Nanos>,
    /// Sections of runbooks that seem to fit. Past cases are evidence of the diagnosis and come
    /// from telemetry: no text of theirs is sent.
    pub passages: Vec<Passage>,
}

/// Prose of the operators.
#[derive(Clone, Debug)]
pub struct Passage {
    /// The fact of the diagnosis that stands for it.
    pub evidence_id: String,
    pub text: String,
}

/// One call, made or not, as the archive keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// From 1 within an incident.
    pub round: u64,
    pub model: String,
    /// Fingerprint of the request.
    pub prompt_hash: String,
    /// What was sent, or would have been, redacted.
    pub prompt: String,
    /// What came back, with names in place of pseudonyms; empty where nothing did.
    pub answer: String,
    /// `accepted`, `unknown`, `asked`, `rejected`, `failed`, or `skipped`: never asked.
    pub verdict: &'static str,
    /// Why.
    pub detail: String,
    pub tokens: u64,
    pub cost_usd: f64,
    pub latency_ms: u64,
    /// Facts of the incident that look as if written for a model.
    pub flagged: u64,
}

/// A diagnosis with the calls that were made about it.
#[derive(Clone, Debug)]
pub struct Refined {
    pub diagnosis: Diagnosis,
    pub calls: Vec<Call>,
}
