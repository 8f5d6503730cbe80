//! `faultline run` on files that this test writes as a service would.

mod state;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use faultline::source::timestamp;

use crate::accounts::Accounts;
use crate::archive::{contents, count, repeated};
use crate::outage::{FAULTY, Outage, TIMED, time_of};
use crate::program::{PATIENCE, Running, ask, command, done, faultline, signal, text, until};
use crate::random::Random;

/// A folder with a configuration, the files it follows, and an archive.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self::with("")
    }

    /// With more sections in its configuration.
    fn with(sections: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let archive = text(&dir.path().join("archive"));
        let mut config =
            format!("cluster = \"test\"\narchive = {archive:?}\ncheckpoint = \"50ms\"\n");
        for name in TIMED {
            let stream = name.split('.').next().unwrap();
            let path = text(&dir.path().join(name));
            config += &format!("[[tail]]\npath = {path:?}\nstream = {stream:?}\n");
        }
        fs::write(dir.path().join("faultline.toml"), config + sections).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.file("archive")
    }

    fn start(&self) -> Live {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[&str]) -> Live {
        let config = text(&self.file("faultline.toml"));
        self.spawn(command(&[&["run", "--config", &config], more].concat()))
    }

    /// A run that outlives a limit on the size of its files, which stands for a full disk.
    fn start_limitable(&self) -> Live {
        let program = command(&["run", "--config", &text(&self.file("faultline.toml"))]);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).stdin(Stdio::null());
        shell.arg(program.get_program()).args(program.get_args());
        self.spawn(shell)
    }

    fn spawn(&self, command: std::process::Command) -> Live {
        let log = File::create(self.file("stderr")).unwrap();
        self.spawn_with(command, log.into())
    }

    fn spawn_with(&self, mut command: std::process::Command, stderr: Stdio) -> Live {
        let child = command.stdout(Stdio::piped()).stderr(stderr).spawn();
        let mut run = Running(child.unwrap());
        let (send, lines) = channel();
        let stdout = BufReader::new(run.0.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Live { run, lines, log: self.file("stderr"), state: self.archive().join("_state") }
    }
}

/// A running program and the lines that it prints.
struct Live {
    run: Running,
    lines: Receiver<String>,
    /// What it writes to standard error.
    log: PathBuf,
    state: PathBuf,
}

impl Live {
    /// Waits for a line with this word.
    fn says(&self, word: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|e| {
                let log = fs::read_to_string(&self.log).unwrap();
                panic!("{word:?} was never printed: {e}: {log}")
            });
            if line.contains(word) {
                return line;
            }
        }
    }

    /// Waits until its log holds this text.
    fn logs(&self, text: &str) {
        until(text, || fs::read_to_string(&self.log).unwrap().contains(text).then_some(()));
    }

    /// Sets the largest size of a file that it may write.
    fn limit_files(&self, bytes: &str) {
        let (pid, fsize) = (self.run.0.id().to_string(), format!("--fsize={bytes}:"));
        let mut prlimit = std::process::Command::new("prlimit");
        assert!(prlimit.args(["--pid", &pid, &fsize]).status().unwrap().success());
    }

    /// Waits until a checkpoint lies behind every row that the files hold now.
    fn has_taken(&self, paths: &[&Path]) {
        for path in paths {
            let meta = fs::metadata(path).unwrap();
            let taken = |file: &Value| {
                file["path"] == text(path)
                    && file["identity"]["ino"] == meta.ino()
                    && file["offset"].as_u64() >= Some(meta.len())
            };
            until(&format!("a checkpoint behind {}", path.display()), || {
                let noted = self.noted()?;
                let files = noted["meta"]["origins"][0]["position"]["files"].as_array()?;
                files.iter().any(taken).then_some(())
            });
        }
    }

    /// The newest checkpoint, as far as it can be read while the program goes on.
    fn noted(&self) -> Option<Value> {
        let epochs = fs::read_dir(&self.state).ok()?.filter_map(|e| Some(e.ok()?.path()));
        let newest = epochs.filter(|p| p.is_dir() && p.extension().is_none()).max()?;
        serde_json::from_slice(&fs::read(newest.join("manifest.json")).ok()?).ok()
    }

    /// Ctrl-C; returns the accounts of the whole run.
    fn interrupt(self) -> Accounts {
        self.stop("INT")
    }

    fn stop(mut self, name: &str) -> Accounts {
        signal(&self.run.0, name);
        let summary = self.says(" processed, ");
        assert_eq!(self.run.wait(), Some(130));
        Accounts::read(&summary)
    }
}

