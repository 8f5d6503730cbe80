//! Why a model was not asked or not heard, and what a person can do about it.

use super::budget::Limit;
use super::client::{Failure, NoReply};

/// Why there was no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    NotRecorded,
    Budget(Limit),
    /// What was spent cannot be written down.
    NoBook,
    BreakerOpen,
}

impl Skip {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRecorded => "not recorded",
            Self::Budget(Limit::Incident) => "budget of the incident",
            Self::Budget(Limit::Day) => "budget of the day",
            Self::NoBook => "budget cannot be kept",
            Self::BreakerOpen => "breaker open",
        }
    }
}

/// What a person is told, once of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Skipped(Skip),
    Failed(NoReply),
    Rejected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Skipped(Skip),
    Failed(Failure),
    Rejected,
}

impl Notice {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Skipped(why) => Kind::Skipped(*why),
            Self::Failed(why) => Kind::Failed(why.failure),
            Self::Rejected => Kind::Rejected,
        }
    }

    /// What happened.
    pub fn what(&self) -> String {
        match self {
            Self::Skipped(why) => format!("the model was not asked ({})", why.as_str()),
            Self::Failed(why) => format!("the model did not answer ({})", why.text()),
            Self::Rejected => "what the model answered cannot be checked".to_owned(),
        }
    }

    pub fn remedy(&self) -> &'static str {
        match self.kind() {
            Kind::Skipped(Skip::NotRecorded) => {
                "record answers about the same telemetry first, with --llm record"
            }
            Kind::Skipped(Skip::Budget(Limit::Incident)) => {
                "raise calls_per_incident, tokens_per_incident or usd_per_incident of [llm]"
            }
            Kind::Skipped(Skip::Budget(Limit::Day)) => {
                "wait for tomorrow, or raise calls_per_day, tokens_per_day or usd_per_day of [llm]"
            }
            Kind::Skipped(Skip::NoBook) => "make the dir of [llm] writable",
            Kind::Skipped(Skip::BreakerOpen) => {
                "see why calls fail; it is asked again after a minute"
            }
            Kind::Failed(Failure::Timeout) => "raise the deadline of [llm]",
            Kind::Failed(Failure::Unreachable) => "check base_url of [llm] and that it is up",
            Kind::Failed(Failure::CutOff) => "look at its own log, and at proxies on the way",
            Kind::Failed(Failure::RateLimited) => "ask its provider for a higher limit",
            Kind::Failed(Failure::ServerError) => "look at its own log",
            Kind::Failed(Failure::Refused) => {
                "check key, model, json_mode, answer_tokens_field and body of [llm]"
            }
            Kind::Failed(Failure::TooLarge) => "lower answer_tokens of [llm]",
            Kind::Failed(Failure::Malformed) => "check that base_url of [llm] is a chat endpoint",
            Kind::Rejected => "look at llm_calls.detail, or take another model",
        }
    }
}
