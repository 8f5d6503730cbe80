//! What the ranking looks at: the telemetry around one incident, already cut to two periods.

/// Half-open stretch of event time, nanoseconds UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from: i64,
    pub to: i64,
}

impl Period {
    pub fn contains(self, ts: i64) -> bool {
        self.from <= ts && ts < self.to
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
