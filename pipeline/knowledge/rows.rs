//! Nouns become rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListBuilder, RecordBatch,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::DateTime;

use super::case::Case;
use super::learned;
use crate::diagnose::Slices;
use crate::diagnose::advise::Call;
use crate::error::Result;
use crate::model::{
    Action, Cause, Diagnosis, Evidence, Incident, IncidentState, Nanos, Plan, Signal, Step,
};
use crate::monitor::template::history::Known;
use crate::stream::schema::Stream;

/// Stands in where telemetry names no cluster: partition values must not be empty.
pub const DEFAULT_CLUSTER: &str = "default";

const PROPOSED: &str = "proposed (dry run)";

/// An incident with everything that was found out about it.
#[derive(Clone, Debug)]
pub struct ClosedCase {
    pub incident: Incident,
    pub title: String,
    /// Signals that belong to it, also those that `incident.signals` no longer holds.
    pub signal_count: u64,
    pub diagnosis: Diagnosis,
    /// What a language model was asked about it; empty without one.
    pub calls: Vec<Call>,
    pub plan: Plan,
    pub slices: Slices,
    /// People have seen it before.
    pub shown: bool,
    /// The archive has it as an open incident: only the incident itself has changed since.
    pub retold: bool,
}

impl ClosedCase {
    /// The incident as knowledge; `None` while it is open.
    pub fn known(&self) -> Option<Case> {
        let case = Case::of(&self.incident, &self.title, &self.diagnosis, &self.plan)?;
        Some(Case { cluster: named(&self.incident.cluster).to_owned(), ..case })
    }
}

/// An input row that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRow {
    pub stream: Stream,
    pub file: String,
    /// 1-based; the row number for Parquet.
    pub line: u64,
    pub rows: u64,
    pub reason: String,
    pub detail: String,
    pub text: String,
}

