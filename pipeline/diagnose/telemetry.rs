//! What the ranking looks at: the telemetry around one incident, already cut to two periods.

use serde::{Deserialize, Serialize};

/// Half-open stretch of event time, nanoseconds UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    pub from: i64,
    pub to: i64,
}

impl Period {
    pub fn contains(self, ts: i64) -> bool {
        self.from <= ts && ts < self.to
    }
}

/// Stretches of event time that count as usual, in order and apart; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control(Vec<Period>);

impl From<Period> for Control {
    fn from(period: Period) -> Self {
        Self(vec![period])
    }
}

impl Control {
    /// The last `length` before `to` that lies in no `incident`, as far as there is so much after
    /// `from`; `None` where nothing is left.
    pub fn before(to: i64, length: i64, from: i64, incidents: &[Period]) -> Option<Self> {
        let mut incidents: Vec<Period> = incidents.to_vec();
        incidents.sort_unstable_by_key(|p| (p.to, p.from));
        let (mut end, mut left, mut found) = (to, length, Vec::new());
        let mut take = |begin: i64, end: i64| {
            let begin = begin.max(from).max(end.saturating_sub(left));
            if begin < end {
                left -= end - begin;
                found.push(Period { from: begin, to: end });
            }
        };
        for incident in incidents.iter().rev().filter(|p| p.from < p.to) {
            take(incident.to, end);
            end = end.min(incident.from);
        }
        take(from, end);
        found.reverse();
        (!found.is_empty()).then_some(Self(found))
    }

    pub fn contains(&self, ts: i64) -> bool {
        self.0.iter().any(|period| period.contains(ts))
    }

    /// Where the first stretch begins.
    pub fn from(&self) -> i64 {
        self.0.first().map_or(i64::MAX, |period| period.from)
    }

    pub fn periods(&self) -> &[Period] {
        &self.0
    }
}

/// Everything known about an incident. Empty parts are allowed: their lanes are left out.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// What is usual. Ends where `window` begins, or earlier.
    pub baseline: Period,
    /// What is abnormal.
    pub window: Period,
    pub series: Vec<Series>,
    pub templates: Vec<TemplateCounts>,
    pub spans: SpanStats,
    /// `(caller, callee)`, in addition to the calls seen in spans and metric names.
    pub edges: Vec<(String, String)>,
    pub changes: Vec<Change>,
}

/// One metric of one instance over baseline and window, sorted by time, finite values only.
#[derive(Clone, Debug)]
pub struct Series {
    pub service: String,
    pub instance: String,
    pub metric: String,
    /// Further labels, as the source gave them.
    pub labels: String,
    /// A counter, of which the points are per second.
    pub is_rate: bool,
    /// Score of the strongest signal that a detector made of it, where that is to count; else 0.
    pub told: f64,
    pub points: Vec<(i64, f64)>,
}

/// How often one log template of one instance was seen.
#[derive(Clone, Debug)]
pub struct TemplateCounts {
    pub service: String,
    pub instance: String,
    pub template_id: u64,
    pub template: String,
    /// As logged; read without regard to case. May be empty.
    pub severity: String,
    /// Who owns the top frame of the template's stack trace, where it has one.
    pub owner: Option<String>,
    pub baseline: u64,
    pub window: u64,
    /// First time the template was ever seen, nanoseconds.
    pub first_seen: i64,
}

/// A deploy, configuration, scale, node or other event on a service.
#[derive(Clone, Debug)]
pub struct Change {
    pub ts: i64,
    pub service: String,
    pub kind: String,
    pub object: String,
    pub detail: String,
}

/// Aggregates of the spans of both periods; made by `traces::summarise`.
#[derive(Clone, Debug, Default)]
pub struct SpanStats {
    /// Traces that began in each period.
    pub traces: Counts,
    pub operations: Vec<OperationStats>,
    pub calls: Vec<CallStats>,
}

/// A number per period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub baseline: u64,
    pub window: u64,
}

/// One operation of one instance.
#[derive(Clone, Debug)]
pub struct OperationStats {
    pub service: String,
    pub instance: String,
    pub operation: String,
    pub baseline: SpanAggregate,
    pub window: SpanAggregate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpanAggregate {
    pub count: u64,
    /// Spans with error status below which no span failed: where the error began.
    pub origins: u64,
    /// Duration not covered by child spans.
    pub self_us: Quantiles,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    pub p25: f64,
    pub p50: f64,
    pub p75: f64,
    pub mean: f64,
}

/// Child spans of one operation below spans of another; services may be equal.
#[derive(Clone, Debug)]
pub struct CallStats {
    pub caller: String,
    /// The operation by which the request entered the caller: the same code below another one is
    /// another case.
    pub caller_entry: String,
    pub caller_operation: String,
    pub callee: String,
    pub callee_operation: String,
    /// Traces with the caller's operation, with or without this child.
    pub parents: Counts,
    /// Of those, the ones with at least one such child.
    pub with_child: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(length: i64, incidents: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let incidents: Vec<Period> =
            incidents.iter().map(|(from, to)| Period { from: *from, to: *to }).collect();
        let found = Control::before(100, length, 40, &incidents);
        found.iter().flat_map(|c| &c.0).map(|p| (p.from, p.to)).collect()
    }

    #[test]
    fn a_control_steps_over_incidents() {
        assert_eq!(before(10, &[]), [(90, 100)]);
        assert_eq!(before(10, &[(80, 96)]), [(74, 80), (96, 100)]);
        assert_eq!(before(10, &[(80, 100)]), [(70, 80)]);
        assert_eq!(before(10, &[(85, 90), (80, 96), (60, 70)]), [(74, 80), (96, 100)]);
        assert_eq!(before(30, &[(50, 96)]), [(40, 50), (96, 100)], "not beyond the oldest");
        assert_eq!(before(10, &[(0, 100)]), []);
        assert_eq!(before(10, &[(95, 95)]), [(90, 100)]);
    }
}
