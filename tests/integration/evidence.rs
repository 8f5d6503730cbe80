//! Every fact can be looked up: the SQL that it carries returns rows from the archive.

use std::collections::BTreeMap;
use std::path::Path;

use faultline::query::{Format, Limits, Session, write};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{done, text};

/// One row of `evidence`, with the first row that its query returns.
struct Fact {
    about: Value,
    row: Option<Value>,
}

fn facts(archive: &Path) -> Vec<Fact> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let session = Session::open(archive, Limits::default()).await.unwrap();
        let all = objects(&session, "SELECT * FROM evidence ORDER BY incident_id, evidence_id");
        let mut facts = Vec::new();
        for about in all.await {
            let rows = objects(&session, about["sql"].as_str().unwrap()).await;
            facts.push(Fact { about, row: rows.into_iter().next() });
        }
        facts
    })
}

async fn objects(session: &Session, sql: &str) -> Vec<Value> {
    let answer = session.run(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut json = Vec::new();
    write(&answer, Format::Json, &mut json).unwrap();
    let json = String::from_utf8(json).unwrap();
    json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_sql_of_every_fact_of_the_demo_returns_rows() {
    let dir = TempDir::new().unwrap();
    done(&["demo", "--dir", &text(dir.path())]);
    let facts = facts(&dir.path().join("archive"));
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut silent = Vec::new();
    for Fact { about, row } in &facts {
        let kind = about["kind"].as_str().unwrap();
        *kinds.entry(kind).or_default() += 1;
        match row {
            None => silent.push(format!("{}\n    {}", about["statement"], about["sql"])),
            // A call is shown by spans of its callee or by what both ends measure.
            Some(row) if kind == "edge" => assert!(row["service"].is_string(), "{row}"),
            // A runbook need not be about a service.
            Some(row) if kind == "runbook" => assert!(row["text"].is_string(), "{row}"),
            Some(row) => assert_eq!(row["service"], about["service"], "{about}"),
        }
    }
    assert!(
        silent.is_empty(),
        "{} of {} find nothing:\n{}",
        silent.len(),
        facts.len(),
        silent.join("\n")
    );
    let found: Vec<&str> = kinds.keys().copied().collect();
    assert_eq!(found, ["change", "edge", "log", "metric", "span"], "{kinds:?}");
}