fn append(path: &Path, lines: &[String]) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
}

/// Rows of a file, without the header of metrics, by the minute of the outage.
struct Rows {
    header: Vec<String>,
    rows: Vec<String>,
}

impl Rows {
    fn of(outage: &Outage, name: &str) -> Self {
        let mut header = outage.lines(name);
        let rows = header.split_off(usize::from(name.ends_with("csv")));
        Self { header, rows }
    }

    /// Rows of these twelfths of the outage, five minutes each.
    fn part(&self, twelfths: std::ops::Range<i64>) -> &[String] {
        let start = time_of(&self.rows[0]) / FIVE_MINUTES * FIVE_MINUTES;
        let at = |n| self.rows.partition_point(|r| time_of(r) < start + n * FIVE_MINUTES);
        &self.rows[at(twelfths.start)..at(twelfths.end)]
    }
}

const FIVE_MINUTES: i64 = 5 * faultline::model::MINUTE;

/// A receiver of notifications that is broken at first; what it was sent, in order.
fn receiver() -> (String, Receiver<Value>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/incidents", listener.local_addr().unwrap());
    let (send, messages) = channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).unwrap() > 2 {
                if let Some(("content-length", value)) = line.trim().split_once(": ") {
                    length = value.parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let status = if n == 0 { "503 Service Unavailable" } else { "200 OK" };
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if send.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, messages)
}

#[test]
fn a_receiver_is_told_of_an_incident_until_it_listens() {
    let (url, messages) = receiver();
    let (outage, site) = (Outage::new(), Site::with(&format!("[webhook]\nurl = {url:?}\n")));
    live_hour(&site, &outage, |live, _| live);
    // What the first run could not tell, the second does.
    let second = site.start();
    let told = || messages.recv_timeout(PATIENCE).unwrap();
    let (refused, taken) = (told(), told());
    let cause = |message: &Value| message["alerts"][0]["annotations"]["cause"].clone();
    assert_eq!(cause(&taken), Value::Null, "it was woken before anything was known");
    let explained = std::iter::repeat_with(told).find(|message| cause(message).is_string());
    let text = explained.unwrap()["alerts"][0]["annotations"]["cause"].to_string();
    assert!(text.contains(FAULTY) && text.contains("confidence"), "{text}");
    drop(second);
    assert_eq!(refused, taken);
    assert_eq!((&taken["version"], &taken["status"]), (&"4".into(), &"firing".into()));
    let id = taken["alerts"][0]["fingerprint"].as_str().unwrap();
    let sql = format!("SELECT count(*) FROM incidents WHERE incident_id = '{id}'");
    assert_eq!(ask(&site.archive(), &sql).lines().nth(1), Some("1"));
}

#[test]
fn growing_rotated_and_truncated_files_give_one_incident() {
    let (outage, site) = (Outage::new(), Site::new());
    let [metrics, logs, spans] = TIMED.map(|name| (Rows::of(&outage, name), site.file(name)));
    append(&metrics.1, &metrics.0.header);
    for (rows, path) in [&metrics, &logs, &spans] {
        append(path, rows.part(0..2));
    }
    let live = site.start();
    live.has_taken(&[&metrics.1, &logs.1, &spans.1]);
    for n in 2..4 {
        for (rows, path) in [&metrics, &logs, &spans] {
            append(path, rows.part(n..n + 1));
        }
    }
    // Rotation: what was written last to the old file is read before the new one.
    fs::rename(&metrics.1, site.file("metrics.csv.1")).unwrap();
    append(&metrics.1, &metrics.0.header);
    append(&metrics.1, metrics.0.part(4..5));
    // Truncation loses what was not read before, so this writer waits.
    live.has_taken(&[&logs.1]);
    File::create(&logs.1).unwrap();
    append(&logs.1, logs.0.part(4..5));
    append(&spans.1, spans.0.part(4..5));
    for n in 5..12 {
        for (rows, path) in [&metrics, &logs, &spans] {
            append(path, rows.part(n..n + 1));
        }
    }
    live.says("OPENED");
    live.says("INCIDENT");
    live.has_taken(&[&metrics.1, &logs.1, &spans.1]);
    let accounts = live.interrupt();
    let all: usize = [&metrics, &logs, &spans].iter().map(|(r, _)| r.rows.len()).sum();
    assert_eq!((accounts.received, accounts.late, accounts.dead), (all, 0, 0));
    let found = contents(&site.archive());
    assert_eq!(count(&found, "incidents"), 1, "{}", found["incidents"]);
    assert_eq!(repeated(&site.archive()), Vec::<String>::new());
}

