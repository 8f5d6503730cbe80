//! The worked questions, the limits and the refusals, over an archive of two incidents.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{Answer, Format, Limits, Session, write};
use crate::knowledge::samples::{START, TEMPLATES, two_cases};
use crate::knowledge::{DeadRow, Outbox, Writer};
use crate::model::Signal;
use crate::monitor::template::history::Known;
use crate::stream::schema::Stream;

async fn archive() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::open(dir.path()).await.unwrap();
    let cases = two_cases();
    let mut settled: Vec<(Signal, Option<String>)> = Vec::new();
    for case in &cases {
        let id = &case.incident.id;
        settled.extend(case.incident.signals.iter().map(|s| (s.clone(), Some(id.clone()))));
    }
    let stray = Signal { id: "stray".into(), ..settled[0].0.clone() };
    settled.push((stray, None));
    for (version, case) in (1..).zip(&cases) {
        let mut outbox = Outbox::default();
        outbox.case(case).unwrap();
        writer.append("test", version, outbox).await.unwrap();
    }
    let mut outbox = Outbox::default();
    outbox.signals(&settled).unwrap();
    let dead = DeadRow {
        stream: Stream::Logs,
        file: "logs.jsonl".into(),
        line: 7,
        rows: 1,
        reason: "malformed".into(),
        detail: "not JSON".into(),
        text: "{".into(),
    };
    outbox.dead_letters("", &[dead]).unwrap();
    let known = TEMPLATES.map(|id| Known {
        id,
        canonical: TEMPLATES[1],
        template: "lost <*>".into(),
        first_seen_at: START,
        moved_at: (id == TEMPLATES[0]).then_some(START + 1),
    });
    outbox.templates(&known.each_ref().map(|known| ("", known))).unwrap();
    writer.append("test", 3, outbox).await.unwrap();
    dir
}

fn both_cases() -> Outbox {
    let mut outbox = Outbox::default();
    for case in two_cases() {
        outbox.case(&case).unwrap();
    }
    outbox
}

async fn session(dir: &Path) -> Session {
    Session::open(dir, Limits::default()).await.unwrap()
}

