//! The commands that start nothing: they print to standard output only.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::outage::{FAULT_AT, FAULTY, Outage};
use crate::program::{Running, ask, command, done, faultline, replay, signal, text};

/// Standard output of a call that must succeed without a word on standard error.
fn quiet(args: &[&str]) -> String {
    let outcome = faultline(args);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{args:?}");
    assert!(!outcome.stdout.is_empty(), "{args:?}");
    outcome.stdout
}

fn shipped() -> Vec<String> {
    let folder = "sql/detect";
    let mut jobs: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| text(&e.unwrap().path())).collect();
    jobs.sort();
    jobs
}

#[test]
fn explain_shows_the_plan_of_every_shipped_job() {
    for job in shipped() {
        let plan = quiet(&["explain", &job]);
        let name = job.rsplit('/').next().unwrap().trim_end_matches(".sql");
        assert!(plan.starts_with(&format!("job {name} ")), "{plan}");
        for part in ["Sink: signals", "Window: ", "Source: "] {
            assert!(plan.contains(part), "{part} is missing:\n{plan}");
        }
    }
    let level = quiet(&["explain", "sql/detect/metric_level.sql"]);
    assert!(level.contains("Stateful: metric_anomaly"), "{level}");
    assert!(level.contains("(interned)"), "{level}");
}

#[test]
fn check_accepts_what_ships() {
    let jobs = shipped().len();
    let all = quiet(&["check", "--config", "faultline.example.toml"]);
    assert!(all.starts_with("faultline.example.toml: ok, follows 2 files\n"), "{all}");
    // Every file of the folder is in the program as well, but for two that are asked for by name.
    assert_eq!(all.lines().filter(|l| l.contains(".sql: ok, ")).count(), jobs - 2, "{all}");
    let folder = quiet(&["check", "--jobs", "sql/detect"]);
    assert_eq!(folder.lines().filter(|l| l.contains(": ok, ")).count(), jobs);
}

/// An answer about a time without telemetry must not look like an all-clear.
#[test]
fn diagnose_says_when_there_is_nothing_to_look_at() {
    let args = ["diagnose", "demo/outage", "--at", "2020-01-01T00:00:00Z", "--format", "table"];
    let outcome = faultline(&args);
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stdout.contains("no telemetry around it"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("the outage goes from 2024-03-12T"), "{}", outcome.stderr);
}

#[test]
fn diagnose_asks_which_of_several_clusters_is_meant() {
    let dir = TempDir::new().unwrap();
    let rows = |clusters: &[&str]| {
        let mut rows = "ts,cluster,service,instance,metric,value\n".to_owned();
        for minute in 0..60 {
            for cluster in clusters {
                let value = if minute < 50 { 10 + minute % 3 } else { 90 };
                rows += &format!(
                    "2026-03-01T00:{minute:02}:00Z,{cluster},db,db-0,latency_ms,{value}\n"
                );
            }
        }
        fs::write(dir.path().join("metrics.csv"), rows).unwrap();
    };
    let path = text(dir.path());
    let ask = |more: &[&str]| {
        let args = ["diagnose", path.as_str(), "--at", "2026-03-01T00:50:00Z"];
        faultline(&[&args, more].concat())
    };
    rows(&["prod"]);
    let only = ask(&[]);
    assert!(only.code == Some(0) && only.stdout.contains(" 1  db-0 "), "{only:?}");
    rows(&["prod", "test"]);
    assert!(ask(&["--cluster", "prod"]).stdout.contains(" 1  db-0 "));
    for (more, part) in [(&[][..], "prod, test"), (&["--cluster", "pord"], "no rows of cluster")] {
        let refused = ask(more);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains(part) && refused.stdout.is_empty(), "{refused:?}");
    }
}

/// Lines of an earlier incident that the user names are not usual at a later one.
#[test]
fn diagnose_does_not_take_an_earlier_moment_for_usual() {
    let dir = TempDir::new().unwrap();
    let mut lines = String::new();
    for minute in 0..60 {
        let line = |second: usize, severity: &str, body: &str| {
            format!(
                "{{\"ts\":\"2026-03-01T00:{minute:02}:{second:02}Z\",\"service\":\"db\",\
                 \"severity\":\"{severity}\",\"body\":\"{body}\"}}\n"
            )
        };
        for second in 0..20 {
            lines += &line(second, "INFO", "served a request");
            if (44..54).contains(&minute) {
                lines += &line(second + 20, "ERROR", "no connection left");
            }
        }
    }
    fs::write(dir.path().join("logs.jsonl"), lines).unwrap();
    let path = text(dir.path());
    let (first, second) = ("2026-03-01T00:44:00Z", "2026-03-01T00:49:00Z");
    let alone = done(&["diagnose", &path, "--at", second]);
    assert!(!alone.contains("new log template"), "{alone}");
    // In whatever order they are named.
    for at in [[first, second], [second, first]] {
        let both = done(&["diagnose", &path, "--at", at[0], "--at", at[1]]);
        let (_, later) = both.split_once(&format!("at {second}")).unwrap();
        let later = later.split("\nat ").next().unwrap();
        assert!(later.contains("new log template, 100 lines where 0 are usual"), "{both}");
    }
}