/// Appends an hour of telemetry, five minutes at a time, and has `disturb` look at the run after
/// every part; then waits until all is taken in and interrupts.
fn live_hour(site: &Site, outage: &Outage, mut disturb: impl FnMut(Live, i64) -> Live) -> Accounts {
    let files = TIMED.map(|name| (Rows::of(outage, name), site.file(name)));
    append(&files[0].1, &files[0].0.header);
    let mut live = site.start();
    for n in 0..12 {
        for (rows, path) in &files {
            append(path, rows.part(n..n + 1));
        }
        live = disturb(live, n);
    }
    let paths = files.each_ref().map(|(_, path)| path.as_path());
    live.has_taken(&paths);
    let accounts = live.interrupt();
    let all: usize = files.iter().map(|(rows, _)| rows.rows.len()).sum();
    assert_eq!((accounts.received, accounts.late, accounts.dead), (all, 0, 0));
    accounts
}

/// Metrics that come every five minutes: a first diagnosis has a sample or two to read, and one is
/// made again when its window is over, which the archive has in place of the first.
#[test]
fn an_incident_of_coarse_metrics_is_diagnosed_again() {
    let site = Site::new();
    let (metrics, archive) = (site.file("metrics.csv"), text(&site.archive()));
    let config = format!(
        "cluster = \"test\"\narchive = {archive:?}\ncheckpoint = \"50ms\"\n\
         [[tail]]\npath = {:?}\nstream = \"metrics\"\n",
        text(&metrics)
    );
    fs::write(site.file("faultline.toml"), config).unwrap();
    let mut random = Random::new(3);
    let mut rows = |samples: std::ops::Range<i64>, services: [&str; 3]| {
        let mut rows = Vec::new();
        for sample in samples {
            let ts = timestamp::format((1_780_000_000 + sample * 300) * 1_000_000_000);
            for service in services {
                for (metric, usual) in [("latency_p50_ms", 20.0), ("cpu_usage", 0.3)] {
                    let fault = if service == "db" && sample >= 288 { 4.0 } else { 1.0 };
                    let value = usual * fault * (1.0 + 0.1 * random.unit());
                    rows.push(format!("{ts},{service},{service}-0,{metric},{value:.4}"));
                }
            }
        }
        rows
    };
    append(&metrics, &["ts,service,instance,metric,value".to_owned()]);
    append(&metrics, &rows(0..30, ["web", "api", "db"]));
    let live = site.start();
    live.has_taken(&[&metrics]);
    // Midnight, at which series are numbered anew, in another order.
    append(&metrics, &rows(30..60, ["db", "web", "api"]));
    live.has_taken(&[&metrics]);
    append(&metrics, &rows(60..300, ["db", "web", "api"]));
    live.says("INCIDENT");
    live.says("UPDATE");
    live.has_taken(&[&metrics]);
    live.interrupt();
    let sql = "SELECT d.service, (d.diagnosed_at - i.started_at) >= interval '25 minutes' AS whole
        FROM incidents i JOIN diagnoses d USING (incident_id) WHERE d.rank = 1";
    assert_eq!(ask(&site.archive(), sql), "service,whole\ndb,true\n");
    let sql = "SELECT count(*) = count(DISTINCT evidence_id) AS once FROM evidence";
    assert_eq!(ask(&site.archive(), sql), "once\ntrue\n");
    // None is taken for another.
    let replayed = site.file("replayed");
    let outage = site.file("outage");
    fs::create_dir(&outage).unwrap();
    fs::copy(&metrics, outage.join("metrics.csv")).unwrap();
    done(&["replay", &text(&outage), "--cluster", "test", "--archive", &text(&replayed)]);
    let sql = "SELECT service, metric, count(*) AS rows, avg(value) AS mean FROM metrics
        GROUP BY service, metric ORDER BY service, metric";
    assert_eq!(ask(&site.archive(), sql), ask(&replayed, sql));
}

