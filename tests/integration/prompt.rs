//! `faultline query` with statements from a pipe, and its answers as text.

use std::io::Write;
use std::process::Stdio;

use faultline::knowledge::Writer;
use tempfile::TempDir;

use crate::program::{Outcome, block_on, command, done, text};

/// An archive without a row.
fn archive() -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    block_on(Writer::open(dir.path())).unwrap();
    let path = text(dir.path());
    (dir, path)
}

/// What comes of this text on standard input; `stderr` is taken where it is a pipe.
fn piped(archive: &str, input: &str, stderr: Stdio) -> Outcome {
    let mut query = command(&["query", "--archive", archive]);
    query.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
    let mut running = query.spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ended = running.wait_with_output().unwrap();
    Outcome {
        code: ended.status.code(),
        stdout: String::from_utf8(ended.stdout).unwrap(),
        stderr: String::from_utf8(ended.stderr).unwrap(),
    }
}

#[test]
fn what_stands_last_in_a_pipe_needs_no_semicolon() {
    let (_dir, archive) = archive();
    for (input, code, answers) in [
        ("SELECT 1 AS one", 0, &["one"][..]),
        ("SELECT 1 AS one;\nSELECT\n2 AS two -- the end\n", 0, &["one", "two"]),
        ("SELEC 1", 2, &[]),
        ("SELECT 1 AS one;\nSELECT 'open", 2, &["one"]),
        ("-- nothing but a comment\n", 0, &[]),
    ] {
        let ended = piped(&archive, input, Stdio::piped());
        assert_eq!(ended.code, Some(code), "{input:?}: {ended:?}");
        assert!(answers.iter().all(|word| ended.stdout.contains(word)), "{input:?}: {ended:?}");
        assert_eq!(ended.stdout.is_empty(), answers.is_empty(), "{input:?}: {ended:?}");
        assert_eq!(ended.stderr.contains("query refused"), code == 2, "{input:?}: {ended:?}");
    }
}

#[test]
fn words_that_stand_alone_leave_or_help() {
    let (_dir, archive) = archive();
    for word in ["exit", "QUIT;", "\\q"] {
        let ended = piped(&archive, &format!("help\n{word}\nSELECT 1 AS one;\n"), Stdio::piped());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{word}");
        assert!(ended.stdout.starts_with("\\d ") && !ended.stdout.contains("one"), "{ended:?}");
    }
    let inside = piped(&archive, "SELECT 1 AS\nhelp\n;\n", Stdio::piped());
    assert!(inside.code == Some(0) && inside.stdout.starts_with("help\n"), "{inside:?}");
}

/// A message that nobody can take changes nothing else.
#[test]
fn a_full_standard_error_does_not_change_the_exit_code() {
    let (_dir, archive) = archive();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let refused = command(&["query", "--archive", &archive, "SELEC 1"]).stderr(full()).status();
    assert_eq!(refused.unwrap().code(), Some(2));
    let mixed = piped(&archive, "SELEC 1;\nSELECT 2 AS two;\n", full().into());
    assert!(mixed.code == Some(2) && mixed.stdout.contains("two"), "{mixed:?}");
}

#[test]
fn a_table_that_is_no_terminal_shows_whole_values_and_plans_have_lines() {
    let (_dir, archive) = archive();
    let long = "x".repeat(5_000);
    let ask = |sql: &str| done(&["query", "--archive", &archive, sql]);
    let table = ask(&format!("SELECT '{long}' AS long, 7 AS seven"));
    assert!(table.contains(&format!("{long}  ")) && !table.contains('…'), "{table}");
    let plan = ask("EXPLAIN SELECT title FROM incidents WHERE severity = 'warning'");
    let lines: Vec<&str> = plan.lines().collect();
    assert_eq!(lines[0], "logical_plan", "{plan}");
    assert!(lines.contains(&"physical_plan") && lines.len() > 5, "{plan}");
    assert!(lines.iter().any(|line| line.trim_start().starts_with("TableScan: ")), "{plan}");
    assert!(!plan.contains("\\x0a"), "{plan}");
    let tables = ask("SHOW TABLES");
    let rows: Vec<&str> = tables.lines().skip(2).filter(|l| l.starts_with("faultline")).collect();
    assert!(rows.len() > 10 && rows.is_sorted(), "{tables}");
}
