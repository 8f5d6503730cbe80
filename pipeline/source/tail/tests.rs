//! Files that grow, rotate, shrink and come back.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use tempfile::TempDir;

use super::super::dead::DeadReason;
use super::*;

const HEADER: &str = "ts,service,instance,metric,value\n";

fn row(value: i64) -> String {
    format!("2024-05-01T00:{:02}:00Z,api,api-0,cpu,{value}\n", value % 60)
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A tail with the registries that it interns into.
struct Running(Tail, Registries);

fn tail(path: &Path, position: Option<&Value>) -> Running {
    let file = TailFile { path: path.to_owned(), stream: Stream::Metrics };
    Running(Tail::open(vec![file], 3, "main", position).unwrap(), Registries::new(100))
}

/// Values of all rows there are now, and the lines of dead letters.
fn drain(Running(tail, registries): &mut Running) -> (Vec<i64>, Vec<(u64, DeadReason)>) {
    let (mut values, mut dead) = (Vec::new(), Vec::new());
    loop {
        match tail.next(registries, |_, _| true).unwrap() {
            Next::Chunk(chunk) => {
                let column = chunk.batch.column(6).as_primitive::<Float64Type>();
                values.extend(column.values().iter().map(|v| *v as i64));
                dead.extend(chunk.dead.iter().map(|d| (d.line, d.reason)));
            }
            Next::Idle => return (values, dead),
            Next::End => panic!("a tail does not end"),
        }
    }
}

fn values(tail: &mut Running) -> Vec<i64> {
    let (values, dead) = drain(tail);
    assert!(dead.is_empty(), "{dead:?}");
    values
}

#[test]
fn lines_are_handed_out_when_they_are_complete() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m.csv");
    let mut tail = tail(&path, None);
    assert!(values(&mut tail).is_empty());
    append(&path, &HEADER[..10]);
    assert!(values(&mut tail).is_empty());
    append(&path, &HEADER[10..]);
    append(&path, &(row(1) + &row(2)[..20]));
    assert_eq!(values(&mut tail), [1]);
    append(&path, &row(2)[20..]);
    append(&path, "broken\n");
    append(&path, &row(3));
    assert_eq!(drain(&mut tail), (vec![2, 3], vec![(4, DeadReason::Malformed)]));
}

#[test]
fn a_rotated_file_is_read_to_its_end_first() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m.csv");
    append(&path, &(HEADER.to_owned() + &row(1)));
    let mut tail = tail(&path, None);
    assert_eq!(values(&mut tail), [1]);
    let old = dir.path().join("m.csv.1");
    fs::rename(&path, &old).unwrap();
    append(&old, &row(2));
    assert_eq!(values(&mut tail), [2]);
    append(&path, "");
    // The last line of a file that is done needs no line end.
    append(&old, row(3).trim_end());
    assert!(values(&mut tail).is_empty());
    append(&path, "value,ts,metric,instance,service\n");
    append(&path, "4,2024-05-01T00:00:00Z,cpu,i,s\n");
    assert_eq!(values(&mut tail), [3, 4]);
    append(&path, "5,2024-05-01T00:00:00Z,cpu,i,s\n");
    assert_eq!(values(&mut tail), [5]);
}

#[test]
fn a_truncated_or_replaced_file_is_read_from_its_start() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m.csv");
    append(&path, &(HEADER.to_owned() + &row(1) + &row(2)));
    let mut tail = tail(&path, None);
    assert_eq!(values(&mut tail), [1, 2]);
    fs::write(&path, HEADER.to_owned() + &row(3)).unwrap();
    assert_eq!(values(&mut tail), [3]);
    // Truncated and grown beyond the old end between two looks: only the fingerprint tells.
    fs::write(&path, HEADER.to_owned() + &row(4) + &row(5) + &row(6)).unwrap();
    assert_eq!(values(&mut tail), [4, 5, 6]);
}

#[test]
fn it_resumes_behind_what_was_handed_out() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m.csv");
    append(&path, &(HEADER.to_owned() + &(1..=7).map(row).collect::<String>()));
    let Running(mut first, mut registries) = tail(&path, None);
    let Next::Chunk(chunk) = first.next(&mut registries, |_, _| true).unwrap() else {
        panic!("no chunk")
    };
    assert_eq!(chunk.batch.num_rows(), 3);
    let position = first.position();
    drop(first);

    assert_eq!(values(&mut tail(&path, Some(&position))), [4, 5, 6, 7]);
    // Dead letters keep counting lines of the file.
    append(&path, "x\n");
    assert_eq!(drain(&mut tail(&path, Some(&position))).1, [(9, DeadReason::Malformed)]);

    // Renamed while nobody looked: the old file is found by its identity.
    fs::rename(&path, dir.path().join("m.csv.1")).unwrap();
    append(&path, &(HEADER.to_owned() + &row(8)));
    let mut resumed = tail(&path, Some(&position));
    assert_eq!(drain(&mut resumed).0, [4, 5, 6, 7, 8]);

    // Replaced while nobody looked: nothing of the old file is left.
    let position = resumed.0.position();
    fs::write(&path, HEADER.to_owned() + &row(9) + &row(10)).unwrap();
    assert_eq!(values(&mut tail(&path, Some(&position))), [9, 10]);
}

/// A file as rotation leaves it, last written at this second.
fn rotated(path: &Path, second: u64, text: &str) {
    fs::write(path, HEADER.to_owned() + text).unwrap();
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_714_521_600 + second);
    File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
}

