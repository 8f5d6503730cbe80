//! A replay that is stopped at any moment and started again leaves what an undisturbed one leaves.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::archive::{Contents, commits, contents, count, repeated};
use crate::outage::{Outage, write_lines};
use crate::program::{Running, command, position, replay, signal, text, until};
use crate::random::Random;

const KILLS: usize = 52;

/// One job is enough to fill every table, and lets a run be short.
const JOBS: [&str; 2] = ["--jobs", "sql/detect/metric_level.sql"];

fn start(dir: &Path, archive: &Path, more: &[&str]) -> Running {
    let (dir, archive) = (text(dir), text(archive));
    let args = [&["replay", &dir, "--archive", &archive], &JOBS[..], more].concat();
    let null = || Stdio::from(File::options().write(true).open("/dev/null").unwrap());
    Running(command(&args).stdout(null()).stderr(null()).spawn().unwrap())
}

/// An undisturbed replay: what it leaves and how long it takes.
fn undisturbed(outage: &Outage, more: &[&str]) -> (Contents, Duration) {
    let archives = TempDir::new().unwrap();
    let archive = archives.path().join("archive");
    let started = Instant::now();
    replay(outage.path(), &archive, &[&JOBS, more].concat());
    let took = started.elapsed();
    let rows = contents(&archive);
    assert!(count(&rows, "incidents") > 0, "a test without an incident shows nothing");
    (rows, took)
}

/// Every other kill comes at a random moment of the run's whole time; the rest come right after
/// the archive has changed, where a run is most easily hurt: between two of its commits.
#[test]
fn kills_at_any_moment_lose_and_repeat_nothing() {
    let outage = Outage::new();
    let (expected, took) = undisturbed(&outage, &[]);
    let archives = TempDir::new().unwrap();
    let archive = archives.path().join("archive");
    let mut random = Random::new(20_240_312);
    let mut killed = 0;
    for attempt in 0..10 * KILLS {
        if killed == KILLS {
            break;
        }
        let before = commits(&archive);
        let mut run = start(outage.path(), &archive, &[]);
        let started = Instant::now();
        let moment = took.mul_f64(random.unit());
        let pause = Duration::from_micros(random.below(3_000));
        let ended = until("a moment to kill at", || {
            let due = match attempt % 2 {
                0 => started.elapsed() >= moment,
                _ => commits(&archive) > before,
            };
            let ended = run.0.try_wait().unwrap().is_some();
            (ended || due).then_some(ended)
        });
        if ended {
            continue;
        }
        std::thread::sleep(pause);
        run.0.kill().unwrap();
        killed += usize::from(run.wait().is_none());
    }
    assert_eq!(killed, KILLS, "runs ended before they were killed");
    assert_eq!(repeated(&archive), Vec::<String>::new(), "before the last run");
    replay(outage.path(), &archive, &JOBS);
    let rows = contents(&archive);
    for (table, rows) in &rows {
        assert_eq!(rows, &expected[table], "{table}");
    }
    assert_eq!(repeated(&archive), Vec::<String>::new());
}

/// Ctrl-C is no kill: the program ends by itself and says so, and the next run makes good, also
/// the dead letters that it had not come to.
#[test]
fn an_interrupted_replay_is_completed_by_the_next() {
    // Row by row, so that most of the time goes by while rows are read.
    let slowly = ["--batch-rows", "1"];
    let outage = Outage::new();
    let mut rows = outage.lines("metrics.csv");
    for at in [1, rows.len() - 1] {
        let (series, _) = rows[at].rsplit_once(',').unwrap();
        let bad = format!("{series},NaN");
        rows.insert(at, bad);
    }
    write_lines(&outage.file("metrics.csv"), &rows);
    let (expected, took) = undisturbed(&outage, &slowly);
    assert_eq!(count(&expected, "dead_letters"), 2);
    let mut interrupted = 0;
    for share in [0.2, 0.35, 0.5, 0.65, 0.8] {
        let archives = TempDir::new().unwrap();
        let archive = archives.path().join("archive");
        let mut run = start(outage.path(), &archive, &slowly);
        let started = Instant::now();
        until("the moment", || (started.elapsed() >= took.mul_f64(share)).then_some(()));
        if run.0.try_wait().unwrap().is_none() {
            signal(&run.0, "INT");
        }
        let code = run.wait();
        // Before it listens to signals the program ends like any other; after the input it is done.
        interrupted += usize::from(code == Some(130));
        assert!(matches!(code, None | Some(0 | 130)), "{code:?}");
        replay(outage.path(), &archive, &[&JOBS, &slowly[..]].concat());
        for (table, rows) in &contents(&archive) {
            assert_eq!(rows, &expected[table], "{table} after an interrupt at {share}");
        }
        assert_eq!(repeated(&archive), Vec::<String>::new());
    }
    assert!(interrupted > 0, "no run was interrupted");
}

/// A limit on the size of files stands for the full disk: writing fails in the same way.
#[test]
fn a_full_disk_is_named_and_the_next_run_completes_the_archive() {
    let outage = Outage::new();
    let (expected, _) = undisturbed(&outage, &[]);
    let archives = TempDir::new().unwrap();
    let archive = archives.path().join("archive");
    let args = ["replay", &text(outage.path()), "--archive", &text(&archive), JOBS[0], JOBS[1]];
    let program = command(&args);
    for blocks in ["4", "16"] {
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
        limited.arg(program.get_program()).args(program.get_args());
        let failed = limited.output().unwrap();
        let said = String::from_utf8_lossy(&failed.stderr);
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(said.contains("File too large") && said.contains("archive"), "{said}");
    }
    replay(outage.path(), &archive, &JOBS);
    for (table, rows) in &contents(&archive) {
        assert_eq!(rows, &expected[table], "{table}");
    }
    assert_eq!(repeated(&archive), Vec::<String>::new());
}

/// A replay at the recorded speed spends its time waiting, and must hear Ctrl-C while it does.
#[test]
fn a_waiting_replay_can_be_interrupted() {
    let outage = Outage::new();
    let archives = TempDir::new().unwrap();
    let archive = archives.path().join("archive");
    // One stream only: its second batch is half an hour behind its first.
    for name in ["logs.jsonl", "spans.jsonl", "changes.jsonl"] {
        fs::remove_file(outage.file(name)).unwrap();
    }
    let mut run = start(outage.path(), &archive, &["--speed", "1x"]);
    let metrics = outage.file("metrics.csv");
    let far = fs::metadata(&metrics).unwrap().len() / 2;
    until("the middle of the file", || (position(&run.0, &metrics)? >= far).then_some(()));
    let (mut before, mut same) = (String::new(), 0);
    until("a program that waits", || {
        let now = processor_time(&run);
        same = if now == before { same + 1 } else { 0 };
        before = now;
        (same == 40).then_some(())
    });
    assert!(run.0.try_wait().unwrap().is_none());
    signal(&run.0, "INT");
    assert_eq!(run.wait(), Some(130));
}

/// What the program has used of the processor, as the kernel counts it.
fn processor_time(run: &Running) -> String {
    let stat = fs::read_to_string(format!("/proc/{}/stat", run.0.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
    // The 14th and 15th field of proc_pid_stat(5).
    fields[12..14].join(" ")
}
