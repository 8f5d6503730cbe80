//! SIGTERM, by which a system ends its services, is what Ctrl-C is.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use faultline::knowledge::Writer;
use tempfile::TempDir;

use crate::accounts::Accounts;
use crate::program::{Running, block_on, command, signal, text, until};

/// Waits until the program has a handler for SIGTERM.
fn listens(run: &Running) {
    let status = format!("/proc/{}/status", run.0.id());
    until("a handler", || {
        let status = fs::read_to_string(&status).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        // Signals are numbered from 1, and SIGTERM is 15.
        (caught >> 14 & 1 == 1).then_some(())
    });
}

#[test]
fn a_statement_and_a_prompt_end() {
    let dir = TempDir::new().unwrap();
    block_on(Writer::open(dir.path())).unwrap();
    let archive = text(dir.path());
    let endless = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    for sql in [&[endless][..], &[]] {
        let mut query = command(&[&["query", "--archive", &archive], sql].concat());
        // The other end stays open: the prompt has something to wait for.
        query.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut run = Running(query.spawn().unwrap());
        listens(&run);
        signal(&run.0, "TERM");
        assert_eq!(run.wait(), Some(130), "{sql:?}");
    }
}

/// Rows of one batch come at their time too: the third is an hour away.
#[test]
fn a_replay_at_the_recorded_speed_ends_between_two_rows() {
    let dir = TempDir::new().unwrap();
    let rows = "ts,service,instance,metric,value\n\
                2024-05-01T00:00:00Z,api,api-0,cpu,1\n\
                2024-05-01T00:00:02Z,api,api-0,cpu,1\n\
                2024-05-01T01:00:00Z,api,api-0,cpu,1\n";
    let job = "\
INSERT INTO signals
SELECT cluster, service, '' AS instance, 'm' AS metric, window.start AS a, window.end AS b,
       9.0 AS score, total, 0.0 AS expected, 'up' AS direction, false AS c, false AS d, '' AS e
FROM (
  SELECT cluster, service, sum(value) AS total, tumble(interval '1 second') AS window
  FROM metrics
  GROUP BY cluster, service, window
)
";
    fs::create_dir(dir.path().join("outage")).unwrap();
    fs::write(dir.path().join("outage/metrics.csv"), rows).unwrap();
    fs::write(dir.path().join("each.sql"), job).unwrap();
    let [outage, job] = ["outage", "each.sql"].map(|name| text(&dir.path().join(name)));
    let args = ["replay", &outage, "--jobs", &job, "--speed", "1x", "--signals"];
    let mut run = Running(command(&args).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(run.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told = (&mut lines).filter(|line| line.contains("  signal  ")).take(2).count();
    assert_eq!(told, 2);
    signal(&run.0, "TERM");
    assert_eq!(run.wait(), Some(130));
    let summary = lines.collect::<Vec<_>>().join("\n");
    let accounts = Accounts::read(&summary);
    assert_eq!((accounts.received, accounts.in_flight), (3, 1), "{summary}");
    assert!(summary.contains("2 signals"), "{summary}");
}
