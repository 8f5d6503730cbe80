use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt32Array,
};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::DataType;
use datafusion::sql::parser::DFParser;

use super::*;
use crate::model::{Evidence, HOUR, MINUTE, Nanos, SECOND};
use crate::stream::schema::Stream;

const AT: Nanos = 1_780_000_000 * SECOND;
const HOSTILE: &str = "slow read '; DROP TABLE logs; --\u{1b}[31m";

/// A batch of a stream from its columns in order; text is interned where the stream interns it.
fn batch(stream: Stream, columns: Vec<ArrayRef>) -> RecordBatch {
    let schema = stream.schema();
    let cast_all = columns.iter().zip(schema.fields()).map(|(c, f)| cast(c, f.data_type()));
    RecordBatch::try_new(Arc::clone(&schema), cast_all.collect::<Result<_, _>>().unwrap()).unwrap()
}

fn times<R>(rows: &[R], ts: impl Fn(&R) -> Nanos) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(ts)))
}

fn texts<R>(rows: &[R], text: impl Fn(&R) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(text)))
}

/// (time, service, metric, value)
fn metrics(rows: &[(Nanos, &str, &str, f64)]) -> RecordBatch {
    let columns = vec![
        times(rows, |r| r.0),
        texts(rows, |_| "c".into()),
        texts(rows, |r| r.1.into()),
        texts(rows, |r| format!("{}-0", r.1)),
        texts(rows, |r| r.2.into()),
        texts(rows, |_| String::new()),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.3))),
    ];
    batch(Stream::Metrics, columns)
}

/// (time, service, severity, template id, text)
/// What is captured of log lines alone.
fn captured(lines: &[(Nanos, &str, &str, &str, &str)]) -> capture::Captured {
    let slices = Slices { logs: vec![logs(lines)], ..Slices::default() };
    capture::capture(&request(), &slices).unwrap()
}

fn logs(rows: &[(Nanos, &str, &str, &str, &str)]) -> RecordBatch {
    let columns = vec![
        times(rows, |r| r.0),
        texts(rows, |_| "c".into()),
        texts(rows, |r| r.1.into()),
        texts(rows, |r| format!("{}-0", r.1)),
        texts(rows, |r| r.2.into()),
        texts(rows, |r| r.4.into()),
        texts(rows, |r| r.3.into()),
        texts(rows, |r| r.4.into()),
        texts(rows, |_| String::new()),
        texts(rows, |_| String::new()),
    ];
    batch(Stream::Logs, columns)
}

/// (time, service, operation, trace, span, parent, microseconds)
fn spans(rows: &[(Nanos, &str, &str, String, &str, &str, i64)]) -> RecordBatch {
    let columns = vec![
        times(rows, |r| r.0),
        texts(rows, |_| "c".into()),
        texts(rows, |r| r.1.into()),
        texts(rows, |r| format!("{}-0", r.1)),
        texts(rows, |r| r.2.into()),
        texts(rows, |_| "ok".into()),
        texts(rows, |r| r.3.clone()),
        texts(rows, |r| r.4.into()),
        texts(rows, |r| r.5.into()),
        texts(rows, |_| String::new()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.6))),
    ];
    batch(Stream::Spans, columns)
}

fn changes(rows: &[(Nanos, &str, &str, &str)]) -> RecordBatch {
    let columns = vec![
        times(rows, |r| r.0),
        texts(rows, |_| "c".into()),
        texts(rows, |r| r.1.into()),
        texts(rows, |r| r.2.into()),
        texts(rows, |r| r.3.into()),
        texts(rows, |_| "ci".into()),
        texts(rows, |_| "it's new".into()),
    ];
    batch(Stream::Changes, columns)
}

