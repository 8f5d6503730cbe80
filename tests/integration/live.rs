//! `faultline run` on files that this test writes as a service would.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

use crate::accounts::Accounts;
use crate::archive::{contents, count, repeated};
use crate::outage::{Outage, TIMED, time_of};
use crate::program::{PATIENCE, Running, command, position, signal, text, until};

/// A folder with a configuration, the files it follows, and an archive.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let archive = text(&dir.path().join("archive"));
        let mut config = format!("cluster = \"test\"\narchive = {archive:?}\n");
        for name in TIMED {
            let stream = name.split('.').next().unwrap();
            let path = text(&dir.path().join(name));
            config += &format!("[[tail]]\npath = {path:?}\nstream = {stream:?}\n");
        }
        fs::write(dir.path().join("faultline.toml"), config).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.file("archive")
    }

    fn start(&self) -> Live {
        let config = text(&self.file("faultline.toml"));
        let mut command = command(&["run", "--config", &config]);
        let log = File::create(self.file("stderr")).unwrap();
        let child = command.stdout(Stdio::piped()).stderr(log).spawn();
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
        Live { run, lines }
    }
}

/// A running program and the lines that it prints.
struct Live {
    run: Running,
    lines: Receiver<String>,
}

impl Live {
    /// Waits for a line with this word.
    fn says(&self, word: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|e| panic!("{word:?} was never printed: {e}"));
            if line.contains(word) {
                return line;
            }
        }
    }

    /// Waits until every row that the files hold now has been taken in.
    ///
    /// What the kernel has handed over may still wait in the program's buffer. But the program
    /// asks for more only when that is used up, so a blank line more is put there for it.
    fn has_taken(&self, paths: &[&Path]) {
        for path in paths {
            let name = format!("{} read to its end", path.display());
            let at_end = || {
                let size = fs::metadata(path).unwrap().len();
                (position(&self.run.0, path)? >= size).then_some(())
            };
            until(&name, at_end);
            append(path, &[]);
            until(&name, at_end);
        }
    }

    /// Ctrl-C; returns the accounts of the whole run.
    fn interrupt(mut self) -> Accounts {
        signal(&self.run.0, "INT");
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
    live.says("INCIDENT");
    live.has_taken(&[&metrics.1, &logs.1, &spans.1]);
    let accounts = live.interrupt();
    let all: usize = [&metrics, &logs, &spans].iter().map(|(r, _)| r.rows.len()).sum();
    assert_eq!((accounts.received, accounts.late, accounts.dead), (all, 0, 0));
    let found = contents(&site.archive());
    assert_eq!(count(&found, "incidents"), 1, "{}", found["incidents"]);
    assert_eq!(repeated(&site.archive()), Vec::<String>::new());
}

/// After a kill the same command reads the files again and recognises what it has archived.
#[test]
fn a_killed_run_starts_again_without_repeating_itself() {
    let (outage, site) = (Outage::new(), Site::new());
    for name in TIMED {
        fs::copy(outage.file(name), site.file(name)).unwrap();
    }
    let mut live = site.start();
    live.says("INCIDENT");
    // Printed before it is archived, so the kill comes when the archive has it.
    let first = until("the incident in the archive", || {
        let found = contents(&site.archive());
        (count(&found, "incidents") > 0).then_some(found)
    });
    live.run.0.kill().unwrap();
    assert_eq!(live.run.wait(), None);
    for _ in 0..2 {
        let live = site.start();
        live.says("INCIDENT");
        let paths = TIMED.map(|name| site.file(name));
        live.has_taken(&paths.each_ref().map(PathBuf::as_path));
        let accounts = live.interrupt();
        assert_eq!((accounts.late, accounts.rejected, accounts.dead), (0, 0, 0));
        let found = contents(&site.archive());
        assert_eq!(found["incidents"], first["incidents"]);
        assert_eq!(found["diagnoses"], first["diagnoses"]);
        assert_eq!(repeated(&site.archive()), Vec::<String>::new());
    }
}