/// Columns of one table by name.
type Columns = Vec<(&'static str, ArrayRef)>;

/// The rows of every table that the case has something for; `incidents` comes last.
pub fn case_rows(closed: &ClosedCase) -> Result<Vec<(&'static str, RecordBatch)>> {
    let place = Place::of(&closed.incident);
    let diagnosis = &closed.diagnosis;
    let incident = ("incidents", place.rows(1, incident_row(closed))?);
    let mut tables = Vec::new();
    if let Some(case) = closed.known() {
        tables.push(("cases", learned::case_rows(std::slice::from_ref(&case))?));
        tables.push(("vectors", learned::case_vector_row(&case)?));
    }
    if closed.retold {
        tables.push(incident);
        return Ok(tables);
    }
    tables.extend([
        ("evidence", place.rows(diagnosis.evidence.len(), evidence(&diagnosis.evidence))?),
        ("diagnoses", place.rows(diagnosis.causes.len(), causes(diagnosis, &closed.calls))?),
        ("llm_calls", place.rows(closed.calls.len(), calls(diagnosis, &closed.calls))?),
        ("actions", place.rows(closed.plan.steps.len(), steps(&closed.plan)?)?),
    ]);
    for stream in Stream::ALL {
        for batch in slices_of(&closed.slices, stream) {
            tables.push((stream.name(), place.rows(batch.num_rows(), slice(batch)?)?));
        }
    }
    tables.retain(|(_, rows)| rows.num_rows() > 0);
    tables.push(incident);
    Ok(tables)
}

fn slices_of(slices: &Slices, stream: Stream) -> &[RecordBatch] {
    match stream {
        Stream::Metrics => &slices.metrics,
        Stream::Logs => &slices.logs,
        Stream::Spans => &slices.spans,
        Stream::Changes => &slices.changes,
    }
}

/// What a language model was asked about a moment that no incident stands for.
pub(super) fn call_rows(
    moment: &Incident,
    diagnosis: &Diagnosis,
    of: &[Call],
) -> Result<RecordBatch> {
    Place::of(moment).rows(of.len(), calls(diagnosis, of))
}

/// Rows of `signals`, each with the incident that it belongs to, if any.
pub(super) fn signal_rows(settled: &[(Signal, Option<String>)]) -> Result<RecordBatch> {
    let all: Vec<Signal> = settled.iter().map(|(s, _)| s.clone()).collect();
    let mut columns: Columns = vec![("cluster", text(settled, |(s, _)| named(&s.cluster)))];
    let incidents: StringArray = settled.iter().map(|(_, i)| i.as_deref()).collect();
    columns.push(("incident_id", Arc::new(incidents)));
    let days: Vec<String> = all.iter().map(|s| day_of(s.window_end)).collect();
    columns.push(("day", Arc::new(StringArray::from(days))));
    columns.extend(signals(&all));
    Ok(RecordBatch::try_from_iter(columns)?)
}

pub(super) fn dead_rows(cluster: &str, dead: &[DeadRow]) -> Result<RecordBatch> {
    let cluster = named(cluster);
    Ok(RecordBatch::try_from_iter([
        ("cluster", text(dead, |_| cluster)),
        ("stream", text(dead, |d| d.stream.name())),
        ("file", text(dead, |d| &d.file)),
        ("line", integer(dead, |d| count(d.line))),
        ("rows", integer(dead, |d| count(d.rows))),
        ("reason", text(dead, |d| &d.reason)),
        ("detail", text(dead, |d| &d.detail)),
        ("text", text(dead, |d| &d.text)),
    ])?)
}

/// Rows of `templates`.
pub(super) fn template_rows(known: &[(&str, &Known)]) -> Result<RecordBatch> {
    let moved = known.iter().map(|(_, k)| k.moved_at.map(micros));
    let moved = TimestampMicrosecondArray::from(moved.collect::<Vec<_>>());
    Ok(RecordBatch::try_from_iter([
        ("cluster", text(known, |(cluster, _)| named(cluster))),
        ("template_id", text(known, |(_, k)| k.id.to_string())),
        ("canonical_id", text(known, |(_, k)| k.canonical.to_string())),
        ("template", text(known, |(_, k)| &*k.template)),
        ("first_seen_at", time(known, |(_, k)| k.first_seen_at)),
        ("moved_at", Arc::new(moved.with_timezone("UTC")) as ArrayRef),
    ])?)
}

/// `YYYY-MM-DD` in UTC.
pub fn day_of(ts: Nanos) -> String {
    DateTime::from_timestamp_nanos(ts).format("%Y-%m-%d").to_string()
}

/// What all rows of a case share: its partition and its id.
struct Place<'a> {
    cluster: &'a str,
    day: String,
    incident_id: &'a str,
}

impl<'a> Place<'a> {
    fn of(incident: &'a Incident) -> Self {
        let cluster = named(&incident.cluster);
        Self { cluster, day: day_of(incident.opened_at), incident_id: &incident.id }
    }

    fn rows<N: Into<String>>(
        &self,
        rows: usize,
        columns: Vec<(N, ArrayRef)>,
    ) -> Result<RecordBatch> {
        let same = |value: &str| Arc::new(StringArray::from(vec![value; rows])) as ArrayRef;
        let [cluster, day, id] = [self.cluster, &self.day, self.incident_id].map(same);
        let own = [("cluster", cluster), ("day", day), ("incident_id", id)];
        let own = own.into_iter().map(|(name, column)| (name.to_owned(), column));
        let columns = columns.into_iter().map(|(name, column)| (name.into(), column));
        Ok(RecordBatch::try_from_iter(own.chain(columns))?)
    }
}

pub(super) fn named(cluster: &str) -> &str {
    if cluster.is_empty() { DEFAULT_CLUSTER } else { cluster }
}