/// web -> api -> db and web -> cache; from `AT` on the database is slow and busy, and complains.
fn outage() -> Slices {
    let (mut samples, mut lines, mut traces) = (Vec::new(), Vec::new(), Vec::new());
    for minute in -90..10 {
        let ts = AT + minute * MINUTE;
        let noise = 1.0 + (minute * 7919).rem_euclid(11) as f64 / 200.0;
        let slow = if minute < 0 { 0.0 } else { 500.0 };
        for (service, usual) in [("web", 80.0), ("api", 50.0), ("db", 5.0)] {
            samples.push((ts, service, "latency_p50", (usual + slow) * noise));
            lines.push((ts, service, "INFO", "00000000000000aa", "served <*>"));
        }
        samples.push((ts, "cache", "latency_p50", noise));
        samples.push((ts, "db", "cpu_usage", if minute < 0 { 10.0 } else { 95.0 } * noise));
        for i in 0..20 {
            let (at, trace) = (ts + i * SECOND, format!("{minute}/{i}"));
            let own = 5_000 + 100 * ((i * 3 + minute).rem_euclid(7)) + slow as i64 * 1_000;
            traces.push((at, "web", "GET /", trace.clone(), "1", "", own + 75_000));
            traces.push((at, "api", "get", trace.clone(), "2", "1", own + 45_000));
            traces.push((at, "db", "select 'x'", trace, "3", "2", own));
            if minute >= 0 {
                lines.push((at, "db", "WARN", "", HOSTILE));
            }
        }
    }
    Slices {
        metrics: vec![metrics(&samples)],
        logs: vec![logs(&lines)],
        spans: vec![spans(&traces)],
        changes: vec![changes(&[(AT - MINUTE + 1, "db", "deploy", "db:v2")])],
    }
}

fn request() -> Request {
    Request {
        incident_id: "in'cident".to_owned(),
        cluster: "c".to_owned(),
        at: AT,
        slack: 0,
        window: lookback::WINDOW_NS,
        until: AT + 10 * MINUTE,
        incidents: Vec::new(),
        signals: Vec::new(),
        edges: [("web", "api"), ("api", "db"), ("web", "cache")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .to_vec(),
    }
}

/// The same rows in another order and other batches.
fn shuffled(batches: &[RecordBatch]) -> Vec<RecordBatch> {
    let all = concat_batches(&batches[0].schema(), batches).unwrap();
    let n = all.num_rows() as u32;
    let step = (n / 2..)
        .find(|s| (2..=*s).all(|d| !n.is_multiple_of(d) || !s.is_multiple_of(d)))
        .unwrap_or(1);
    let order: UInt32Array =
        (0..n).map(|i| ((u64::from(i) * u64::from(step) + 5) % u64::from(n)) as u32).collect();
    let mixed = take_record_batch(&all, &order).unwrap();
    let cut = n as usize / 3;
    vec![mixed.slice(cut, n as usize - cut), mixed.slice(0, cut)]
}

fn all_shuffled(s: &Slices) -> Slices {
    Slices {
        metrics: shuffled(&s.metrics),
        logs: shuffled(&s.logs),
        spans: shuffled(&s.spans),
        changes: shuffled(&s.changes),
    }
}

fn cited<'a>(diagnosis: &'a Diagnosis, kind: &str) -> Vec<&'a Evidence> {
    let first = &diagnosis.causes[0].evidence_ids;
    diagnosis.evidence.iter().filter(|e| e.kind == kind && first.contains(&e.id)).collect()
}

#[test]
fn the_planted_fault_is_found_and_cited() {
    let diagnosis = diagnose(&request(), &outage()).unwrap();
    let cause = &diagnosis.causes[0];
    assert_eq!((cause.service.as_str(), cause.kind.as_str()), ("db", "cpu"), "{diagnosis:#?}");
    assert_eq!((diagnosis.diagnosed_at, diagnosis.method.as_str()), (request().until, METHOD));
    for kind in ["metric", "log", "change", "edge", "span"] {
        assert!(!cited(&diagnosis, kind).is_empty(), "no {kind}: {diagnosis:#?}");
    }
    for c in &diagnosis.causes {
        assert!((0.0..=1.0).contains(&c.score) && (0.0..=1.0).contains(&c.confidence));
        assert!(c.evidence_ids.iter().all(|id| diagnosis.evidence.iter().any(|e| &e.id == id)));
    }
    assert!(diagnosis.causes.is_sorted_by(|a, b| a.confidence >= b.confidence));
}

/// What was short is over when the first window that a detector is sure of begins.
#[test]
fn what_began_before_it_was_seen_is_found() {
    let mut lines = Vec::new();
    for second in -1800..300 {
        let ts = AT + second * SECOND;
        lines.push((ts, "web", "INFO", "01", "served <*>"));
        lines.push((ts, "db", "INFO", "02", "read <*>"));
        if (-100..-70).contains(&second) {
            lines.push((ts, "db", "ERROR", "03", "java.io.IOException: disk full"));
        }
    }
    let slices = Slices { logs: vec![logs(&lines)], ..Slices::default() };
    let late = diagnose(&request(), &slices).unwrap();
    assert!(cited_of(&late, "java.io.IOException").is_none(), "{late:#?}");
    let request = Request { slack: 3 * MINUTE, ..request() };
    let diagnosis = diagnose(&request, &slices).unwrap();
    assert_eq!(diagnosis.causes[0].service, "db");
    let burst = cited_of(&diagnosis, "java.io.IOException").unwrap();
    assert_eq!((burst.observed, burst.expected), (30.0, 0.0), "the whole burst: {burst:?}");
}

