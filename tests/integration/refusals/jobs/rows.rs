//! Rows that the SQL of a job cannot work with.

use std::io::Read;
use std::process::Stdio;

use super::*;
use crate::program::{Running, ask, command, done};

/// Wherever in a job its SQL fails on a row, the job goes on without it, and so does every other.
#[test]
fn rows_that_a_job_fails_on_are_dead_letters_with_the_remedy() {
    let sound = job("tumble(interval '1 minute')");
    let of_rows = |from: &str, to: &str| {
        assert!(sound.contains(from));
        sound.replacen(from, to, 1)
    };
    let seventh = "CAST(7 / CAST(value AS BIGINT) AS DOUBLE)";
    let zero = "division by zero; divide by NULLIF(x, 0) instead of x";
    let cases = [
        ("select", scored("CAST(7 / CAST(total AS BIGINT) AS DOUBLE)"), zero, 1),
        ("aggregate", of_rows("sum(value)", &format!("sum({seventh})")), zero, 1),
        ("key", of_rows("service, window\n", &format!("service, {seventh}, window\n")), zero, 1),
        ("where", of_rows("FROM metrics", &format!("FROM metrics WHERE {seventh} > 1")), zero, 1),
        ("state", scored("highest(7 / CAST(total AS BIGINT)) OVER (ORDER BY window)"), zero, 1),
        ("cast", scored("CAST(service AS DOUBLE)"), "write TRY_CAST instead of CAST", 0),
        ("window", scored("max(7 / CAST(total AS BIGINT)) OVER (PARTITION BY window)"), zero, 1),
    ];
    for (name, sql, detail, signals) in cases {
        let (dir, outage, job) = hour_with_job(&sql);
        let archive = dir.path().join("archive");
        let args = ["replay", &outage, "--jobs", &job, "--archive", &text(&archive)];
        let outcome = faultline(&args);
        assert_eq!(outcome.code, Some(0), "{name}: {outcome:?}");
        assert!(
            outcome.stdout.contains(" in jobs set aside as dead letters: expression"),
            "{outcome:?}"
        );
        let letters = ask(&archive, "SELECT stream, file, rows, reason, detail FROM dead_letters");
        let failed = 2 - usize::from(name != "cast");
        assert_eq!(letters.lines().count(), 1 + failed, "{name}: {letters}");
        assert!(
            letters.contains("broken.sql,1,expression,") && letters.contains(detail),
            "{letters}"
        );
        let text = ask(&archive, "SELECT text FROM dead_letters");
        assert!(text.contains("service=api"), "{name}: {text}");
        let told = ask(&archive, "SELECT count(*) AS n FROM signals");
        assert_eq!(told, format!("n\n{signals}\n"), "{name}");
    }
}

#[test]
fn the_same_rows_are_set_aside_whatever_the_batches() {
    let sound = job("tumble(interval '1 minute')");
    let seventh = "CAST(7 / CAST(value AS BIGINT) AS DOUBLE)";
    let broken = sound.replace("sum(value)", &format!("sum({seventh})"));
    // What guards a division guards it in every batch.
    let guarded = format!("FROM metrics WHERE value <> 0 AND {seventh} > 1 ");
    let guarded = sound.replace("FROM metrics", &guarded);
    for (sql, failed) in [(broken, 120), (guarded, 0)] {
        let (dir, outage, job) = hour_with_job(&sql);
        let row = |i: u32| {
            format!("2024-05-01T00:{:02}:{:02}Z,api,api-{},cpu,{}\n", i / 60, i % 60, i % 3, i % 5)
        };
        let rows: String = (0..600).map(row).collect();
        file(
            dir.path(),
            "outage/metrics.csv",
            "ts,service,instance,metric,value\n".to_owned() + &rows,
        );
        let by = |batch_rows: &str| {
            let archive = dir.path().join(batch_rows);
            let outcome = faultline(&[
                "replay",
                &outage,
                "--jobs",
                &job,
                "--archive",
                &text(&archive),
                "--batch-rows",
                batch_rows,
            ]);
            assert_eq!(outcome.code, Some(0), "{outcome:?}");
            let letters =
                ask(&archive, "SELECT rows, detail, text FROM dead_letters ORDER BY text");
            (letters, ask(&archive, "SELECT window_end, score, observed FROM signals ORDER BY 1"))
        };
        let whole = by("8192");
        assert_eq!(whole.0.lines().count(), 1 + failed, "{}", whole.0);
        assert_eq!(whole.1.lines().count(), 1 + 10, "{}", whole.1);
        assert_eq!((by("1"), by("97")), (whole.clone(), whole));
    }
}

#[test]
fn dead_letters_of_jobs_are_cut_and_escaped() {
    let sql = scored("CAST(concat(service, chr(27), repeat('[2J', 500)) AS DOUBLE)");
    let (dir, outage, job) = hour_with_job(&sql);
    let archive = dir.path().join("archive");
    let args = ["replay", &outage, "--jobs", &job, "--archive", &text(&archive)];
    let outcome = faultline(&args);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let letters = ask(&archive, "SELECT detail, text FROM dead_letters");
    assert!(letters.contains("api\\x1b[2J"), "{letters}");
    assert!(!letters.contains('\u{1b}') && letters.len() < 2_000, "{letters}");
}

/// A job that is wrong fails on every row: the archive gets some of them, and how many there were.
#[test]
fn of_very_many_rows_the_last_letter_stands_for_the_rest() {
    let sound = job("tumble(interval '1 minute')");
    let (dir, outage, job) =
        hour_with_job(&sound.replace("sum(value)", "sum(CAST(service AS INT))"));
    let row = |i: u32| format!("2024-05-01T00:{:02}:{:02}Z,api,a,cpu,1\n", i / 60, i % 60);
    let rows: String = (0..1_500).map(row).collect();
    file(dir.path(), "outage/metrics.csv", "ts,service,instance,metric,value\n".to_owned() + &rows);
    let archive = dir.path().join("archive");
    done(&["replay", &outage, "--jobs", &job, "--archive", &text(&archive)]);
    let counts = ask(&archive, "SELECT count(*), sum(rows), max(rows) FROM dead_letters");
    assert_eq!(counts.lines().nth(1), Some("1000,1500,501"), "{counts}");
}

/// A replay that waits for its recorded time ends as soon as something has failed.
#[test]
fn a_paced_replay_does_not_sleep_through_an_error() {
    let large = "CAST('9999999999999999999999999999999999' AS DECIMAL(38,4))";
    let seconds = job("tumble(interval '1 second')");
    let overflow = seconds.replace("sum(value)", &format!("CAST(avg({large}) AS DOUBLE)"));
    let (dir, outage, job) = hour_with_job(&overflow);
    // The second row closes the window of the first; the third is hours away.
    let rows = ["01T00:00:00", "01T00:00:08", "02T00:00:00"];
    let rows = rows.map(|at| format!("2024-05-{at}Z,api,api-0,cpu,1\n")).concat();
    let metrics = format!("ts,service,instance,metric,value\n{rows}");
    file(dir.path(), "outage/metrics.csv", metrics);
    let args = ["replay", &outage, "--jobs", &job, "--speed", "10x", "--batch-rows", "1"];
    let mut command = command(&args);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = Running(command.spawn().unwrap());
    assert_eq!(run.wait(), Some(1));
    let mut said = String::new();
    run.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("Overflow"), "{said}");
}
