//! Bad input: exit code 2, a message that names the thing and the remedy, and nothing on stdout.

mod jobs;

use std::fs;
use std::path::{Path, PathBuf};

use faultline::knowledge::Writer;
use tempfile::TempDir;

use crate::outage::{FAULT_AT, Outage};
use crate::program::{block_on, faultline, text};

/// The call must be refused with all of these words.
fn refused(args: &[&str], words: &[&str]) {
    let outcome = faultline(args);
    let case = format!("{args:.200?}: {outcome:.2000?}");
    assert_eq!(outcome.code, Some(2), "{case}");
    assert_eq!(outcome.stdout, "", "{case}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is not said: {case}");
    }
    for word in ["panicked", "Internal error"] {
        assert!(!outcome.stderr.contains(word), "{case}");
    }
}

fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn outage_directories() {
    let dir = TempDir::new().unwrap();
    let case = |name: &str, files: &[(&str, &[u8])]| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        files.iter().for_each(|(name, content)| drop(file(&path, name, content)));
        text(&path)
    };
    let row = b"2024-05-01T00:00:00Z,api,api-0,cpu,1\n";
    let metrics = |header: &str| [header.as_bytes(), b"\n", row].concat();
    let missing = text(&dir.path().join("nowhere"));
    let empty = case("empty", &[]);
    let blank = case("blank", &[("metrics.csv", b"")]);
    let header = case("header", &[("metrics.csv", row)]);
    let without = case("without", &[("metrics.csv", &metrics("ts,service,instance,metric"))]);
    let unknown = metrics("ts,service,instance,metric,worth");
    let unknown = case("unknown", &[("metrics.csv", &unknown)]);
    let twice = metrics("ts,service,instance,value,value");
    let twice = case("twice", &[("metrics.csv", &twice)]);
    let both = metrics("ts,service,instance,metric,value");
    let both = case("both", &[("metrics.csv", &both), ("metrics.csv.gz", b"")]);
    let gzip = case("gzip", &[("logs.jsonl.gz", b"this is no gzip stream at all")]);
    let parquet = case("parquet", &[("spans/part-0.parquet", b"PAR1 and then nothing")]);
    let cases: [(&str, &[&str]); 10] = [
        (&missing, &["nowhere", "give the path of an existing directory"]),
        (&empty, &["empty", "expected metrics.csv"]),
        (&blank, &["metrics.csv:1", "empty", "write the header ts,service"]),
        (&header, &["metrics.csv:1", "unknown column", "write the header ts,service"]),
        (&without, &["metrics.csv:1", "column `value` is missing", "write the header"]),
        (&unknown, &["metrics.csv:1", "unknown column `worth`", "write the header"]),
        (&twice, &["metrics.csv:1", "column `value` comes twice", "write the header"]),
        (&both, &["metrics.csv and", "metrics.csv.gz", "keep one of them"]),
        (&gzip, &["logs.jsonl.gz", "cannot read"]),
        (&parquet, &["part-0.parquet", "not readable as Parquet", "move it away"]),
    ];
    for (dir, words) in cases {
        refused(&["replay", dir], words);
        refused(&["diagnose", dir, "--at", "2024-05-01T00:00:00Z"], words);
    }
}

/// A refused outage leaves no archive behind.
#[test]
fn nothing_runs_before_everything_is_checked() {
    let dir = TempDir::new().unwrap();
    let archive = dir.path().join("archive");
    file(dir.path(), "outage/metrics.csv", "ts,service\n");
    let outage = text(&dir.path().join("outage"));
    refused(&["replay", &outage, "--archive", &text(&archive)], &["metrics.csv:1"]);
    assert!(!archive.exists());
}

/// `{window}` is a sound GROUP BY window.
const JOB: &str = "\
INSERT INTO signals
SELECT cluster, service, '' AS instance, 'm' AS metric, window.start AS a, window.end AS b,
       9.0 AS score, total, 0.0 AS expected, 'up' AS direction, false AS c, false AS d, '' AS e
FROM (
  SELECT cluster, service, sum(value) AS total,
         {window} AS window
  FROM metrics
  GROUP BY cluster, service, window
)
";