/// A disk that fills a percent a minute says little in five minutes, and more to a detector.
#[test]
fn where_nothing_stands_out_the_word_of_the_detectors_counts() {
    let mut samples = Vec::new();
    for minute in -90..10 {
        let ts = AT + minute * MINUTE;
        for (i, service) in ["web", "api", "cache", "db"].into_iter().enumerate() {
            let noise = ((minute + i as i64 * 31) * 7919).rem_euclid(97) as f64 / 97.0;
            let bump = if service == "api" && minute >= 0 { 1.06 } else { 1.0 };
            samples.push((ts, service, "cpu_usage", (30.0 + noise) * bump));
        }
        let free = 1000.0 - 8.0 * minute.max(0) as f64 + (minute * 31).rem_euclid(7) as f64 / 10.0;
        samples.push((ts, "db", "disk_free_bytes", free));
    }
    let slices = Slices { metrics: vec![metrics(&samples)], ..Slices::default() };
    let told = Signal { service: "db".into(), instance: "db-0".into(), ..signal(AT + 2 * MINUTE) };
    let request = |signals| Request { signals, ..request() };
    let first = |signals| diagnose(&request(signals), &slices).unwrap().causes.remove(0);
    assert_ne!(first(Vec::new()).service, "db");
    let cause = first(vec![told.clone()]);
    assert_eq!((cause.service.as_str(), cause.kind.as_str()), ("db", "disk"));
    let predicted = Signal { predicted: true, ..told.clone() };
    assert_eq!(first(vec![predicted.clone()]).service, "db", "nothing else was told");
    let come = Signal { service: "api".into(), instance: "api-0".into(), ..told };
    assert_ne!(first(vec![predicted, come]).service, "db", "it has not come yet");
}

fn signal(at: Nanos) -> Signal {
    Signal {
        id: "s".into(),
        job: "metric_level".into(),
        severity: crate::model::Severity::Warning,
        cluster: "c".into(),
        service: String::new(),
        instance: String::new(),
        metric: "disk_free_bytes".into(),
        window_start: at,
        window_end: at + MINUTE,
        score: 8.0,
        observed: 984.0,
        expected: 1000.0,
        direction: "down".into(),
        predicted: false,
        detail: String::new(),
    }
}

/// Evidence of what rose from nothing.
fn cited_of<'a>(diagnosis: &'a Diagnosis, subject: &str) -> Option<&'a Evidence> {
    diagnosis.evidence.iter().find(|e| e.subject.contains(subject) && e.expected == 0.0)
}

/// From `AT` on other articles are asked for, and one of two answers is no longer given.
#[test]
fn lines_that_differ_in_values_are_counted_and_cited_together() {
    let mut lines = Vec::new();
    for second in -600..300 {
        let (ts, before) = (AT + second * SECOND, second < 0);
        let (id, asked) =
            if before { ("0b", "look up sku=red") } else { ("0a", "look up sku=blue") };
        lines.push((ts, "shop", "INFO", id, asked));
        if before || second % 2 == 0 {
            lines.push((ts, "shop", "INFO", "0c", "found in=shelf"));
        }
    }
    let captured = captured(&lines);
    let counts = captured
        .telemetry
        .templates
        .iter()
        .map(|t| (t.template_id, t.template.as_str(), t.baseline, t.window));
    let expected = [(0x0a, "look up sku=<*>", 600, 300), (0x0c, "found in=shelf", 600, 150)];
    assert_eq!(counts.collect::<Vec<_>>(), expected);
    let scope = sql::Scope { incident_id: "i", cluster: "c", period: captured.telemetry.window };
    let query = scope.lines("shop", &captured.templates[&("shop".to_owned(), 0x0a)]);
    assert!(query.contains("AND template_id IN ('0a', '0b') ORDER"), "{query}");
}

