//! The same outage gives the same incidents, however it is replayed.

use std::fs;

use tempfile::TempDir;

use crate::archive::{commits, contents, count, files, repeated};
use crate::outage::{FAULTY, Outage};
use crate::program::{ask, replay};

#[test]
fn threads_batches_and_arrival_order_change_nothing() {
    let outage = Outage::new();
    let archives = TempDir::new().unwrap();
    let first = archives.path().join("first");
    replay(outage.path(), &first, &["--threads", "1", "--batch-rows", "8192"]);
    let expected = contents(&first);
    assert!(count(&expected, "incidents") > 0, "a test without an incident shows nothing");
    assert!(count(&expected, "diagnoses") > 0);
    let shuffled = [outage.shuffled(1), outage.shuffled(2), outage.shuffled(3)];
    for (run, (dir, threads, batch_rows)) in [
        (outage.path(), "4", "1"),
        (outage.path(), "2", "97"),
        (shuffled[0].path(), "1", "8192"),
        (shuffled[1].path(), "4", "97"),
        (shuffled[2].path(), "2", "1"),
    ]
    .into_iter()
    .enumerate()
    {
        let archive = archives.path().join(run.to_string());
        replay(dir, &archive, &["--threads", threads, "--batch-rows", batch_rows]);
        let case = format!("run {run}: {threads} threads, {batch_rows} rows");
        for (table, rows) in &contents(&archive) {
            assert_eq!(rows, &expected[table], "{table} differs in {case}");
        }
    }
}

/// What a user compares: the bytes that the program prints.
#[test]
fn two_archives_of_one_outage_answer_in_the_same_bytes() {
    let outage = Outage::new();
    let archives = TempDir::new().unwrap();
    let (a, b) = (archives.path().join("a"), archives.path().join("b"));
    replay(outage.path(), &a, &["--threads", "1"]);
    replay(outage.shuffled(4).path(), &b, &["--threads", "2", "--batch-rows", "97"]);
    for (table, order) in
        [("incidents", "incident_id"), ("signals", "signal_id"), ("diagnoses", "incident_id, rank")]
    {
        let sql = format!("SELECT * FROM {table} ORDER BY {order}");
        let answer = ask(&a, &sql);
        assert!(answer.lines().count() > 1, "{table} is empty");
        assert_eq!(answer, ask(&b, &sql), "{table}");
    }
}

/// What would have been told of a past outage under other rules.
#[test]
fn a_configuration_decides_when_incidents_open_in_a_replay_too() {
    let outage = Outage::new();
    let dir = TempDir::new().unwrap();
    let (config, archive) = (dir.path().join("strict.toml"), dir.path().join("archive"));
    let rules = "false_incidents_per_day = 1e-300\ncritical_opens = false\n";
    let tail = "[[tail]]\npath = \"unused.csv\"\nstream = \"metrics\"\n";
    fs::write(&config, format!("archive = \"unused\"\n{tail}[correlate]\n{rules}")).unwrap();
    replay(outage.path(), &archive, &["--config", config.to_str().unwrap()]);
    assert_eq!(ask(&archive, "SELECT count(*) AS n FROM incidents"), "n\n0\n");
    let said = replay(outage.path(), &archive, &[]);
    assert!(!said.contains("(it had this replay already)"), "{said}");
    assert_ne!(ask(&archive, "SELECT count(*) AS n FROM incidents"), "n\n0\n");
}

#[test]
fn a_second_replay_into_one_archive_adds_nothing() {
    let outage = Outage::new();
    let archives = TempDir::new().unwrap();
    let archive = archives.path().join("archive");
    replay(outage.path(), &archive, &[]);
    let (rows, before, log) = (contents(&archive), files(&archive), commits(&archive));
    let said = replay(outage.path(), &archive, &[]);
    assert!(said.contains("(it had this replay already)"), "{said}");
    replay(outage.path(), &archive, &["--batch-rows", "97", "--threads", "1"]);
    assert_eq!(contents(&archive), rows);
    let counted = "SELECT i.incident_id FROM incidents AS i LEFT JOIN signals AS s \
                   ON s.incident_id = i.incident_id GROUP BY i.incident_id, i.signal_count \
                   HAVING count(s.signal_id) <> i.signal_count";
    assert_eq!(ask(&archive, counted), "incident_id\n", "each incident tells its signals");
    assert_eq!(commits(&archive), log, "nothing new was committed");
    assert_eq!(files(&archive), before);
    assert_eq!(repeated(&archive), Vec::<String>::new());
}

/// As many bytes as before, at the same place.
#[test]
fn an_outage_that_was_edited_is_replayed_anew() {
    let outage = Outage::new();
    let archives = TempDir::new().unwrap();
    let archive = archives.path().join("archive");
    replay(outage.path(), &archive, &[]);
    let roots = "SELECT DISTINCT root_service FROM incidents";
    assert!(ask(&archive, roots).contains(FAULTY));
    let renamed = FAULTY.to_uppercase();
    let entries = fs::read_dir(outage.path()).unwrap().map(|entry| entry.unwrap().path());
    for file in entries.filter(|path| path.is_file()) {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace(FAULTY, &renamed)).unwrap();
    }
    let said = replay(outage.path(), &archive, &[]);
    assert!(!said.contains("already"), "{said}");
    assert!(ask(&archive, roots).contains(&renamed));
}