#[test]
fn a_model_that_is_not_asked() {
    let outage = Outage::new();
    let dir = text(outage.path());
    let config = ["--config", "/no/such.toml"];
    let diagnose = [&["diagnose", &dir, "--at", FAULT_AT][..], &config].concat();
    refused(&diagnose, &["not asked", "--llm record"]);
    refused(&[&["replay", &dir][..], &config].concat(), &["/no/such.toml", "check the path"]);
}

#[test]
fn keys_that_are_not_set() {
    let dir = TempDir::new().unwrap();
    let tail = "[[tail]]\npath = \"m.csv\"\nstream = \"metrics\"\n";
    let model = "base_url = \"https://example.com\"\nmodel = \"m\"\n";
    for (section, more) in [
        ("llm", format!("{model}key_env = \"FAULTLINE_NO_SUCH_KEY\"\n")),
        ("embeddings", format!("{model}key_env = \"FAULTLINE_NO_SUCH_KEY\"\n")),
        ("webhook", "url_env = \"FAULTLINE_NO_SUCH_KEY\"\n".to_owned()),
    ] {
        let toml = format!("archive = \"a\"\n{tail}[{section}]\n{more}");
        let path = text(&file(dir.path(), &format!("{section}.toml"), toml));
        refused(&["check", "--config", &path], &["FAULTLINE_NO_SUCH_KEY is not set", "put the"]);
    }
}

#[test]
fn configurations() {
    let dir = TempDir::new().unwrap();
    let tail = "[[tail]]\npath = \"m.csv\"\nstream = \"metrics\"\n";
    let cases: [(&str, String, &[&str]); 19] = [
        (
            "look-alike",
            format!("archive = \"a\"\n{tail}[webhook]\nurl = \"http://g\u{43e}ogle.com/\"\n"),
            &["[webhook]", "ASCII"],
        ),
        (
            "nan",
            format!("archive = \"a\"\n{tail}[correlate]\ncredible_score = nan\n"),
            &["credible_score", "above 0"],
        ),
        (
            "label",
            format!("archive = \"a\"\n{tail}[correlate.notify]\ngroup_by = [\"clutser\"]\n"),
            &["clutser", "cluster, incident"],
        ),
        (
            "metadata",
            format!("archive = \"a\"\n{tail}[webhook]\nurl = \"http://169.254.169.254/\"\n"),
            &["[webhook]", "address"],
        ),
        (
            "nat64",
            format!(
                "archive = \"a\"\n{tail}[llm]\nmodel = \"m\"\n\
                 base_url = \"http://[64:ff9b::a9fe:a9fe]/\"\n"
            ),
            &["[llm]", "address"],
        ),
        ("key", format!("archive = \"a\"\nspeed = 3\n{tail}"), &["line 2", "speed", "example"]),
        ("inner", format!("archive = \"a\"\n{tail}format = 1\n"), &["line 5", "format"]),
        ("toml", format!("archive = \n{tail}"), &["line 1", "example"]),
        ("archive", tail.to_owned(), &["archive", "example"]),
        ("tail", "archive = \"a\"\ntail = []\n".to_owned(), &["[[tail]]", "at least one"]),
        ("twice", format!("archive = \"a\"\n{tail}{tail}"), &["m.csv", "twice", "remove"]),
        (
            "same",
            format!("archive = \"a\"\n{tail}{}", tail.replace("m.csv", "./m.csv")),
            &["./m.csv", "twice", "remove"],
        ),
        ("nowhere", format!("archive = \"\"\n{tail}"), &["`archive` is empty", "write"]),
        (
            "nothing",
            format!("archive = \"a\"\n{}", tail.replace("m.csv", "")),
            &["`path` is empty", "write"],
        ),
        (
            "stream",
            format!("archive = \"a\"\n{}", tail.replace("\"metrics\"", "\"numbers\"")),
            &["line 4", "numbers", "write metrics"],
        ),
        (
            "lateness",
            format!("archive = \"a\"\nlateness = \"soon\"\n{tail}"),
            &["line 2", "soon", "5s"],
        ),
        ("cluster", format!("archive = \"a\"\ncluster = \"\"\n{tail}"), &["`cluster`", "write"]),
        ("capture", format!("archive = \"a\"\ncapture_mib = 0\n{tail}"), &["capture_mib", "1"]),
        (
            "correlate",
            format!("archive = \"a\"\n{tail}[correlate]\nscore_floor = -1\n"),
            &["score_floor", "above 0"],
        ),
    ];
    for (name, toml, words) in cases {
        let path = text(&file(dir.path(), &format!("{name}.toml"), toml));
        let mut all = vec![path.as_str()];
        all.extend(words);
        refused(&["check", "--config", &path], &all);
        refused(&["run", "--config", &path], &all);
    }
    let missing = text(&dir.path().join("nowhere.toml"));
    refused(&["run", "--config", &missing], &["nowhere.toml"]);
    assert!(!dir.path().join("a").exists() && !Path::new("a").exists(), "nothing was started");
}