fn csv(answer: &Answer) -> String {
    let mut out = Vec::new();
    write(answer, Format::Csv, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

async fn ask(session: &Session, sql: &str) -> String {
    csv(&session.run(sql).await.unwrap()).lines().skip(1).collect::<Vec<_>>().join(" | ")
}

async fn refusal(session: &Session, sql: &str) -> String {
    match session.run(sql).await {
        Ok(answer) => panic!("{sql} was answered: {}", csv(&answer)),
        Err(err) => err.to_string(),
    }
}

/// Stem of each worked question, rows that the two incidents give it, and part of its answer.
const QUESTIONS: [(&str, usize, &str); 15] = [
    ("causes_by_confidence", 1, "0.8,2,0.70"),
    ("dead_letters_by_reason", 1, "logs,malformed,logs.jsonl,1,7,not JSON"),
    ("earliest_jobs", 2, "metric_level,2,2,0"),
    ("evidence_of_the_latest_incident", 3, "1,cart,cpu,0.8,ev-1,metric,latency of cart changed"),
    ("incidents_after_a_deploy", 2, "cart: latency up,cart,cart,ci,"),
    ("incidents_per_week", 2, "2026-03-02T00:00:00Z,1,1,1"),
    ("log_lines_in_incidents", 1, "0000000000000002,lost <*>,2,2,2,2026-03-02T00:58:00"),
    ("longest_incidents", 2, "inc-1,cart: latency up,critical,2026-03-02T00:58:00Z,32.0,cart"),
    ("mttr_by_service", 1, "cart,2,32.0,32.0"),
    ("noisiest_detector", 2, "metric_level,3,1,0.66"),
    ("proposed_actions_by_risk", 2, "low,rollout_restart,proposed (dry run),2,2,2"),
    ("repeat_incidents", 1, "default,cart,cpu,2,"),
    ("services_affected_together", 1, "cart,front,2"),
    ("time_to_detection", 1, "metric_level,2,120.0,120.0"),
    ("top_root_kinds", 1, "cpu,2,1.0,1"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_worked_question_is_answered() {
    let dir = archive().await;
    let session = session(dir.path()).await;
    let folder = "sql/queries";
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let stems: Vec<&str> = files.iter().map(|f| f.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(stems, QUESTIONS.map(|(stem, ..)| stem));
    for (file, (stem, rows, part)) in files.iter().zip(QUESTIONS) {
        let sql = std::fs::read_to_string(file).unwrap();
        assert!(sql.starts_with("-- ") && sql.lines().next().unwrap().ends_with('?'), "{stem}");
        let answer = session.run(&sql).await.unwrap_or_else(|e| panic!("{stem}: {e}"));
        let text = csv(&answer);
        assert_eq!(text.lines().count(), rows + 1, "{stem}: {text}");
        assert!(text.contains(part), "{stem}: {text}");
        assert!(answer.truncated.is_none() && answer.warnings.is_empty(), "{stem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_again_is_there_once() {
    let dir = archive().await;
    let writer = Writer::open(dir.path()).await.unwrap();
    let written = writer.archive().last_version("incidents", "test").await.unwrap();
    writer.append("test", 2, both_cases()).await.unwrap();
    assert_eq!(written, writer.archive().last_version("incidents", "test").await.unwrap());
    // Another run over the same telemetry writes its rows; each is still seen once.
    writer.append("other", 1, both_cases()).await.unwrap();
    writer.compact().await.unwrap();
    let session = session(dir.path()).await;
    for (table, rows) in [("incidents", "2"), ("diagnoses", "4"), ("actions", "4")] {
        assert_eq!(ask(&session, &format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
    }
    let model = "SELECT sum(tokens), count(*) FROM llm_calls WHERE incident_id = 'inc-1'";
    assert_eq!(ask(&session, model).await, "1000,2");
    let cost = "SELECT tokens, cost_usd, latency_ms FROM diagnoses WHERE incident_id = 'inc-1'";
    assert_eq!(ask(&session, cost).await, "1000,0.5,80 | 1000,0.5,80");
    let services = ask(&session, "SELECT services, cluster, day FROM incidents LIMIT 1").await;
    assert!(services.starts_with("cart;front,default,2026-03-0"), "{services}");
    let sample = "SELECT ts FROM metrics WHERE incident_id = 'inc-1' ORDER BY ts LIMIT 1";
    assert_eq!(ask(&session, sample).await, "2026-03-02T00:58:00.001234Z");
    assert_eq!(START % crate::model::DAY, 0);
}

/// The engine's optimizer takes nested projections of one text for one projection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_subqueries_of_one_text_each_count() {
    let dir = archive().await;
    let session = session(dir.path()).await;
    for (sql, answer) in [
        ("SELECT x + 1 AS x FROM (SELECT x + 1 AS x FROM (SELECT 5 AS x))", "7"),
        ("SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT 'ab' AS x))", "abababab"),
        (
            "SELECT n FROM (SELECT n * 2 AS n FROM (SELECT n * 2 AS n FROM (SELECT rank AS n \
             FROM diagnoses))) ORDER BY n LIMIT 1",
            "4",
        ),
    ] {
        assert_eq!(ask(&session, sql).await, answer, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writes_of_an_incident_the_later_counts_as_a_whole() {
    let dir = archive().await;
    let mut cases = two_cases();
    for case in &mut cases {
        case.diagnosis.causes.truncate(1);
        case.diagnosis.causes[0].service = "later".into();
        let mut outbox = Outbox::default();
        outbox.case(case).unwrap();
        let writer = Writer::open(dir.path()).await.unwrap();
        writer.append(&case.incident.id, 1, outbox).await.unwrap();
    }
    let session = session(dir.path()).await;
    let causes = "SELECT count(*), min(service), max(rank) FROM diagnoses";
    assert_eq!(ask(&session, causes).await, "2,later,1");
    let roots = "SELECT DISTINCT root_service FROM incidents";
    assert_eq!(ask(&session, roots).await, "later");
    let samples = "SELECT count(*) - count(DISTINCT (incident_id, ts, service, metric)) \
                   FROM metrics";
    assert_eq!(ask(&session, samples).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_and_no_other_file_is_read() {
    let dir = archive().await;
    let session = session(dir.path()).await;
    let target = dir.path().join("out.csv");
    for sql in [
        &format!("COPY incidents TO '{}'", target.display()),
        &format!("COPY (SELECT 1) TO '{}' STORED AS PARQUET", target.display()),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE incidents",
        "INSERT INTO incidents SELECT * FROM incidents",
        "DELETE FROM incidents",
        "UPDATE incidents SET title = ''",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "EXPLAIN INSERT INTO incidents SELECT * FROM incidents",
        "SELECT 1 INTO t",
        "PREPARE p AS SELECT 1",
        "BEGIN",
        "SELECT 1; SELECT 2",
    ] {
        let refused = refusal(&session, sql).await;
        assert!(refused.starts_with("query refused: "), "{sql}: {refused}");
    }
    assert!(!target.exists());
    for from in ["'/etc/passwd'", "'s3://b/k.parquet'", "'http://h/x.csv'", "'file:///etc/passwd'"]
    {
        let refused = refusal(&session, &format!("SELECT * FROM {from}")).await;
        assert!(refused.contains("table not found") && refused.contains("incidents"), "{refused}");
    }
    assert_eq!(ask(&session, "SELECT count(*) FROM incidents").await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_no_stack_holds_is_refused() {
    let dir = archive().await;
    let session = session(dir.path()).await;
    let links = [("1", " + 1"), ("true", " OR true"), ("1", "::INT"), ("1", " UNION ALL SELECT 1")];
    for (first, link) in links {
        let refused = refusal(&session, &format!("SELECT {first}{}", link.repeat(3_000))).await;
        assert!(refused.contains("more than 500 operators"), "{link}: {refused}");
    }
    assert_eq!(ask(&session, &format!("SELECT 1{}", " + 1".repeat(400))).await, "401");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_what_to_write_instead() {
    let dir = archive().await;
    let session = session(dir.path()).await;
    let table = refusal(&session, "SELECT * FROM incident").await;
    assert!(table.contains("table not found: incident; the tables are incidents, "), "{table}");
    let column = refusal(&session, "SELECT root_servic FROM incidents").await;
    assert!(column.contains("root_servic; the nearest columns are root_service"), "{column}");
    let syntax = refusal(&session, "SELECT ) FROM incidents").await;
    assert!(syntax.contains("syntax error") && syntax.contains("Line: 1"), "{syntax}");
    let nested = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(refusal(&session, &nested).await.contains("nested too deeply"));
    let grown = (0..7)
        .fold("'a'".to_owned(), |text, _| format!("replace({text}, 'a', 'aaaaaaaaaaaaaaaaaaaa')"));
    let grown = refusal(&session, &format!("SELECT length({grown})")).await;
    assert!(grown.contains("bytes of text at once"), "{grown}");
    let small = "SELECT replace(concat('a', 'b'), 'a', 'c'), regexp_replace('a1', '[0-9]', 'x')";
    assert_eq!(ask(&session, small).await, "cb,ax");
    for (sql, part) in [
        ("SELECT 1/0", "NULLIF"),
        ("SELECT CAST('abc' AS INT)", "TRY_CAST"),
        ("SELECT 'abc' ~ '('", "query refused"),
        ("SELECT count(*) FROM incidents TABLESAMPLE BERNOULLI (1)", "TABLESAMPLE"),
    ] {
        let refused = refusal(&session, sql).await;
        assert!(refused.starts_with("query refused: ") && refused.contains(part), "{refused}");
    }
    let function = refusal(&session, "SELECT repeat('x', 2000000000)").await;
    assert!(function.contains("repeat"), "{function}");
    assert!(ask(&session, "SHOW TABLES").await.contains("incidents"));
    assert!(ask(&session, "DESCRIBE incidents").await.contains("root_service"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_and_say_so() {
    let dir = archive().await;
    let limits = Limits { memory_bytes: 16 << 20, time: Duration::from_secs(1), rows: 5 };
    let session = Session::open(dir.path(), limits).await.unwrap();
    let cut = session.run("SELECT value FROM generate_series(1, 1000000000000)").await.unwrap();
    assert_eq!(csv(&cut).lines().count(), 6);
    assert!(cut.truncated.unwrap().contains("first 5 rows"));
    let whole = session.run("SELECT value FROM generate_series(1, 5)").await.unwrap();
    assert!(whole.truncated.is_none());
    for endless in [
        "SELECT sum(value % 7) FROM generate_series(1, 1000000000000)",
        "SELECT count(*) FROM generate_series(1, 10000) a, generate_series(1, 100000000) b \
         WHERE a.value * b.value = -1",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT sum(n) FROM r",
        "SELECT array_agg(value) FROM generate_series(1, 1000000000000)",
        "SELECT max(r) FROM (SELECT sum(value) OVER () AS r FROM generate_series(1, 300000000)) x",
    ] {
        let refused = refusal(&session, endless).await;
        let limit = refused.contains("time limit") || refused.contains("memory limit");
        assert!(limit, "{endless}: {refused}");
    }
    let whole = "SELECT DISTINCT sum(value) OVER () FROM generate_series(1, 1000)";
    assert_eq!(ask(&session, whole).await, "500500");
    assert_eq!(ask(&session, "SELECT count(*) FROM incidents").await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_named_and_the_others_answer() {
    let dir = archive().await;
    let mut files = Vec::new();
    data_files(&dir.path().join("incidents"), &mut files);
    files.sort();
    assert_eq!(files.len(), 2);
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 3;
    bytes[4..middle].fill(0x5a);
    std::fs::write(&files[0], bytes).unwrap();
    let session = session(dir.path()).await;
    let answer = session.run("SELECT incident_id, title, services FROM incidents").await.unwrap();
    assert_eq!(csv(&answer).lines().count(), 2, "{}", csv(&answer));
    assert_eq!(answer.warnings.len(), 1);
    let name = files[0].file_name().unwrap().to_str().unwrap();
    assert!(answer.warnings[0].contains(name), "{:?}", answer.warnings);
}

fn data_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("_delta_log") {
            data_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn formats_keep_values_and_hold_back_control_characters() {
    let dir = archive().await;
    let session = session(dir.path()).await;
    let sql = "SELECT d.rank, d.evidence_ids, s.detail, i.root_instance, i.opened_at, \
               CAST(NULL AS TEXT) AS nothing, CAST('NaN' AS DOUBLE) AS nan, true AS yes, \
               chr(155) AS csi, chr(8238) AS turn \
               FROM diagnoses d JOIN incidents i ON i.incident_id = d.incident_id \
               JOIN signals s ON s.signal_id = 'inc-1-sig-0' \
               WHERE d.incident_id = 'inc-1' AND d.rank = 1";
    let answer = session.run(sql).await.unwrap();
    let text = |format| {
        let mut out = Vec::new();
        write(&answer, format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    for format in [Format::Table, Format::Csv, Format::Json] {
        let text = text(format);
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&text(Format::Json)).unwrap();
    assert_eq!(json["evidence_ids"], serde_json::json!(["ev-1", "ev-2"]));
    assert_eq!(json["detail"], "line one\nline two \u{1b}[31m");
    assert_eq!((&json["rank"], &json["yes"]), (&1.into(), &true.into()));
    assert_eq!((&json["nan"], json["nothing"].is_null()), (&"NaN".into(), true));
    assert_eq!(json["opened_at"], "2026-03-02T01:00:00Z");
    let csv = text(Format::Csv);
    assert!(
        csv.contains(
            "1,ev-1;ev-2,\"line one\nline two \\x1b[31m\",,2026-03-02T01:00:00Z,,NaN,true"
        ),
        "{csv}"
    );
    let table = text(Format::Table);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[2].contains("line one\\x0aline two") && lines[3] == "(1 row)", "{table}");
}
