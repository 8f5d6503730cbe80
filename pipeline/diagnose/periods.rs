//! Which stretches of event time a diagnosis reads.

use super::Request;
use super::lookback::{EVENTS_NS_MAX, METRICS_NS_MAX};
use super::telemetry::Period;
use crate::model::{HOUR, Nanos};

/// The abnormal window grows where metrics are sampled coarsely, but not beyond this.
const WINDOW_MAX: Nanos = HOUR;

/// History that a caller should slice; what lies beyond is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub metrics: Period,
    /// Also of spans.
    pub logs: Period,
    pub changes: Period,
}

/// How much telemetry to slice for a diagnosis.
///
/// The end is the latest that the window may have; what is not known yet need not be waited for.
pub fn wanted(request: &Request) -> Wanted {
    let Request { at, slack, window, .. } = *request;
    let back = |length| Period {
        from: at.saturating_sub(slack).saturating_sub(length),
        to: at.saturating_add(window.max(WINDOW_MAX)),
    };
    Wanted {
        metrics: back(METRICS_NS_MAX),
        logs: back(EVENTS_NS_MAX),
        changes: back(EVENTS_NS_MAX),
    }
}