#[test]
fn a_replay_that_finds_nothing_does_not_claim_to_be_known() {
    let dir = TempDir::new().unwrap();
    let archive = text(&dir.path().join("archive"));
    let job = "sql/detect/silent_series.sql";
    let told = done(&["replay", "demo/outage", "--jobs", job, "--archive", &archive]);
    assert!(told.contains("0 signals, 0 incidents"), "{told}");
    assert!(told.contains("(there was nothing to keep)") && !told.contains("already"), "{told}");
}

#[test]
fn a_piped_statement_that_fails_is_told_by_the_exit_code() {
    let dir = TempDir::new().unwrap();
    let archive = text(&dir.path().join("archive"));
    done(&["replay", "demo/outage", "--archive", &archive]);
    for (sql, code, answers) in [
        ("SELECT 1 AS one;\nSELECT 2 AS two;\n", 0, ["one", "two"]),
        ("SELECT nope FROM incidents;\nSELECT 2 AS two;\n", 2, ["", "two"]),
    ] {
        let file = dir.path().join("statements.sql");
        fs::write(&file, sql).unwrap();
        let mut query = command(&["query", "--archive", &archive]);
        let ended = query.stdin(fs::File::open(&file).unwrap()).output().unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(answers.iter().all(|answer| said.contains(answer)), "{said}");
    }
}

/// A reader that stops reading, as `head` does.
#[test]
fn a_pipe_that_closes_early_is_no_failure() {
    let dir = TempDir::new().unwrap();
    let archive = text(&dir.path().join("archive"));
    done(&["replay", "demo/outage", "--archive", &archive]);
    for args in [
        &["explain", "sql/detect/metric_level.sql"][..],
        &["completions", "bash"],
        &["check", "--jobs", "sql/detect"],
        &["query", "--archive", &archive, "SELECT * FROM metrics"],
    ] {
        let mut child =
            command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), said.contains("ERROR")), (Some(0), false), "{said}");
    }
}

#[test]
fn ctrl_c_ends_a_command_that_waits() {
    let dir = TempDir::new().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut running = Running(command(&["templates", &text(&pipe)]).spawn().unwrap());
    // Opening the other end succeeds once the program has opened its own.
    let _writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    signal(&running.0, "INT");
    assert_eq!(running.wait(), Some(130));
}

#[test]
fn templates_of_a_log() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("app.log");
    let lines = (0..50).map(|i| format!("connection {i} from 10.0.0.{i} closed after {i} ms\n"));
    let lines = lines.chain(["disk \"sda\" is full, \u{1b}[31mgiving \u{202e}up\n".to_owned()]);
    fs::write(&log, lines.collect::<String>()).unwrap();
    let table = quiet(&["templates", &text(&log)]);
    let most = table.lines().nth(1).unwrap();
    assert!(most.trim_start().starts_with("50 "), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(!table.contains(['\u{1b}', '\u{202e}']), "a terminal would obey it");
    assert!(table.contains("giving \\u{202e}up"), "{table}");
    let csv = quiet(&["templates", &text(&log), "--format", "csv"]);
    assert_eq!(csv.lines().count(), 52);
    assert_eq!(csv.lines().next(), Some("line,template"));
    let first = |line: usize| csv.lines().nth(line).unwrap().split_once(',').unwrap().1.to_owned();
    assert_eq!(first(1), first(50));
    assert_ne!(first(1), first(51));
    let read = command(&["templates", "-"]).stdin(fs::File::open(&log).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8(read.stdout).unwrap(), table, "standard input");
    assert!(Command::new("gzip").arg(&log).status().unwrap().success());
    let zipped = dir.path().join("app.log.gz");
    assert_eq!(quiet(&["templates", &text(&zipped)]), table);
    // What a cut file still holds is told, and that it is cut.
    let whole = fs::read(&zipped).unwrap();
    fs::write(&zipped, &whole[..whole.len() - 20]).unwrap();
    let cut = faultline(&["templates", &text(&zipped)]);
    assert_eq!(cut.code, Some(2), "{cut:?}");
    assert!(cut.stdout.contains("connection <*> from"), "{cut:?}");
    assert!(cut.stderr.contains("and what follows cannot be read"), "{cut:?}");
}

