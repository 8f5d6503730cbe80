//! Runbooks, past incidents and feedback, as a user meets them.

use std::fs;
use std::path::{Path, PathBuf};

use faultline::generate::{self, FaultKind, FaultSpec, Format, Scenario};
use faultline::model::{HOUR, MINUTE};
use serde_json::Value;
use tempfile::TempDir;

use crate::archive::{contents, count};
use crate::program::{ask, done, faultline, replay, text};

const DISK: &str = "---
title: The disk of a database fills
alerts: [DatabaseDiskFull]
services: [vault-db]
---
# DatabaseDiskFull

The volume of a replica is nearly full; writes will fail.

## Mitigation

Drop old partitions, then extend the volume by `resize-volume`.
";

const QUEUE: &str = "# ParcelsAreLate

Consumers of the parcel queue lag behind.

## Mitigation

Scale the consumers. The token is AKIAIOSFODNN7EXAMPLE.
";

/// A folder of runbooks and an archive beside it.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { dir: TempDir::new().unwrap() };
        desk.write("storage/disk.md", DISK);
        desk.write("queue.md", QUEUE);
        desk.write("notes.txt", "not a runbook");
        desk
    }

    fn runbooks(&self) -> PathBuf {
        self.dir.path().join("team")
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.runbooks().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn import(&self) -> String {
        let (dir, archive) = (text(&self.runbooks()), text(&self.archive()));
        done(&["knowledge", "import", &dir, "--archive", &archive])
    }

    fn search(&self, args: &[&str]) -> Vec<Value> {
        search(&self.archive(), args)
    }
}