#[test]
fn what_was_rotated_away_while_nobody_looked_is_read_in_order() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m.csv");
    rotated(&path, 0, &row(1));
    let mut first = tail(&path, None);
    assert_eq!(values(&mut first), [1]);
    let position = first.0.position();
    drop(first);
    let beside = |name: &str| dir.path().join(name);
    fs::rename(&path, beside("m.csv.3")).unwrap();
    rotated(&beside("m.csv.3"), 10, &(row(1) + &row(2)));
    // Read before the run was stopped, compressed, of another path, and the copy of an editor.
    rotated(&beside("m.csv.4"), 5, &row(50));
    rotated(&beside("m.csv.5.gz"), 25, &row(51));
    rotated(&beside("n.csv.1"), 25, &row(52));
    rotated(&beside("m.csv.bak"), 25, &row(53));
    // The name does not tell which is older: the time of the last row does.
    rotated(&beside("m.csv.1"), 30, &(row(5) + row(6).trim_end()));
    rotated(&beside("m.csv.2"), 20, &(row(3) + &row(4)));
    rotated(&path, 40, &row(7));
    let mut resumed = tail(&path, Some(&position));
    assert_eq!(values(&mut resumed), [2, 3, 4, 5, 6, 7]);
    append(&path, &row(8));
    assert_eq!(values(&mut resumed), [8]);

    // Stopped after every chunk, nothing is lost or read twice.
    let (mut place, mut all) = (position, Vec::new());
    loop {
        let Running(mut tail, mut registries) = tail(&path, Some(&place));
        let Next::Chunk(chunk) = tail.next(&mut registries, |_, _| true).unwrap() else { break };
        let column = chunk.batch.column(6).as_primitive::<Float64Type>();
        all.extend(column.values().iter().map(|v| *v as i64));
        place = tail.position();
    }
    assert_eq!(all, [2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_file_that_is_rotated_twice_between_two_looks_is_read_in_order() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m.csv");
    let beside = |name: &str| dir.path().join(name);
    rotated(&path, 0, &row(1));
    let mut running = tail(&path, None);
    assert_eq!(values(&mut running), [1]);
    append(&path, &row(2));
    fs::rename(&path, beside("m.csv.3")).unwrap();
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1_714_521_610);
    File::options().write(true).open(beside("m.csv.3")).unwrap().set_modified(second).unwrap();
    rotated(&beside("m.csv.2"), 20, &row(3));
    rotated(&beside("m.csv.1"), 30, &row(4));
    rotated(&path, 40, &row(5));
    assert_eq!(values(&mut running), [2, 3, 4, 5]);
    append(&path, &row(6));
    assert_eq!(values(&mut running), [6]);
}

#[test]
fn a_file_that_is_not_wanted_waits() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m.csv");
    append(&path, &(HEADER.to_owned() + &row(1)));
    let Running(mut tail, mut registries) = tail(&path, None);
    let opened = tail.polled(0);
    assert!(matches!(tail.next(&mut registries, |_, _| false).unwrap(), Next::Idle));
    assert_eq!(tail.polled(0), opened, "nobody has asked whether it has something");
    let wanted = |stream, partition| (stream, partition) == (Stream::Metrics, 0);
    assert!(matches!(tail.next(&mut registries, wanted).unwrap(), Next::Chunk(_)));
    assert!(tail.polled(0) > opened);
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = TailFile { path: dir.path().to_owned(), stream: Stream::Metrics };
    let error = Tail::open(vec![file], 1, "main", None).err().unwrap();
    assert!(error.to_string().contains("no regular file"), "{error}");
}

#[test]
fn a_position_before_the_file_exists_is_a_position_too() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m.csv");
    let position = tail(&path, None).0.position();
    append(&path, &(HEADER.to_owned() + &row(1)));
    assert_eq!(values(&mut tail(&path, Some(&position))), [1]);
    let bad = serde_json::json!({"version": 9, "files": []});
    let file = TailFile { path, stream: Stream::Metrics };
    let error = Tail::open(vec![file], 1, "main", Some(&bad)).err().unwrap();
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn a_wrong_header_stops_the_start_but_not_the_run() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m.csv");
    let mut running = tail(&path, None);
    append(&path, "ts,service,host\n1,2,3\n");
    let file = TailFile { path: path.clone(), stream: Stream::Metrics };
    let error = Tail::open(vec![file], 1, "main", None).err().unwrap();
    assert!(error.to_string().contains("unknown column `host`"), "{error}");
    assert_eq!(drain(&mut running), (vec![], vec![(2, DeadReason::Malformed)]));
    fs::rename(&path, dir.path().join("m.csv.1")).unwrap();
    append(&path, &(HEADER.to_owned() + &row(1)));
    assert_eq!(values(&mut running), [1]);
}

#[test]
fn streams_of_several_files_take_turns() {
    let dir = TempDir::new().unwrap();
    let (metrics, logs) = (dir.path().join("m.csv"), dir.path().join("l.jsonl"));
    append(&metrics, &(HEADER.to_owned() + &(1..=6).map(row).collect::<String>()));
    append(&logs, "{\"ts\":\"2024-05-01T00:00:00Z\",\"service\":\"api\",\"body\":\"up\"}\n");
    let files = vec![
        TailFile { path: metrics, stream: Stream::Metrics },
        TailFile { path: logs, stream: Stream::Logs },
    ];
    let mut tail = Tail::open(files, 3, "main", None).unwrap();
    let mut registries = Registries::new(10);
    let mut order = Vec::new();
    while let Next::Chunk(chunk) = tail.next(&mut registries, |_, _| true).unwrap() {
        order.push((chunk.stream, chunk.partition, chunk.batch.num_rows()));
    }
    assert_eq!(order, [(Stream::Metrics, 0, 3), (Stream::Logs, 1, 1), (Stream::Metrics, 0, 3)]);
}
