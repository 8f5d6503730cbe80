//! A language model beside a run: it may change an order, and nothing waits for it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::archive::{contents, count};
use crate::outage::TIMED;
use crate::program::{Running, ask, command, done, faultline, replay, signal, text, until};

/// A chat endpoint and what it says to a request; it may say nothing for ever.
struct Model {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Model {
    fn new(says: fn(&Value) -> Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        // Ends with the process.
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = request(&mut stream);
                count.fetch_add(1, Ordering::SeqCst);
                let Some(answer) = says(&request) else {
                    silent.push(stream);
                    continue;
                };
                let message = json!({ "role": "assistant", "content": answer });
                let usage = json!({ "prompt_tokens": 700, "completion_tokens": 60 });
                let body = json!({ "choices": [{ "message": message }], "usage": usage });
                let body = body.to_string();
                let length = body.len();
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ";
                write!(stream, "{head}{length}\r\n\r\n{body}").unwrap();
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn request(stream: &mut TcpStream) -> Value {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "a request without its end");
        bytes.extend_from_slice(&chunk[..read]);
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n")
            && let Ok(body) = serde_json::from_slice(&bytes[end + 4..])
        {
            return body;
        }
    }
}

/// Prefers the second candidate to the first.
fn second_first(request: &Value) -> Option<String> {
    let document = request["messages"][1]["content"].as_str().unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    let claim = |n: usize| {
        let candidate = &document["candidates"][n];
        json!({
            "service": candidate["service"],
            "confidence": 0.9 - 0.1 * n as f64,
            "evidence": [candidate["evidence"][0]],
        })
    };
    Some(json!({ "causes": [claim(1), claim(0)] }).to_string())
}

fn config(dir: &Path, url: &str, more: &str) -> PathBuf {
    let path = dir.join("faultline.toml");
    let (archive, answers) = (text(&dir.join("archive")), text(&dir.join("llm")));
    let mut config = format!("cluster = \"test\"\narchive = {archive:?}\n");
    for name in TIMED {
        let (stream, file) = (name.split('.').next().unwrap(), text(&dir.join(name)));
        config += &format!("[[tail]]\npath = {file:?}\nstream = {stream:?}\n");
    }
    config += &format!("[llm]\nbase_url = {url:?}\nmodel = \"m\"\ndir = {answers:?}\n{more}");
    fs::write(&path, config).unwrap();
    path
}

/// Has incidents with rivals.
const OUTAGE: &str = "demo/outage";
const RIVALS_AT: &str = "2024-03-12T09:20:00Z";

#[test]
fn recorded_answers_give_the_same_archive_without_a_model() {
    let (outage, dir) = (Path::new(OUTAGE), TempDir::new().unwrap());
    let model = Model::new(second_first);
    let price = "usd_per_million_input_tokens = 2.0\n";
    let [off, recorded, replayed] = ["off", "record", "replay"].map(|name| dir.path().join(name));
    replay(outage, &off, &[]);
    let config = text(&config(dir.path(), &model.url, price));
    let with = |archive: &Path, mode| {
        replay(outage, archive, &["--llm", mode, "--config", &config]);
        contents(archive)
    };
    let first = with(&recorded, "record");
    let asked = model.asked();
    assert!(asked > 0 && count(&first, "llm_calls") == asked, "{}", first["llm_calls"]);
    assert!(first["llm_calls"].contains(",accepted,"), "{}", first["llm_calls"]);
    assert!(first["diagnoses"].contains(",llm,"), "{}", first["diagnoses"]);
    assert_eq!(with(&replayed, "replay"), first);
    assert_eq!(model.asked(), asked, "a replay asks nobody");
    let statistical = contents(&off);
    assert_eq!(count(&statistical, "llm_calls"), 0);
    for table in ["incidents", "evidence", "diagnoses"] {
        assert_eq!(count(&statistical, table), count(&first, table), "{table}");
    }
}

/// Every call of a run that gets none is told once and archived.
fn unheard(config: &Path, mode: &str, words: &[&str], verdict: &str) {
    let archive = TempDir::new().unwrap();
    let (config, place) = (text(config), text(archive.path()));
    let more = ["--archive", &place, "--llm", mode, "--config", &config];
    let outcome = faultline(&[&["replay", OUTAGE], &more[..]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for word in words {
        assert_eq!(outcome.stderr.matches(word).count(), 1, "{word}: {}", outcome.stderr);
    }
    let found = contents(archive.path());
    assert!(found["diagnoses"].contains(",statistical,"), "{}", found["diagnoses"]);
    assert!(count(&found, "llm_calls") > 1, "{}", found["llm_calls"]);
    assert!(found["llm_calls"].contains(verdict), "{}", found["llm_calls"]);
    let moment = ["diagnose", OUTAGE, "--at", RIVALS_AT];
    let outcome = faultline(&[&moment[..], &more[2..]].concat());
    assert!(words.iter().all(|word| outcome.stderr.contains(word)), "{outcome:?}");
}

#[test]
fn a_model_that_says_nothing_is_told_of() {
    let dir = TempDir::new().unwrap();
    let nobody = "http://127.0.0.1:9/v1";
    let quick = config(dir.path(), nobody, "attempts = 1\n");
    unheard(&quick, "replay", &["not recorded", "--llm record"], ",skipped,not recorded,");
    unheard(&quick, "record", &["unreachable", "base_url"], ",failed,unreachable: ");
    let dir = TempDir::new().unwrap();
    let poor = config(dir.path(), nobody, "calls_per_day = 0\n");
    unheard(
        &poor,
        "record",
        &["budget of the day", "calls_per_day"],
        ",skipped,budget of the day,",
    );
}

#[test]
fn diagnose_asks_where_it_is_told_to() {
    let dir = TempDir::new().unwrap();
    let model = Model::new(second_first);
    let config = text(&config(dir.path(), &model.url, ""));
    let ask = |more: &[&str]| {
        let mut args = vec!["diagnose", OUTAGE, "--at", RIVALS_AT, "--format", "jsonl"];
        args.extend(more);
        let answer: Value = serde_json::from_str(&done(&args)).unwrap();
        answer
    };
    let statistical = ask(&[]);
    assert_eq!((&statistical["method"], model.asked()), (&"statistical".into(), 0));
    let recorded = ask(&["--llm", "record", "--config", &config]);
    assert_eq!((&recorded["method"], model.asked()), (&"llm".into(), 1));
    assert_eq!(recorded, ask(&["--llm", "replay", "--config", &config]));
    assert_eq!(model.asked(), 1);
}

#[test]
fn diagnose_knows_what_the_archive_knows_and_keeps_there_what_it_asked() {
    let dir = TempDir::new().unwrap();
    let model = Model::new(second_first);
    let config = text(&config(dir.path(), &model.url, ""));
    let archive = dir.path().join("archive");
    replay(Path::new(OUTAGE), &archive, &[]);
    let before = count(&contents(&archive), "llm_calls");
    let runbooks = dir.path().join("runbooks");
    fs::create_dir(&runbooks).unwrap();
    let runbook = "---\nservices: [vault-db]\n---\n# Slow\n\nOn a scan create the index again.\n";
    fs::write(runbooks.join("vault.md"), runbook).unwrap();
    let place = text(&archive);
    done(&["knowledge", "import", &text(&runbooks), "--archive", &place]);
    let known = ["diagnose", OUTAGE, "--at", RIVALS_AT, "--archive", &place];
    let told = done(&known);
    assert!(told.contains("\n  known ") && told.contains("(vault.md)"), "{told}");
    assert!(told.contains(" = metrics 0.") && !told.contains("like incident"), "{told}");
    assert!(!done(&known[..4]).contains("\n  known "));
    done(&[&known[..], &["--llm", "record", "--config", &config]].concat());
    let calls = ask(&archive, "SELECT cluster, verdict, prompt FROM llm_calls");
    assert_eq!((before, model.asked(), calls.lines().count()), (0, 1, 2), "{calls}");
    assert!(calls.contains("accepted") && calls.contains("create the index again"), "{calls}");
    let nowhere = faultline(&["diagnose", OUTAGE, "--at", RIVALS_AT, "--archive", "no/archive"]);
    assert_eq!(nowhere.code, Some(2), "{nowhere:?}");
}

#[test]
fn a_silent_model_delays_no_incident() {
    let dir = TempDir::new().unwrap();
    done(&["generate", "--text", &text(dir.path())]);
    let model = Model::new(|_| None);
    let config = text(&config(dir.path(), &model.url, "deadline = \"1h\"\n"));
    let mut command = command(&["run", "--config", &config]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut run = Running(child);
    let found = until("the incident in the archive", || {
        let archive = dir.path().join("archive");
        let found = archive.join("incidents/_delta_log").exists().then(|| contents(&archive))?;
        (count(&found, "incidents") > 0).then_some(found)
    });
    until("a call of the model", || (model.asked() > 0).then_some(()));
    assert!(found["diagnoses"].contains("statistical"), "{}", found["diagnoses"]);
    signal(&run.0, "INT");
    assert_eq!(run.wait(), Some(130));
}