fn search(archive: &Path, args: &[&str]) -> Vec<Value> {
    let archive = text(archive);
    let found = [&["knowledge", "search", "--archive", &archive, "--format", "json"], args];
    let lines = done(&found.concat());
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sources(found: &[Value]) -> Vec<&str> {
    found.iter().map(|f| f["source"].as_str().unwrap()).collect()
}

#[test]
fn a_runbook_is_found_by_its_alert_by_words_and_by_misspelt_words() {
    let desk = Desk::new();
    assert_eq!(
        desk.import(),
        "team: 2 new, 0 changed, 0 removed, 0 unchanged documents; 4 sections\n"
    );
    for question in [
        "DatabaseDiskFull",
        "database disk full",
        "database_disk_full",
        "how do I extend the volume",
        "databse volumes nearly ful",
        "vault-db",
    ] {
        let found = desk.search(&[question]);
        assert_eq!(sources(&found)[0], "storage/disk.md", "{question}");
        assert!(found.len() <= 2, "one section of a document: {found:?}");
    }
    let mitigation = &desk.search(&["extend the volume of the database"])[0];
    assert_eq!(mitigation["heading"], "DatabaseDiskFull > Mitigation");
    let shown = done(&["knowledge", "search", "parcels", "--archive", &text(&desk.archive())]);
    assert!(shown.starts_with("runbook  0.") && shown.contains("team/queue.md"), "{shown}");
    assert!(desk.search(&["zyzzyva"]).is_empty());
}

#[test]
fn an_import_writes_only_what_has_changed() {
    let desk = Desk::new();
    desk.import();
    let before = contents(&desk.archive());
    assert!(desk.import().contains("0 new, 0 changed, 0 removed, 2 unchanged"));
    assert_eq!(contents(&desk.archive()), before, "nothing new, nothing written");
    desk.write("empty.md", "\n");
    assert!(desk.import().contains("0 new, 0 changed, 0 removed, 2 unchanged"));
    fs::remove_file(desk.runbooks().join("empty.md")).unwrap();
    desk.write("queue.md", &QUEUE.replace("Scale the consumers", "Restart the broker"));
    desk.write("third.md", "# Third\nSomething else.");
    fs::remove_file(desk.runbooks().join("storage/disk.md")).unwrap();
    assert!(
        desk.import().contains("1 new, 1 changed, 1 removed, 0 unchanged documents; 3 sections")
    );
    assert!(sources(&desk.search(&["DatabaseDiskFull"])).iter().all(|s| *s != "storage/disk.md"));
    assert_eq!(sources(&desk.search(&["restart the broker"]))[0], "queue.md");
    let rows = ask(&desk.archive(), "SELECT source, heading, revision FROM runbooks ORDER BY 1, 2");
    let expect = "source,heading,revision\nqueue.md,ParcelsAreLate,2\n\
                  queue.md,ParcelsAreLate > Mitigation,2\nthird.md,Third,2\n";
    assert_eq!(rows, expect);
    desk.write("storage/disk.md", DISK);
    desk.import();
    assert_eq!(sources(&desk.search(&["DatabaseDiskFull"]))[0], "storage/disk.md");
}

#[test]
fn equal_archives_answer_alike_and_collections_stand_side_by_side() {
    let (one, two) = (Desk::new(), Desk::new());
    one.import();
    two.import();
    let archive = text(&two.archive());
    let other = TempDir::new().unwrap();
    fs::write(other.path().join("queue.md"), "# ParcelsAreLate\nAsk the other team.").unwrap();
    let import =
        ["knowledge", "import", &text(other.path()), "--name", "other", "--archive", &archive];
    assert!(done(&import).starts_with("other: 1 new"));
    assert_eq!(one.search(&["parcels late"])[0]["text"], two.search(&["consumers lag"])[0]["text"]);
    assert_eq!(one.search(&["volume"]), one.search(&["volume"]));
    let both: Vec<Value> = two.search(&["ParcelsAreLate"]);
    let mut collections: Vec<&str> =
        both.iter().take(2).map(|f| f["collection"].as_str().unwrap()).collect();
    collections.sort_unstable();
    assert_eq!(collections, ["other", "team"]);
}

#[test]
fn two_directories_of_one_name_do_not_remove_each_other() {
    let dir = TempDir::new().unwrap();
    let archive = text(&dir.path().join("archive"));
    let books = |team: &str, word: &str| {
        let docs = dir.path().join(team).join("docs");
        fs::create_dir_all(&docs).unwrap();
        fs::write(docs.join("queue.md"), format!("# ParcelsAreLate\nAsk {word}.")).unwrap();
        text(&docs)
    };
    let (one, two) = (books("one", "alice"), books("two", "bob"));
    let import = |docs: &str, more: &[&str]| {
        faultline(&[&["knowledge", "import", docs, "--archive", &archive], more].concat())
    };
    let texts = || {
        let sql = "SELECT cluster, collection, text FROM runbooks ORDER BY 1, 2, 3";
        ask(Path::new(&archive), sql).lines().skip(1).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(import(&one, &[]).code, Some(0));
    let refused = import(&two, &[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for word in [one.as_str(), two.as_str(), "--name", "--replace"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    assert_eq!(texts(), "default,docs,Ask alice.");
    assert_eq!(import(&two, &["--name", "two"]).code, Some(0));
    assert_eq!(texts(), "default,docs,Ask alice.\ndefault,two,Ask bob.");
    let taken = import(&one, &["--name", "two"]);
    assert_eq!(taken.code, Some(2), "a name that is another's is no choice: {taken:?}");
    assert_eq!(import(&two, &["--replace"]).code, Some(0));
    assert_eq!(texts(), "default,docs,Ask bob.\ndefault,two,Ask bob.");
    assert_eq!(import(&two, &[]).code, Some(0), "it is the directory of the collection now");
    // Other runbooks of that name for another cluster are others; the same ones move.
    assert_eq!(import(&one, &["--cluster", "prod"]).code, Some(0));
    assert_eq!(texts(), "default,docs,Ask bob.\ndefault,two,Ask bob.\nprod,docs,Ask alice.");
    books("one", "carol");
    assert_eq!(import(&one, &["--cluster", "test"]).code, Some(0));
    assert_eq!(texts(), "default,docs,Ask bob.\ndefault,two,Ask bob.\ntest,docs,Ask carol.");
    let found = search(Path::new(&archive), &["ParcelsAreLate"]);
    assert!(found.iter().all(|f| !f["text"].as_str().unwrap().contains("alice")), "{found:?}");
}

#[test]
fn nothing_is_created_for_a_directory_without_runbooks() {
    let (dir, empty) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let archive = dir.path().join("archive");
    let import = ["knowledge", "import", &text(empty.path()), "--archive", &text(&archive)];
    let outcome = faultline(&import);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(!archive.exists());
}

#[test]
fn what_cannot_be_imported_or_found_is_told() {
    let desk = Desk::new();
    desk.import();
    let (archive, empty) = (text(&desk.archive()), TempDir::new().unwrap());
    let refused = |args: &[&str], words: &[&str]| {
        let outcome = faultline(args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "{word}: {}", outcome.stderr);
        }
    };
    let none = text(empty.path());
    refused(
        &["knowledge", "import", &none, "--name", "team", "--archive", &archive],
        &["markdown"],
    );
    assert_eq!(sources(&desk.search(&["DatabaseDiskFull"]))[0], "storage/disk.md");
    refused(&["knowledge", "import", "no/such", "--archive", &archive], &["no/such", "directory"]);
    refused(&["knowledge", "search", "disk", "--archive", "no/such"], &["no/such"]);
    refused(&["knowledge", "search", " ", "--archive", &archive], &["question"]);
    refused(&["knowledge", "search", "--incident", "x", "--archive", &archive], &["incident x"]);
    refused(&["knowledge", "search", "x", "--at", "noon", "--archive", &archive], &["--at"]);
    refused(
        &["incident", "feedback", "x", "--helpful", "yes", "--archive", &archive],
        &["no incident x"],
    );
    refused(&["incident", "feedback", "x", "--archive", &archive], &["--cause"]);
    refused(
        &["incident", "feedback", "x", "--helpful", "yes", "--archive", "no/such"],
        &["no/such"],
    );
    assert!(!Path::new("no/such").exists());
    // A document that cannot be read does not keep the others out.
    fs::write(desk.runbooks().join("latin.md"), b"caf\xe9").unwrap();
    desk.write("broken.md", "---\na: [\n---\n# Broken\nstill read");
    let (dir, import) = (text(&desk.runbooks()), ["knowledge", "import"]);
    let outcome =
        faultline(&[&import, [dir.as_str(), "--archive"].as_slice(), &[&archive]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains("latin.md: it is not UTF-8"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("broken.md: its front matter"), "{}", outcome.stderr);
    assert_eq!(sources(&desk.search(&["still read"]))[0], "broken.md");
}

/// The same fault twice and another between them.
fn days(dir: &Path) {
    let fault = |at, service: &str, kind| FaultSpec {
        at,
        duration: 12 * MINUTE,
        service: service.to_owned(),
        kind,
        replica: None,
    };
    let scenario = Scenario {
        duration: 10 * HOUR,
        faults: vec![
            fault(4 * HOUR, "vault-db", FaultKind::SlowDatabase),
            fault(6 * HOUR, "ledger", FaultKind::ErrorReturn),
            fault(8 * HOUR, "vault-db", FaultKind::SlowDatabase),
        ],
        changes: Vec::new(),
        format: Format::Parquet,
        ..Scenario::demo()
    };
    generate::write(&scenario, dir).unwrap();
}

/// The cases of the three faults, in their order.
fn ids(archive: &Path) -> [String; 3] {
    ["10", "12", "14"].map(|hour| {
        let sql = format!(
            "SELECT incident_id FROM cases WHERE opened_at >= '2024-03-12T{hour}:00:00Z' \
             AND opened_at < '2024-03-12T{hour}:15:00Z' ORDER BY opened_at LIMIT 1"
        );
        let found = ask(archive, &sql);
        found.lines().nth(1).unwrap_or_else(|| panic!("nothing at {hour}: {found}")).to_owned()
    })
}

#[test]
fn an_incident_that_comes_back_finds_the_first_and_the_runbook_of_its_service() {
    let desk = Desk::new();
    desk.import();
    let (outage, archive) = (desk.dir.path().join("outage"), desk.archive());
    days(&outage);
    let told = replay(&outage, &archive, &[]);
    let ids = ids(&archive);
    assert!(told.contains(&format!("known     like incident {}", ids[0])), "{told}");
    let cited = "SELECT incident_id, kind, subject FROM evidence \
                 WHERE kind IN ('case', 'runbook') ORDER BY kind, from_ts, subject";
    let cited = ask(&archive, cited);
    assert!(cited.contains(&format!("{},case,{}", ids[2], ids[0])), "{cited}");
    assert!(cited.contains(&format!("{},runbook,team/storage/disk.md", ids[2])), "{cited}");
    assert!(!cited.contains(&format!("case,{}", ids[2])), "nothing is known before it is over");
    let sql = "SELECT sql FROM evidence WHERE kind IN ('case', 'runbook')";
    for query in ask(&archive, &format!("{sql} AND position('\"' IN sql) = 0")).lines().skip(1) {
        let query = query.trim_matches('"');
        assert!(ask(&archive, query).lines().count() > 1, "{query}");
    }
    let similar = search(&archive, &["--incident", &ids[2], "--kind", "case"]);
    assert_eq!(similar[0]["incident_id"], ids[0], "{similar:?}");
    // So does one who looks at a moment by hand.
    let [outage_text, place] = [&outage, &archive].map(|path| text(path));
    let at = "2024-03-12T14:00:00Z";
    let told = done(&["diagnose", &outage_text, "--at", at, "--archive", &place]);
    assert!(told.contains(&format!("like incident {}", ids[0])), "{told}");
    let before = search(&archive, &["--incident", &ids[0], "--kind", "case", "--limit", "9"]);
    assert!(before.iter().all(|c| ids.iter().all(|id| c["incident_id"] != id.as_str())));
    // What fits better comes first, of whichever kind it is.
    let kinds = |found: Vec<Value>| found.iter().map(|f| f["kind"].clone()).collect::<Vec<_>>();
    assert_eq!(kinds(search(&archive, &["DatabaseDiskFull: extend the volume"]))[0], "runbook");
    let words = kinds(search(&archive, &["ledger: error_ratio up on 3 instances, exception"]));
    assert_eq!(words[0], "case", "{words:?}");
    // A second replay, over an archive that knows how it ends, finds the same and adds nothing.
    let first = contents(&archive);
    replay(&outage, &archive, &[]);
    assert_eq!(contents(&archive), first);
    assert!(count(&first, "cases") >= 3);
}

#[test]
fn feedback_corrects_a_cause_and_moves_a_case_down() {
    let dir = TempDir::new().unwrap();
    let (outage, archive) = (dir.path().join("outage"), dir.path().join("archive"));
    days(&outage);
    replay(&outage, &archive, &[]);
    let ids = ids(&archive);
    let before = search(&archive, &["--incident", &ids[2], "--kind", "case", "--limit", "9"]);
    let say = |more: &[&str]| {
        let archive = text(&archive);
        done(&[&["incident", "feedback", &ids[0], "--archive", &archive], more].concat())
    };
    assert_eq!(
        say(&["--helpful", "no"]),
        format!("recorded as number 1 about incident {}\n", ids[0])
    );
    let after = search(&archive, &["--incident", &ids[2], "--kind", "case", "--limit", "9"]);
    let score = |found: &[Value]| {
        let case = found.iter().find(|f| f["incident_id"] == ids[0].as_str()).unwrap();
        (case["score"].as_f64().unwrap(), case["wrong"].clone())
    };
    assert!(score(&after).0 < score(&before).0 && score(&after).1 == 1, "{after:?}");
    say(&["--cause", "stockroom", "--note", "it had no index"]);
    let corrected = search(&archive, &["--incident", &ids[2], "--kind", "case", "--limit", "9"]);
    let case = corrected.iter().find(|f| f["incident_id"] == ids[0].as_str()).unwrap();
    // Nobody in particular has said something twice: one vote.
    assert_eq!((&case["root_service"], &case["wrong"]), (&"stockroom".into(), &1.into()));
    let given = ask(&archive, "SELECT number, cause, helpful, note FROM feedback ORDER BY number");
    assert_eq!(given, "number,cause,helpful,note\n1,,false,\n2,stockroom,,it had no index\n");
    let timed = "SELECT count(*) FROM feedback \
                 WHERE given_at BETWEEN now() - interval '1 hour' AND now() + interval '1 minute'";
    assert_eq!(ask(&archive, timed).lines().nth(1), Some("2"));
    say(&["--helpful", "yes", "--by", "ada", "--at", "2024-03-20T00:00:00Z"]);
    let late =
        ask(&archive, "SELECT given_by, given_at FROM feedback ORDER BY number DESC LIMIT 1");
    assert_eq!(late, "given_by,given_at\nada,2024-03-20T00:00:00Z\n");
    let archive = text(&archive);
    // Who speaks at the same time as others is heard, too.
    let voices: Vec<_> = (0..4)
        .map(|voice| {
            let (id, archive, by) = (ids[1].clone(), archive.clone(), format!("voice {voice}"));
            std::thread::spawn(move || {
                let say = ["incident", "feedback", &id, "--helpful", "yes", "--by", &by];
                done(&[&say[..], &["--archive", &archive]].concat())
            })
        })
        .collect();
    let mut said: Vec<String> = voices.into_iter().map(|voice| voice.join().unwrap()).collect();
    said.sort();
    let numbered = |n: usize| format!("recorded as number {n} about incident {}\n", ids[1]);
    assert_eq!(said, (1..=4).map(numbered).collect::<Vec<_>>());
    let sql = format!(
        "SELECT count(DISTINCT given_by) AS voices, count(DISTINCT number) AS numbers
         FROM feedback WHERE incident_id = '{}'",
        ids[1]
    );
    assert_eq!(ask(Path::new(&archive), &sql), "voices,numbers\n4,4\n");
    let slip =
        faultline(&["incident", "feedback", &ids[0], "--cause", "stokroom", "--archive", &archive]);
    assert!(slip.stderr.contains("is of a service \"stokroom\""), "{slip:?}");
}

/// One voice against the diagnosis does little to the section that it cited, seven do more, and
/// those of long ago less.
#[test]
fn feedback_on_an_incident_weighs_the_sections_that_it_was_told_with() {
    let desk = Desk::new();
    desk.write("storage/disk.md", DISK.split("## Mitigation").next().unwrap());
    desk.import();
    let (outage, archive) = (desk.dir.path().join("outage"), desk.archive());
    days(&outage);
    replay(&outage, &archive, &[]);
    let cited = "SELECT incident_id FROM evidence WHERE kind = 'runbook' \
                 AND subject = 'team/storage/disk.md' ORDER BY incident_id LIMIT 1";
    let id = ask(&archive, cited).lines().nth(1).unwrap().to_owned();
    let said = |by: &str, helpful: &str, at: &str| {
        let archive = text(&archive);
        let place = ["incident", "feedback", &id, "--archive", &archive];
        done(&[&place[..], &["--helpful", helpful, "--by", by, "--at", at]].concat());
    };
    let score = || {
        let at = ["--kind", "runbook", "--at", "2024-06-01T00:00:00Z"];
        let found = desk.search(&[&["the volume of a replica is full"], &at[..]].concat());
        let disk = found.iter().find(|f| f["source"] == "storage/disk.md").unwrap();
        disk["score"].as_f64().unwrap()
    };
    let unknown = score();
    said("ada", "no", "2024-05-31T00:00:00Z");
    let once = score() / unknown;
    assert!((0.94..0.96).contains(&once), "{once}");
    said("ada", "no", "2024-05-31T00:00:00Z");
    assert_eq!(score() / unknown, once, "of one person the last word counts");
    for by in ["ben", "cid", "dot", "eve", "fay", "gus"] {
        said(by, "no", "2024-05-31T00:00:00Z");
    }
    let often = score() / unknown;
    assert!((0.6..0.9).contains(&often), "{often}");
    said("ada", "yes", "2024-05-31T00:00:00Z");
    assert!(score() / unknown > often);
    for by in ["ada", "ben", "cid", "dot", "eve", "fay", "gus"] {
        said(by, "no", "2023-01-01T00:00:00Z");
    }
    let stale = score() / unknown;
    assert!(often < stale && stale < 1.0, "{often} {stale}");
}