#[test]
fn templates_of_more_kinds_than_are_kept_are_none_of_them_empty() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("many.log");
    let word = |mut n: usize| {
        let mut word = String::new();
        for _ in 0..5 {
            word.push(char::from(b'a' + (n % 26) as u8));
            n /= 26;
        }
        word
    };
    let line = |n: usize| {
        let words = [n, 3 * n, 5 * n, 7 * n].map(word).join(" ");
        format!("{words} done {}\n", word(11 * n))
    };
    fs::write(&log, (0..20_000).map(line).collect::<String>()).unwrap();
    let csv = faultline(&["templates", &text(&log), "--format", "csv"]);
    assert_eq!((csv.code, csv.stdout.lines().count()), (Some(0), 20_001));
    assert!(!csv.stdout.contains(",\"\""), "every line has its template");
    assert!(csv.stderr.contains("more than 8192 kinds of lines"), "{}", csv.stderr);
    let table = faultline(&["templates", &text(&log)]).stdout;
    let count = |row: &str| row.split_whitespace().next().unwrap().parse::<u64>().unwrap();
    assert_eq!(table.lines().skip(1).map(count).sum::<u64>(), 20_000);
}

#[test]
fn templates_of_stack_traces_are_those_of_their_heads() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("trace.log");
    let trace = "ERROR request failed\njava.io.IOException: reset\n\tat a.B.c(B.java:1)\n\
                 Caused by: x.YError: z\n\t... 3 more\n";
    let blank = "\u{9b}31mred\n\nINFO fine\n";
    fs::write(&log, trace.repeat(20) + blank).unwrap();
    let csv = quiet(&["templates", &text(&log), "--format", "csv"]);
    let rows: Vec<&str> = csv.lines().skip(1).map(|l| l.split_once(',').unwrap().1).collect();
    assert_eq!(rows.len(), 103);
    assert!(rows[..100].iter().all(|row| *row == "\"ERROR request failed\""), "{csv}");
    assert_eq!(rows[101..], ["\"\"", "\"INFO fine\""]);
    assert!(!csv.contains('\u{9b}'), "a terminal would obey it");
    let table = quiet(&["templates", &text(&log)]);
    assert!(table.lines().nth(1).unwrap().trim_start().starts_with("20 "), "{table}");
}

#[test]
fn completions_and_help() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(quiet(&["completions", shell]).contains("diagnose"), "{shell}");
    }
    let help = quiet(&["--help"]);
    assert!(help.contains("Exit codes") && !help.contains("generate"), "{help}");
    for command in help.lines().filter_map(|l| l.strip_prefix("  ")?.split(' ').next()) {
        if matches!(command, "" | "-h," | "-V," | "faultline" | "help") {
            continue;
        }
        if !command.starts_with('-') {
            assert!(quiet(&[command, "--help"]).contains("Usage: faultline"), "{command}");
        }
    }
    assert!(quiet(&["--version"]).starts_with("faultline "));
}

#[test]
fn check_reads_a_whole_archive() {
    let (outage, dir) = (Outage::new(), TempDir::new().unwrap());
    let archive = dir.path().join("archive");
    replay(outage.path(), &archive, &[]);
    let check = ["check", "--archive", &text(&archive)];
    assert_eq!(quiet(&check), format!("{}: ok\n", text(&archive)));
    let incidents = archive.join("incidents");
    let parts = walkdir(&incidents).into_iter().filter(|path| path.ends_with(".parquet"));
    let part = parts.min().unwrap();
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, bytes).unwrap();
    let outcome = faultline(&check);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.starts_with(&part), "{outcome:?}");
    assert!(outcome.stderr.contains("damaged files: 1;"), "{outcome:?}");
}

/// No query notices either: one reads as a commit of nothing, the other as a table without rows.
#[test]
fn check_finds_an_emptied_commit_and_a_table_that_is_gone() {
    let (outage, dir) = (Outage::new(), TempDir::new().unwrap());
    let archive = dir.path().join("archive");
    replay(outage.path(), &archive, &[]);
    let entry = archive.join("signals/_delta_log/00000000000000000001.json");
    fs::write(&entry, "").unwrap();
    fs::remove_dir_all(archive.join("evidence")).unwrap();
    let outcome = faultline(&["check", "--archive", &text(&archive)]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let said: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(said.len(), 2, "{outcome:?}");
    assert!(said[0].starts_with(&format!("{}: the table is", text(&archive.join("evidence")))));
    assert!(said[1].starts_with(&text(&entry)) && said[1].contains("empty"), "{outcome:?}");
    assert!(outcome.stderr.contains("damaged files: 2;"), "{outcome:?}");
}

/// Also where it is the demo's, which brings its own input.
#[test]
fn a_folder_that_cannot_be_written_is_a_failure() {
    let nowhere = "/proc/faultline";
    for args in [
        &["demo", "--dir", nowhere][..],
        &["replay", "demo/outage", "--archive", "/proc/faultline/archive"],
    ] {
        let outcome = faultline(args);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(nowhere), "{outcome:?}");
    }
}

