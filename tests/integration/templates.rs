//! Log templates that are merged while a run goes on, as history shows them.

use std::fs;
use std::path::Path;

use faultline::model::{MINUTE, Nanos, SECOND};
use faultline::source::timestamp;
use serde_json::json;
use tempfile::TempDir;

use crate::archive::{contents, count};
use crate::outage::{FAULTY, Outage, time_of, write_lines};
use crate::program::{ask, replay};
use crate::random::Random;

const ROOMS: [&str; 12] = [
    "blue", "red", "green", "amber", "violet", "ivory", "black", "white", "brown", "olive",
    "azure", "coral",
];

/// One of ten thousand.
fn name(random: &mut Random) -> String {
    let parts = ["ka", "lo", "mi", "ren", "sta", "vu", "do", "phi", "ra", "te"];
    (0..4).map(|_| parts[random.below(10) as usize]).collect()
}

fn log(ts: Nanos, service: &str, body: &str) -> String {
    let ts = timestamp::format(ts);
    json!({ "ts": ts, "service": service, "instance": format!("{service}-0"), "severity": "INFO",
            "body": body, "trace_id": "", "span_id": "" })
    .to_string()
}

/// Lines of users who come into the one room, and from `other` on into other rooms, too: first the
/// names become a slot, then the rooms.
fn arrivals(service: &str, from: Nanos, minutes: i64, other: i64) -> Vec<String> {
    let mut random = Random::new(5);
    let mut lines = Vec::new();
    for minute in 0..minutes {
        for n in 0..30 {
            let ts = from + minute * MINUTE + n * 2 * SECOND;
            let rooms = ((minute - other) / 4).clamp(0, 11) as u64;
            let room = match random.below(20) {
                0 if rooms > 0 => 1 + random.below(rooms),
                _ => 0,
            };
            let (name, room) = (name(&mut random), ROOMS[room as usize]);
            lines.push(log(
                ts,
                service,
                &format!("user {name} came into the room {room} just now"),
            ));
            let bytes = random.below(9_999);
            lines.push(log(ts, service, &format!("wrote {bytes} bytes to the disk")));
        }
    }
    lines
}

/// The small outage, whose faulty service has lines of which two places turn out to vary.
pub fn outage() -> Outage {
    let outage = Outage::new();
    let mut lines = outage.lines("logs.jsonl");
    let from = time_of(&lines[0]) / MINUTE * MINUTE + MINUTE;
    lines.extend(arrivals(FAULTY, from, 58, 10));
    lines.sort_by_key(|line| time_of(line));
    write_lines(&outage.file("logs.jsonl"), &lines);
    outage
}

fn replayed(lines: &[String], dir: &TempDir, more: &[&str]) -> std::path::PathBuf {
    let (outage, archive) = (dir.path().join("outage"), dir.path().join("archive"));
    fs::create_dir_all(&outage).unwrap();
    write_lines(&outage.join("logs.jsonl"), lines);
    replay(&outage, &archive, more);
    archive
}

#[test]
fn a_merge_of_templates_is_no_change_of_what_is_logged() {
    let lines = arrivals("door", 1_780_000_000 * SECOND, 180, 90);
    let dir = TempDir::new().unwrap();
    let archive = replayed(&lines, &dir, &["--jobs", "sql/detect/log_mix.sql"]);
    assert_eq!(ask(&archive, "SELECT window_start, score, detail FROM signals").lines().count(), 1);
}

/// The first value of a row, below the header.
fn value(archive: &Path, sql: &str) -> String {
    ask(archive, sql).lines().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn every_id_that_history_names_leads_to_what_its_lines_are_today() {
    let outage = outage();
    let dir = TempDir::new().unwrap();
    let archive = dir.path().join("archive");
    replay(outage.path(), &archive, &[]);

    let nowhere = "SELECT count(*) FROM logs l LEFT JOIN templates t \
                   ON t.cluster = l.cluster AND t.template_id = l.template_id \
                   LEFT JOIN templates c \
                   ON c.cluster = t.cluster AND c.template_id = t.canonical_id \
                   WHERE t.template IS NULL OR c.canonical_id <> t.canonical_id \
                   OR c.template <> t.template";
    assert_eq!(value(&archive, nowhere), "0");
    let signals = "SELECT count(*) FROM signals s LEFT JOIN templates t \
                   ON s.metric = concat('log:', t.template_id) WHERE t.template IS NULL \
                   AND regexp_like(s.metric, '^log:[0-9a-f]{16}$')";
    assert_eq!(value(&archive, signals), "0");
    // What was written under several ids, before and after each merge, is one kind of line.
    let arrived = "SELECT count(DISTINCT t.canonical_id) AS kinds, min(t.template) AS template, \
                   count(DISTINCT l.template_id) > 1 AS several, bool_and(t.moved_at IS NOT NULL \
                   AND t.moved_at >= t.first_seen_at AND t.first_seen_at <= l.ts) AS moved \
                   FROM logs l JOIN templates t \
                   ON t.cluster = l.cluster AND t.template_id = l.template_id \
                   WHERE l.body LIKE 'user % came into the room %'";
    assert_eq!(value(&archive, arrived), "1,user <*> came into the room <*> just now,true,true");
    let question = fs::read_to_string("sql/queries/log_lines_in_incidents.sql").unwrap();
    let answer = ask(&archive, &question);
    let kinds: Vec<&str> = answer.lines().filter(|l| l.contains("came into the room")).collect();
    assert!(kinds.len() == 1, "{answer}");

    let first = contents(&archive);
    assert!(count(&first, "templates") > 0);
    replay(outage.path(), &archive, &[]);
    assert_eq!(contents(&archive), first);
}
