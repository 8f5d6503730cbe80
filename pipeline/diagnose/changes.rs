//! The change lane: what was deployed, configured or scaled just before the onset.

use std::collections::BTreeMap;

use super::evidence::{Evidence, Finding, Lane};
use super::telemetry::Change;

/// A change loses half its weight every ten minutes before the onset.
const HALF_LIFE_NS: f64 = 600e9;
/// An onset is not dated better than this: a change may seem to come shortly after it.
const TOLERANCE_NS: i64 = 60_000_000_000;

/// Per service 0..=1 and the findings; `None` where no change is known.
pub fn read(
    changes: &[Change],
    services: &BTreeMap<&str, usize>,
    onset: i64,
) -> Option<(Vec<f64>, Vec<Finding>)> {
    if changes.is_empty() {
        return None;
    }
    let mut scores = vec![0.0; services.len()];
    let mut findings = Vec::new();
    for c in changes {
        let Some(&v) = services.get(c.service.as_str()) else { continue };
        if c.ts > onset + TOLERANCE_NS {
            continue;
        }
        let age = (onset - c.ts).max(0) as f64;
        let strength = kind_weight(&c.kind) * 0.5f64.powf(age / HALF_LIFE_NS);
        scores[v] = f64::max(scores[v], strength);
        findings.push(Finding {
            service: v,
            lane: Lane::Changes,
            strength,
            evidence: Evidence::Change {
                ts: c.ts,
                service: c.service.clone(),
                kind: c.kind.clone(),
                object: c.object.clone(),
                detail: c.detail.clone(),
            },
        });
    }
    Some((scores, findings))
}

/// What people do changes a service; events report what has changed.
fn kind_weight(kind: &str) -> f64 {
    match kind {
        "deploy" | "config" => 1.0,
        "scale" | "node" => 0.7,
        _ => 0.4,
    }
}