#[test]
fn arguments() {
    let outage = Outage::new();
    let dir = text(outage.path());
    refused(&["diagnose", &dir, "--at", "yesterday"], &["yesterday", "--at 2024-"]);
    refused(&["diagnose", &dir, "--at", "1710223200"], &["1710223200", "seconds", "--at 2024-"]);
    refused(&["diagnose", &dir], &["--at"]);
    let moment = ["diagnose", &dir, "--at", "2024-03-12T06:40:00Z", "--llm", "record"];
    refused(&moment, &["--llm needs a model", "--config"]);
    let example = [&moment[..], &["--config", "faultline.example.toml"]].concat();
    refused(&example, &["no [llm] section", "faultline.example.toml"]);
    let window = ["diagnose", &dir, "--at", "2024-03-12T06:40:00Z", "--window", "long"];
    refused(&window, &["long", "--window 5m"]);
    refused(&["replay"], &["DIR"]);
    refused(&["replay", &dir, "--threads", "0"], &["--threads", "1..=1024"]);
    refused(&["replay", &dir, "--speed", "7x"], &["7x", "10x"]);
    refused(&["replai"], &["replai", "replay"]);
    refused(&["templates", "no-such.log"], &["no-such.log", "check the path"]);
    refused(&["explain", "no-such.sql"], &["no-such.sql", "check the path"]);
}

#[test]
fn statements() {
    let archive = TempDir::new().unwrap();
    let dir = text(archive.path());
    refused(&["query", "--archive", &dir, "SELECT 1"], &["holds no archive", "`replay` or `run`"]);
    block_on(Writer::open(archive.path())).unwrap();
    let out = text(&archive.path().join("out.csv"));
    let cases: Vec<(String, &[&str])> = vec![
        (format!("COPY incidents TO '{out}'"), &["read only", "use SELECT"]),
        (
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_owned(),
            &["read only", "use SELECT"],
        ),
        ("CREATE TABLE t AS SELECT 1".to_owned(), &["read only", "use SELECT"]),
        ("INSERT INTO incidents SELECT * FROM incidents".to_owned(), &["read only"]),
        ("DELETE FROM incidents".to_owned(), &["read only"]),
        ("DROP TABLE incidents".to_owned(), &["read only"]),
        ("SET datafusion.execution.batch_size = 1".to_owned(), &["read only"]),
        ("SELECT * FROM '/etc/passwd'".to_owned(), &["table not found", "/etc/passwd"]),
        ("SELECT * FROM \"s3://bucket/key\"".to_owned(), &["table not found", "the tables are"]),
        ("SELECT * FROM incident".to_owned(), &["table not found: incident", "incidents"]),
        ("SELECT titel FROM incidents".to_owned(), &["unknown column titel", "title"]),
        ("SELEC 1".to_owned(), &["syntax error"]),
        (
            format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
            &["nested too deeply", "fewer levels"],
        ),
        (
            "SELECT count(*) FROM generate_series(1, 1000000000000)".to_owned(),
            &["time limit of 1 s", "raise the limit"],
        ),
    ];
    for (sql, words) in cases {
        refused(&["query", "--archive", &dir, "--timeout", "1", &sql], words);
    }
    assert!(!Path::new(&out).exists());
    let missing = text(&archive.path().join("nowhere"));
    refused(&["query", "--archive", &missing, "SELECT 1"], &["nowhere", "name the directory"]);
    assert!(!Path::new(&missing).exists());
}
