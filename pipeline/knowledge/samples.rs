//! Two made-up incidents for tests.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt32Array,
};

use super::rows::ClosedCase;
use crate::diagnose::Slices;
use crate::diagnose::advise::Call;
use crate::model::{
    Action, Cause, DAY, Diagnosis, Evidence, HOUR, Incident, IncidentState, MINUTE, Nanos, Plan,
    Risk, Severity, Signal, Step,
};
use crate::monitor::template::TemplateId;
use crate::stream::schema::Stream;

/// 2026-03-02T00:00:00Z, a Monday.
pub const START: Nanos = 1_772_409_600_000_000_000;

/// Template ids of the lines of both incidents: of one kind, whose template was merged in between.
pub const TEMPLATES: [TemplateId; 2] = [TemplateId(1), TemplateId(2)];

/// `inc-1` at 01:00, root `cart` by a deploy; `inc-2` a week later, root `cart` again.
pub fn two_cases() -> Vec<ClosedCase> {
    let [early, late] = TEMPLATES;
    vec![case("inc-1", START + HOUR, early), case("inc-2", START + 7 * DAY + HOUR, late)]
}

fn case(id: &str, opened_at: Nanos, template: TemplateId) -> ClosedCase {
    let started_at = opened_at - 2 * MINUTE;
    let signal = |n: i64, job: &str, service: &str| Signal {
        id: format!("{id}-sig-{n}"),
        job: job.into(),
        severity: Severity::Critical,
        cluster: String::new(),
        service: service.into(),
        instance: format!("{service}-0"),
        metric: "latency".into(),
        window_start: started_at + n * MINUTE,
        window_end: started_at + (n + 1) * MINUTE,
        score: 4.5 + n as f64,
        observed: 900.0,
        expected: 100.0,
        direction: "up".into(),
        predicted: false,
        detail: "line one\nline two \u{1b}[31m".into(),
    };
    let signals = vec![
        signal(0, "metric_level", "cart"),
        signal(1, "span_latency", "cart"),
        signal(2, "span_latency", "front"),
    ];
    let evidence = |n: u32, kind: &str, subject: &str| Evidence {
        id: format!("ev-{n}"),
        incident_id: id.into(),
        kind: kind.into(),
        service: "cart".into(),
        instance: "cart-0".into(),
        subject: subject.into(),
        statement: format!("{subject} of cart changed"),
        from: started_at - HOUR,
        to: opened_at,
        observed: 900.0,
        expected: 100.0,
        sql: format!("SELECT * FROM {kind}s WHERE incident_id = '{id}'"),
    };
    let cause = |service: &str, confidence: f64, ids: &[&str]| Cause {
        service: service.into(),
        instance: String::new(),
        kind: "cpu".into(),
        score: confidence,
        confidence,
        evidence_ids: ids.iter().map(|s| (*s).to_owned()).collect(),
        lanes: Vec::new(),
    };
    let step = |n: u32, action: Action, risk: Risk| Step {
        id: format!("{id}-step-{n}"),
        action,
        risk,
        reversible: risk == Risk::Low,
        reason: "because of ev-1".into(),
        expected_effect: "latency falls".into(),
        evidence_ids: vec!["ev-1".into()],
    };
    ClosedCase {
        shown: false,
        retold: false,
        incident: Incident {
            id: id.into(),
            cluster: String::new(),
            state: IncidentState::Closed,
            severity: Severity::Critical,
            opened_at,
            started_at,
            last_seen_at: opened_at + 20 * MINUTE,
            closed_at: Some(opened_at + 30 * MINUTE),
            services: vec!["cart".into(), "front".into()],
            signals,
        },
        title: "cart: latency up".into(),
        signal_count: 3,
        diagnosis: Diagnosis {
            incident_id: id.into(),
            diagnosed_at: opened_at + MINUTE,
            complete_at: opened_at + MINUTE,
            reporting: Default::default(),
            method: "statistical".into(),
            causes: vec![cause("cart", 0.8, &["ev-1", "ev-2"]), cause("front", 0.1, &["ev-1"])],
            evidence: vec![evidence(1, "metric", "latency"), evidence(2, "change", "cart")],
        },
        calls: vec![call("accepted", 900), call("rejected", 100)],
        plan: Plan {
            incident_id: id.into(),
            planned_at: opened_at + MINUTE,
            steps: vec![
                step(1, Action::RolloutRestart { service: "cart".into() }, Risk::Low),
                step(2, Action::Investigate { service: "front".into() }, Risk::Medium),
            ],
        },
        slices: Slices {
            metrics: vec![metrics(started_at)],
            logs: vec![logs(started_at, template)],
            changes: vec![changes(started_at - 10 * MINUTE)],
            ..Slices::default()
        },
    }
}

fn call(verdict: &'static str, tokens: u64) -> Call {
    Call {
        round: if verdict == "rejected" { 1 } else { 2 },
        model: "m".into(),
        prompt_hash: "0a".into(),
        prompt: "{}".into(),
        answer: String::new(),
        verdict,
        detail: String::new(),
        tokens,
        cost_usd: 0.25,
        latency_ms: 40,
        flagged: 0,
    }
}

fn metrics(from: Nanos) -> RecordBatch {
    let mut columns = vec![times(from, 3)];
    columns.extend(["", "cart", "cart-0", "latency", ""].map(|value| interned(value, 3)));
    columns.push(Arc::new(Float64Array::from(vec![1.0, f64::NAN, 3.0])));
    RecordBatch::try_new(Stream::Metrics.schema(), columns).unwrap()
}

fn logs(at: Nanos, template: TemplateId) -> RecordBatch {
    let mut columns = vec![times(at, 1)];
    columns.extend(["", "cart", "cart-0", "ERROR"].map(|value| interned(value, 1)));
    let plain = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let id = template.to_string();
    columns.extend(["lost 3", &id, "lost <*>", "", ""].map(plain));
    RecordBatch::try_new(Stream::Logs.schema(), columns).unwrap()
}

fn changes(at: Nanos) -> RecordBatch {
    let mut columns = vec![times(at, 1)];
    columns.extend(["", "cart", "deploy"].map(|value| interned(value, 1)));
    let plain = |value| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    columns.extend(["cart", "ci", "v2"].map(plain));
    RecordBatch::try_new(Stream::Changes.schema(), columns).unwrap()
}

fn times(from: Nanos, rows: i64) -> ArrayRef {
    let values = (0..rows).map(|n| from + n * MINUTE + 1_234_567);
    Arc::new(TimestampNanosecondArray::from_iter_values(values))
}

fn interned(value: &str, rows: usize) -> ArrayRef {
    let keys = UInt32Array::from(vec![0; rows]);
    let values = Arc::new(StringArray::from(vec![value]));
    Arc::new(DictionaryArray::try_new(keys, values).unwrap())
}