/// What people import while it runs is told with the next incident.
#[test]
fn a_runbook_that_comes_while_it_runs_is_known() {
    let (outage, site) = (Outage::new(), Site::new());
    let runbooks = site.file("runbooks");
    fs::create_dir(&runbooks).unwrap();
    let runbook = "---\nservices: [vault-db]\n---\n# Slow\n\nCreate the index again.\n";
    fs::write(runbooks.join("vault.md"), runbook).unwrap();
    live_hour(&site, &outage, |live, n| {
        if n == 3 {
            // By now it has read what was known at first: nothing.
            live.has_taken(&[&site.file("metrics.csv")]);
            let archive = text(&site.archive());
            done(&["knowledge", "import", &text(&runbooks), "--archive", &archive]);
        }
        live
    });
    let told = ask(&site.archive(), "SELECT subject FROM evidence WHERE kind = 'runbook'");
    assert_eq!(told, "subject\nrunbooks/vault.md\n");
}

/// Bad rows do not end a run, so that somebody has to be told of them: of each kind once.
#[test]
fn the_first_bad_row_of_a_file_is_warned_of() {
    let site = Site::new();
    let logs = site.file("logs.jsonl");
    let bad = |n: usize| format!("garbage {n}");
    append(&logs, &[bad(1), bad(2)]);
    let live = site.start();
    live.logs("a dead letter: ");
    append(&logs, &(3..100).map(bad).collect::<Vec<_>>());
    append(&logs, &["{\"ts\":\"yesterday\",\"service\":\"a\",\"body\":\"b\"}".to_owned()]);
    live.logs("bad_timestamp");
    let summary = site.file("stderr");
    assert_eq!(live.interrupt().dead, 100);
    let log = fs::read_to_string(summary).unwrap();
    let warnings: Vec<&str> = log.lines().filter(|l| l.contains("a dead letter: ")).collect();
    assert_eq!(warnings.len(), 2, "{log}");
    for part in ["not a JSON object", "logs.jsonl", "line=1 ", "malformed"] {
        assert!(warnings[0].contains(part), "{part}: {log}");
    }
    assert!(warnings[1].contains("line=100 "), "{log}");
}

/// Whoever reads its messages may go: the run stays, and ends as if it had been heard.
#[test]
fn a_run_that_nobody_hears_goes_on() {
    let (outage, site) = (Outage::new(), Site::new());
    let (logs, garbage) = (Rows::of(&outage, "logs.jsonl"), ["garbage".to_owned()]);
    let path = site.file("logs.jsonl");
    let config = text(&site.file("faultline.toml"));
    let mut live = site.spawn_with(command(&["run", "--config", &config]), Stdio::piped());
    drop(live.run.0.stderr.take());
    append(&path, &garbage);
    append(&path, logs.part(0..1));
    live.has_taken(&[&path]);
    let accounts = live.stop("TERM");
    assert_eq!((accounts.dead, accounts.received), (1, logs.part(0..1).len() + 1));
}

/// A file of nothing but garbage, which never stops growing, does not hold up the others.
#[test]
fn a_file_without_a_usable_row_holds_nothing_back() {
    let (outage, site) = (Outage::new(), Site::new());
    let garbage = site.file("garbage.jsonl");
    let config = fs::read_to_string(site.file("faultline.toml")).unwrap();
    let tail = format!("[[tail]]\npath = {:?}\nstream = \"logs\"\n", text(&garbage));
    fs::write(site.file("faultline.toml"), format!("idle = \"2s\"\n{config}{tail}")).unwrap();
    let [metrics, logs, spans] = TIMED.map(|name| (Rows::of(&outage, name), site.file(name)));
    append(&metrics.1, &metrics.0.header);
    for (rows, path) in [&metrics, &logs, &spans] {
        append(path, rows.part(0..11));
    }
    let live = site.start();
    let last = logs.0.rows.last().unwrap();
    let mut lines = logs.0.part(11..12).iter().chain(std::iter::repeat(last));
    until("an incident beside a file of garbage", || {
        append(&garbage, &["garbage".to_owned()]);
        append(&logs.1, &[lines.next().unwrap().clone()]);
        live.lines.try_iter().any(|line| line.contains("INCIDENT")).then_some(())
    });
}
