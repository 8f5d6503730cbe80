//! Runs the program as a user does.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than anything here takes, so that only a hang meets it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn command<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faultline"));
    command.args(args).stdin(Stdio::null());
    command.env_remove("FAULTLINE_LOG").env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

pub fn faultline<S: AsRef<OsStr>>(args: &[S]) -> Outcome {
    let output = command(args).output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Standard output of a call that must succeed.
pub fn done<S: AsRef<OsStr>>(args: &[S]) -> String {
    let outcome = faultline(args);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    outcome.stdout
}

pub fn replay(dir: &Path, archive: &Path, more: &[&str]) -> String {
    let (dir, archive) = (text(dir), text(archive));
    let mut args = vec!["replay", &dir, "--archive", &archive];
    args.extend(more);
    done(&args)
}

/// The answer as CSV, header included.
pub fn ask(archive: &Path, sql: &str) -> String {
    done(&["query", "--archive", &text(archive), "--format", "csv", sql])
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Sends a signal by its name, such as `INT`.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Asks again and again until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "not seen within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How far a program has read in a file that it has open, as the kernel sees it.
pub fn position(child: &Child, path: &Path) -> Option<u64> {
    let process = format!("/proc/{}", child.id());
    fs::read_dir(format!("{process}/fd")).ok()?.find_map(|entry| {
        let entry = entry.ok()?;
        fs::read_link(entry.path()).ok().filter(|target| target == path)?;
        let number = entry.file_name().into_string().ok()?;
        let info = fs::read_to_string(format!("{process}/fdinfo/{number}")).ok()?;
        info.lines().find_map(|l| l.strip_prefix("pos:"))?.trim().parse().ok()
    })
}

/// A child that does not outlive a failed test.
pub struct Running(pub Child);

impl Running {
    pub fn wait(&mut self) -> Option<i32> {
        until("the end of the program", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Runs a future of a test, on threads of its own.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(work)
}