#[test]
fn lines_of_other_severities_or_services_are_worded_for_themselves() {
    let mut lines = Vec::new();
    for second in -600..300 {
        let ts = AT + second * SECOND;
        let (id, body) =
            [("0a", "look up sku=red"), ("0b", "look up sku=blue")][second.rem_euclid(2) as usize];
        lines.push((ts, "shop", "INFO", id, body));
        lines.push((ts, "desk", if id == "0a" { "INFO" } else { "ERROR" }, id, body));
        let (id, body) = [("0c", "look up sku=green"), ("0d", "look up sku=grey")]
            [second.rem_euclid(2) as usize];
        lines.push((ts, "shop", "ERROR", id, body));
    }
    let captured = captured(&lines);
    let counts = captured
        .telemetry
        .templates
        .iter()
        .map(|t| (t.service.as_str(), t.template_id, t.severity.as_str(), t.window));
    let expected = [
        ("desk", 0x0a, "INFO", 150),
        ("desk", 0x0b, "ERROR", 150),
        ("shop", 0x0a, "INFO", 300),
        ("shop", 0x0c, "ERROR", 300),
    ];
    assert_eq!(counts.collect::<Vec<_>>(), expected);
    let scope = sql::Scope { incident_id: "i", cluster: "c", period: captured.telemetry.window };
    let query = scope.lines("desk", &captured.templates[&("desk".to_owned(), 0x0a)]);
    assert!(query.contains("AND template_id = '0a' ORDER"), "{query}");
}

#[test]
fn order_of_rows_and_batches_does_not_matter() {
    let slices = outage();
    let (a, b) = (diagnose(&request(), &slices).unwrap(), all_shuffled(&slices));
    assert_eq!(a, diagnose(&request(), &b).unwrap());
    let caps = Caps { metrics: 50, logs: 40, spans: 30, changes: 1 };
    let pin = |s: &Slices| pinned(&request(), &a, &["web".to_owned()], s, caps).unwrap();
    let (x, y) = (pin(&slices), pin(&b));
    assert_eq!((&x.metrics, &x.logs, &x.spans), (&y.metrics, &y.logs, &y.spans));
    assert_eq!(x.metrics[0].num_rows(), 50);
}

#[test]
fn plain_text_reads_like_interned() {
    let mut slices = outage();
    let interned = diagnose(&request(), &slices).unwrap();
    let all = [&mut slices.metrics, &mut slices.logs, &mut slices.spans, &mut slices.changes];
    for batch in all.into_iter().flatten() {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).map(|(f, c)| {
            let text = matches!(f.data_type(), DataType::Dictionary(..));
            let column = if text { cast(c, &DataType::Utf8).unwrap() } else { Arc::clone(c) };
            (f.name().clone(), column)
        });
        *batch = RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).unwrap();
    }
    assert_eq!(interned, diagnose(&request(), &slices).unwrap());
}

#[test]
fn every_query_is_one_safe_statement() {
    let diagnosis = diagnose(&request(), &outage()).unwrap();
    for e in &diagnosis.evidence {
        let statements = DFParser::parse_sql(&e.sql).unwrap_or_else(|x| panic!("{}: {x}", e.sql));
        assert_eq!(statements.len(), 1, "{}", e.sql);
        assert!(e.sql.contains("incident_id = 'in''cident'"), "{}", e.sql);
        let printed = [&e.sql, &e.statement, &e.subject];
        assert!(printed.iter().all(|text| !text.chars().any(char::is_control)), "{e:?}");
    }
    let log = cited(&diagnosis, "log")[0];
    assert!(log.sql.contains("template = ('slow read ''; DROP TABLE"), "{}", log.sql);
    assert!(log.sql.contains("--' || chr(27) || '[31m')"), "{}", log.sql);
}

#[test]
fn nothing_after_until_or_of_another_cluster_is_read() {
    let early = Request { until: AT, ..request() };
    assert!(diagnose(&early, &outage()).unwrap().causes.is_empty());
    let other = Request { cluster: "d".to_owned(), ..request() };
    assert!(diagnose(&other, &outage()).unwrap().causes.is_empty());
    assert!(diagnose(&request(), &Slices::default()).unwrap().causes.is_empty());
    let mut slices = outage();
    let all = slices.metrics[0].clone();
    let half = Request { until: AT + 3 * MINUTE, ..request() };
    let before = diagnose(&half, &slices).unwrap();
    let known = all.num_rows() - 7 * 5;
    slices.metrics = vec![all.slice(0, known)];
    assert_eq!(before, diagnose(&half, &slices).unwrap());
}

