//! Signals for tests.

use crate::model::{MINUTE, Severity, Signal, stable_id};

/// A one-minute window that ends at `minute`.
pub fn signal(service: &str, metric: &str, minute: i64, score: f64) -> Signal {
    Signal {
        id: stable_id(&[service, metric, &minute.to_string()]),
        job: "level".into(),
        severity: Severity::Warning,
        cluster: "c".into(),
        service: service.into(),
        instance: format!("{service}-0"),
        metric: metric.into(),
        window_start: (minute - 1) * MINUTE,
        window_end: minute * MINUTE,
        score,
        observed: 2.0,
        expected: 1.0,
        direction: "up".into(),
        predicted: false,
        detail: String::new(),
    }
}