fn incident_row(closed: &ClosedCase) -> Columns {
    let one = [&closed.incident];
    let root = closed.diagnosis.causes.first();
    let state = |i: &&Incident| match i.state {
        IncidentState::Open => "open",
        IncidentState::Closed => "closed",
    };
    let optional = |value: Option<&str>| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let closed_at = TimestampMicrosecondArray::from(vec![one[0].closed_at.map(micros)]);
    vec![
        ("opened_at", time(&one, |i| i.opened_at)),
        ("started_at", time(&one, |i| i.started_at)),
        ("last_seen_at", time(&one, |i| i.last_seen_at)),
        ("closed_at", Arc::new(closed_at.with_timezone("UTC"))),
        ("state", text(&one, state)),
        ("severity", text(&one, |i| i.severity.as_str())),
        ("title", text(&one, |_| &closed.title)),
        ("services", text(&one, |i| i.services.join(";"))),
        ("root_service", optional(root.map(|c| c.service.as_str()))),
        ("root_instance", optional(root.map(|c| c.instance.as_str()))),
        ("root_kind", optional(Some(root.map_or("unknown", |c| c.kind.as_str())))),
        ("root_confidence", Arc::new(Float64Array::from(vec![root.map(|c| c.confidence)]))),
        ("signal_count", integer(&one, |_| count(closed.signal_count))),
    ]
}

fn signals(of: &[Signal]) -> Columns {
    vec![
        ("signal_id", text(of, |s| &s.id)),
        ("job", text(of, |s| &s.job)),
        ("severity", text(of, |s| s.severity.as_str())),
        ("service", text(of, |s| &s.service)),
        ("instance", text(of, |s| &s.instance)),
        ("metric", text(of, |s| &s.metric)),
        ("window_start", time(of, |s| s.window_start)),
        ("window_end", time(of, |s| s.window_end)),
        ("score", float(of, |s| s.score)),
        ("observed", float(of, |s| s.observed)),
        ("expected", float(of, |s| s.expected)),
        ("direction", text(of, |s| &s.direction)),
        ("predicted", boolean(of, |s| s.predicted)),
        ("detail", text(of, |s| &s.detail)),
    ]
}

fn evidence(of: &[Evidence]) -> Columns {
    vec![
        ("evidence_id", text(of, |e| &e.id)),
        ("kind", text(of, |e| &e.kind)),
        ("service", text(of, |e| &e.service)),
        ("instance", text(of, |e| &e.instance)),
        ("subject", text(of, |e| &e.subject)),
        ("statement", text(of, |e| &e.statement)),
        ("from_ts", time(of, |e| e.from)),
        ("to_ts", time(of, |e| e.to)),
        ("observed", float(of, |e| e.observed)),
        ("expected", float(of, |e| e.expected)),
        ("sql", text(of, |e| &e.sql)),
    ]
}

fn causes(diagnosis: &Diagnosis, calls: &[Call]) -> Columns {
    let of: &[Cause] = &diagnosis.causes;
    let told = |c: &Cause| c.lanes.iter().map(|s| format!("{} {:.2}", s.lane, s.score)).collect();
    let lanes: Vec<Vec<String>> = of.iter().map(told).collect();
    let tokens = count(calls.iter().map(|c| c.tokens).sum());
    let cost_usd: f64 = calls.iter().map(|c| c.cost_usd).sum();
    let latency = count(calls.iter().map(|c| c.latency_ms).sum());
    let latency = vec![(!calls.is_empty()).then_some(latency); of.len()];
    vec![
        ("diagnosed_at", time(of, |_| diagnosis.diagnosed_at)),
        ("method", text(of, |_| &diagnosis.method)),
        ("rank", Arc::new(Int64Array::from_iter_values(1..=of.len() as i64))),
        ("service", text(of, |c| &c.service)),
        ("instance", text(of, |c| &c.instance)),
        ("kind", text(of, |c| &c.kind)),
        ("score", float(of, |c| c.score)),
        ("confidence", float(of, |c| c.confidence)),
        ("evidence_ids", texts(of, |c| &c.evidence_ids)),
        ("lanes", texts(&lanes, |l| l)),
        ("tokens", integer(of, |_| tokens)),
        ("cost_usd", float(of, |_| cost_usd)),
        ("latency_ms", Arc::new(Int64Array::from(latency))),
    ]
}