/// One of two routes is slow, and elsewhere a counter of errors counts faster.
#[test]
fn a_series_is_cited_with_its_labels_and_a_counter_by_its_rate() {
    let mut rows = Vec::new();
    for minute in -60..6 {
        let (ts, bad) = (AT + minute * MINUTE, minute >= 0);
        let noise = (minute * 7919).rem_euclid(11) as f64 / 10.0;
        rows.push((ts, "db", "latency_p50", "route=/a", 10.0 + noise));
        rows.push((ts, "db", "latency_p50", "route=/b", if bad { 90.0 } else { 10.0 } + noise));
        let late = minute.max(0) as f64;
        let errors = 10_000.0 + 60.0 * minute as f64 + noise + 600.0 * late;
        rows.push((ts, "api", "errors_total", "", errors));
    }
    let columns: Vec<ArrayRef> = vec![
        times(&rows, |r| r.0),
        texts(&rows, |_| "c".into()),
        texts(&rows, |r| r.1.into()),
        texts(&rows, |r| format!("{}-0", r.1)),
        texts(&rows, |r| r.2.into()),
        texts(&rows, |r| r.3.into()),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.4))),
    ];
    let slices = Slices { metrics: vec![batch(Stream::Metrics, columns)], ..Slices::default() };
    let diagnosis = diagnose(&request(), &slices).unwrap();
    let said = |part: &str| diagnosis.evidence.iter().find(|e| e.statement.contains(part));
    let slow = said("latency_p50{route=/b} of db-0 rose from 10").unwrap();
    assert!(slow.sql.contains("labels = 'route=/b'"), "{}", slow.sql);
    let errors = said("errors_total of api-0 rose from ").unwrap();
    assert!((0.9..1.1).contains(&errors.expected) && errors.observed > 10.0, "{errors:?}");
    assert!(errors.statement.ends_with(" per second") && said("route=/a").is_none());
}

#[test]
fn a_missing_column_is_an_error() {
    let mut slices = outage();
    slices.metrics[0].remove_column(4);
    let error = diagnose(&request(), &slices).unwrap_err();
    assert!(error.to_string().contains("metric"), "{error}");
}

#[test]
fn a_burst_does_not_crowd_out_what_is_rare() {
    let mut lines = vec![(AT + 4 * MINUTE, "db", "INFO", "01", "rare")];
    lines.extend((0..500).map(|i| (AT + i, "db", "ERROR", "02", "burst")));
    lines.push((AT, "cache", "INFO", "03", "not of this incident"));
    lines.push((AT - 2 * HOUR, "db", "INFO", "04", "long ago"));
    let slices = Slices { logs: vec![logs(&lines)], ..Slices::default() };
    let diagnosis = diagnose(&request(), &Slices::default()).unwrap();
    let caps = Caps { logs: 10, ..Caps::default() };
    let kept = pinned(&request(), &diagnosis, &["db".to_owned()], &slices, caps).unwrap();
    let mut templates: Vec<String> = Vec::new();
    let table = columns::Table::read(
        &kept.logs,
        "c",
        telemetry::Period { from: i64::MIN, to: i64::MAX },
        &["template"],
        None,
    );
    let table = table.unwrap();
    templates.extend(table.rows.iter().map(|row| table.text(*row, 0).to_owned()));
    assert_eq!(templates.len(), 10);
    assert_eq!(templates.iter().filter(|t| *t == "rare").count(), 1);
    assert!(kept.metrics.is_empty());
}

#[test]
fn queries_keep_what_microseconds_round() {
    let scope = sql::Scope {
        incident_id: "i",
        cluster: "c",
        period: telemetry::Period { from: 1_999, to: SECOND + 1 },
    };
    assert_eq!(
        scope.spans("db", "db-0", "get"),
        "SELECT ts, service, instance, operation, trace_id, span_id, parent_span_id, duration_us, \
         status FROM spans WHERE incident_id = 'i' AND cluster = 'c' \
         AND ts >= TIMESTAMP '1970-01-01T00:00:00.000001Z' \
         AND ts < TIMESTAMP '1970-01-01T00:00:01.000001Z' \
         AND service = 'db' AND instance = 'db-0' AND operation = 'get' ORDER BY ts"
    );
}
