//! The change lane: what was deployed, configured or scaled just before the onset.

use std::collections::BTreeMap;

use super::evidence::{Evidence, Finding, Lane};
use super::telemetry::Change;

/// A change loses half its weight every ten minutes before the onset.
const HALF_LIFE_NS: f64 = 600e9;
/// An onset is not dated better than this: a change may seem to come shortly after it.
pub const TOLERANCE_NS: i64 = 60_000_000_000;

/// Per service 0..=1 and the findings; `None` where no change is known.
///
/// A change counts if it came before its own service turned abnormal, by `onsets`, or before the
/// window `from` for one that did not: what another service showed earlier may be chance, or have
/// another cause. What came later is an answer to the incident.
pub fn read(
    changes: &[Change],
    services: &BTreeMap<&str, usize>,
    onsets: &[Option<i64>],
    from: i64,
) -> Option<(Vec<f64>, Vec<Finding>)> {
    if changes.is_empty() {
        return None;
    }
    let mut scores = vec![0.0; services.len()];
    let mut findings = Vec::new();
    for c in changes {
        let Some(&v) = services.get(c.service.as_str()) else { continue };
        let onset = onsets[v].map_or(from, |own| own.max(from));
        if c.ts > onset + TOLERANCE_NS {
            continue;
        }
        let until = if c.ts <= from { from } else { onset };
        let lead = (until - c.ts).max(0);
        let strength = kind_weight(&c.kind) * 0.5f64.powf(lead as f64 / HALF_LIFE_NS);
        scores[v] = f64::max(scores[v], strength);
        findings.push(Finding {
            service: v,
            lane: Lane::Changes,
            strength,
            evidence: Evidence::Change {
                ts: c.ts,
                lead,
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

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    /// Leads, in minutes, of changes of service `a` at these minutes that count; the window begins
    /// at minute 100.
    fn leads(onset: Option<i64>, minutes: &[i64]) -> Vec<i64> {
        let change = |minute: &i64| Change {
            ts: minute * MINUTE,
            service: "a".to_owned(),
            kind: "config".to_owned(),
            object: "a".to_owned(),
            detail: String::new(),
        };
        let changes: Vec<Change> = minutes.iter().map(change).collect();
        let onsets = [onset.map(|minute| minute * MINUTE), Some(90 * MINUTE)];
        let services = BTreeMap::from([("a", 0), ("b", 1)]);
        let (_, findings) = read(&changes, &services, &onsets, 100 * MINUTE).unwrap();
        let lead = |finding: &Finding| match &finding.evidence {
            Evidence::Change { lead, .. } => lead / MINUTE,
            other => panic!("{other:?}"),
        };
        findings.iter().map(lead).collect()
    }

    #[test]
    fn a_change_counts_until_its_own_service_turns_abnormal() {
        // That `b` was abnormal ten minutes before is no matter of `a`.
        assert_eq!(leads(Some(104), &[40, 98, 102, 105, 106]), [60, 2, 2, 0]);
        assert_eq!(leads(None, &[98, 101, 102]), [2, 0]);
    }
}