fn calls(diagnosis: &Diagnosis, of: &[Call]) -> Columns {
    vec![
        ("asked_at", time(of, |_| diagnosis.diagnosed_at)),
        ("round", integer(of, |c| count(c.round))),
        ("model", text(of, |c| &c.model)),
        ("verdict", text(of, |c| c.verdict)),
        ("detail", text(of, |c| &c.detail)),
        ("prompt_hash", text(of, |c| &c.prompt_hash)),
        ("prompt", text(of, |c| &c.prompt)),
        ("answer", text(of, |c| &c.answer)),
        ("tokens", integer(of, |c| count(c.tokens))),
        ("cost_usd", float(of, |c| c.cost_usd)),
        ("latency_ms", integer(of, |c| count(c.latency_ms))),
        ("flagged", integer(of, |c| count(c.flagged))),
    ]
}

fn steps(plan: &Plan) -> Result<Columns> {
    let of: &[Step] = &plan.steps;
    let json = of.iter().map(|s| serde_json::to_value(&s.action)).collect::<Result<Vec<_>, _>>();
    let json = json.map_err(|e| ArrowError::JsonError(e.to_string()))?;
    let kind = json.iter().map(|action| action["kind"].as_str().unwrap_or_default());
    Ok(vec![
        ("action_id", text(of, |s| &s.id)),
        ("step", Arc::new(Int64Array::from_iter_values(1..=of.len() as i64))),
        ("planned_at", time(of, |_| plan.planned_at)),
        ("status", text(of, |_| PROPOSED)),
        ("kind", Arc::new(StringArray::from_iter_values(kind))),
        ("target", text(of, |s| target(&s.action))),
        ("risk", text(of, |s| s.risk.as_str())),
        ("reversible", boolean(of, |s| s.reversible)),
        ("reason", text(of, |s| &s.reason)),
        ("expected_effect", text(of, |s| &s.expected_effect)),
        ("evidence_ids", texts(of, |s| &s.evidence_ids)),
        ("action", text(&json, |action| action.to_string())),
    ])
}

fn target(action: &Action) -> &str {
    match action {
        Action::RolloutRestart { service }
        | Action::Scale { service, .. }
        | Action::RollBack { service, .. }
        | Action::DeletePod { service, .. }
        | Action::RaiseLimit { service, .. }
        | Action::PauseRollout { service, .. }
        | Action::ToggleFlag { service, .. }
        | Action::Investigate { service } => service,
        Action::Cordon { node } => node,
    }
}

/// The stream's own columns; times in microseconds. The incident's cluster stands in for theirs.
fn slice(batch: &RecordBatch) -> Result<Vec<(String, ArrayRef)>> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        match field.name().as_str() {
            "cluster" => {}
            "ts" => {
                let naive = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
                // The values are UTC already: only the label is missing.
                let naive = naive.as_primitive::<TimestampMicrosecondType>().clone();
                columns.push(("ts".to_owned(), Arc::new(naive.with_timezone("UTC")) as ArrayRef));
            }
            name => columns.push((name.to_owned(), Arc::clone(column))),
        }
    }
    Ok(columns)
}

pub(super) fn micros(ts: Nanos) -> i64 {
    ts.div_euclid(1_000)
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn text<'a, T, S: AsRef<str>>(of: &'a [T], get: impl Fn(&'a T) -> S) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(of.iter().map(get)))
}

pub(super) fn integer<T>(of: &[T], get: impl Fn(&T) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(of.iter().map(get)))
}

fn float<T>(of: &[T], get: impl Fn(&T) -> f64) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(of.iter().map(get)))
}

fn boolean<T>(of: &[T], get: impl Fn(&T) -> bool) -> ArrayRef {
    Arc::new(of.iter().map(get).map(Some).collect::<BooleanArray>())
}

pub(super) fn time<T>(of: &[T], get: impl Fn(&T) -> Nanos) -> ArrayRef {
    let values = TimestampMicrosecondArray::from_iter_values(of.iter().map(get).map(micros));
    Arc::new(values.with_timezone("UTC"))
}

pub(super) fn texts<'a, T>(of: &'a [T], get: impl Fn(&'a T) -> &'a Vec<String>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for item in of {
        lists.append_value(get(item).iter().map(Some));
    }
    Arc::new(lists.finish())
}