#[test]
fn one_is_no_plural() {
    let dir = TempDir::new().unwrap();
    let config = dir.path().join("one.toml");
    let toml = "archive = \"a\"\n[[tail]]\npath = \"m.csv\"\nstream = \"metrics\"\n";
    fs::write(&config, toml).unwrap();
    let all = quiet(&["check", "--config", &text(&config)]);
    assert!(all.contains(": ok, follows 1 file\n"), "{all}");
}

#[test]
fn a_damaged_log_concerns_its_own_table_only() {
    let (outage, dir) = (Outage::new(), TempDir::new().unwrap());
    let archive = dir.path().join("archive");
    replay(outage.path(), &archive, &[]);
    let incidents = "SELECT count(*) FROM incidents";
    let before = ask(&archive, incidents);
    let (place, log) = (text(&archive), archive.join("signals/_delta_log"));
    let refused = |why: &str| {
        assert_eq!(ask(&archive, incidents), before);
        let signals = faultline(&["query", "--archive", &place, "SELECT count(*) FROM signals"]);
        assert_eq!(signals.code, Some(1), "{why}: {signals:?}");
        assert!(signals.stderr.contains("the log of table signals cannot be read"), "{signals:?}");
        let check = faultline(&["check", "--archive", &place]);
        assert_eq!(check.code, Some(1), "{why}: {check:?}");
        assert!(check.stdout.starts_with(&text(&log)), "{check:?}");
        assert_eq!(check.stdout.lines().count(), 1, "{check:?}");
    };
    let mut entries = walkdir(&log);
    entries.sort();
    let newest = entries.pop().unwrap();
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() / 2]).unwrap();
    refused("a cut entry");
    fs::remove_file(&entries[0]).unwrap();
    refused("no first entry");
    fs::remove_dir_all(&log).unwrap();
    refused("no log beside files");
    let again = faultline(&["replay", &text(outage.path()), "--archive", &place]);
    assert_eq!(again.code, Some(1), "a new log would lose the files: {again:?}");
    assert!(again.stderr.contains("the log of table signals cannot be read"), "{again:?}");
}

/// Files below a folder.
fn walkdir(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { walkdir(&path) } else { vec![text(&path)] })
        .collect()
}

#[test]
fn what_cannot_be_written_is_a_failure() {
    let outage = Outage::new();
    let dir = text(outage.path());
    for args in [&["replay", &dir][..], &["diagnose", &dir, "--at", FAULT_AT]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command(args).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("the output"), "{args:?}: {said}");
    }
}

#[test]
fn diagnose_names_the_service_at_fault() {
    let outage = Outage::new();
    let dir = text(outage.path());
    let sound = "2024-03-12T06:30:00Z";
    let args = ["diagnose", &dir, "--at", FAULT_AT, "--at", sound, "--format", "jsonl"];
    let outcome = faultline(&args);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let answers: Vec<Value> =
        outcome.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(answers.len(), 2, "one line for each moment, in the order asked");
    assert_eq!((&answers[0]["at"], &answers[1]["at"]), (&FAULT_AT.into(), &sound.into()));
    let candidates = answers[0]["candidates"].as_array().unwrap();
    let first: Vec<&str> =
        candidates.iter().take(3).map(|c| c["service"].as_str().unwrap()).collect();
    assert!(first.contains(&FAULTY), "{first:?}");
    for candidate in candidates {
        assert!(candidate["instance"].is_string() && candidate["kind"].is_string());
        let score = candidate["score"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&score), "{candidate}");
        let evidence = candidate["evidence_ids"].as_array().unwrap();
        assert!(!evidence.is_empty(), "a cause without evidence: {candidate}");
    }
    let table = faultline(&["diagnose", &dir, "--at", FAULT_AT]).stdout;
    assert!(table.starts_with(&format!("at {FAULT_AT}\n   1  ")), "{table}");
    assert_eq!((&answers[0]["weak"], &answers[1]["weak"]), (&false.into(), &true.into()));
    let table = faultline(&["diagnose", &dir, "--at", sound]).stdout;
    assert!(table.contains("\n  nothing stands out: moments without a fault"), "{table}");
}
