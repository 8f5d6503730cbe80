use std::collections::BTreeSet;

use super::super::tests::{check_apart, check_one, mine};
use super::super::{Limits, Miner, TemplateId, hash};

#[test]
fn a_value_ends_where_its_quotes_do() {
    let outputs = ["statuscode: 500", "connection refused", "it has no answer in time"];
    let line = |(i, out): (usize, &&str)| {
        let kind = ["Liveness", "Readiness", "Startup"][i];
        format!("\"Probe failed\" probeType=\"{kind}\" pod=\"a/b{i}\" output=\"{out}\"")
    };
    let lines: Vec<String> = outputs.iter().enumerate().map(line).collect();
    let found = mine(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(found.iter().all(|text| text.contains("pod=")), "{found:?}");
    let dropped = |queue, text: &str| {
        format!(r#"{{"level":"warn","msg":"message dropped: {text}","queue":"{queue}","n":1}}"#)
    };
    let texts = ["queue full", "no such route at all", "it was too old by far"];
    let lines = texts.map(|text| dropped(&text[..2], text));
    let found = mine(&lines.each_ref().map(String::as_str));
    assert!(found.iter().all(|text| text.contains("\"queue\":")), "{found:?}");
}

#[test]
fn the_message_of_a_record_is_no_part_of_a_value() {
    let line = |caller: &str, text: &str| {
        format!(r#"{{"level":"info","ts":1.5,"caller":"{caller}:12","msg":"{text}"}}"#)
    };
    check_apart(&[
        &line("a/b.go", "ready"),
        &line("raft.go", "started the election"),
        &line("main.go", "lost its leader in a vote of all"),
        &line("log.go", "wrote it"),
    ]);
}

#[test]
fn what_is_data_in_one_line_and_text_in_another_is_a_value() {
    let mut miner = Miner::new(Limits::default());
    let agents = ["curl/7.68.0", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20 (like it)"];
    for agent in agents {
        for way in ["GET", "PUT", "POST", "HEAD", "PATCH"] {
            let line = format!("\"{way} /a\" to shop for \"{agent}\" via proxy");
            miner.add(line.as_bytes());
        }
    }
    let found: Vec<String> = miner.templates().map(|(_, text, _)| text).collect();
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.iter().all(|text| text.contains("for \"<*>\" via")), "{found:?}");
}

#[test]
fn a_value_ends_where_the_next_key_begins() {
    let reasons = ["Account locked out", "Unknown name or bad password", "It is not allowed so"];
    let line = |reason| format!("It failed. Account Name: ada Id: 7 Reason: {reason}. Status: 5");
    let lines = reasons.map(line);
    check_one(
        &lines.each_ref().map(String::as_str),
        "It failed. Account Name: ada Id: <*> Reason: <*>. Status: <*>",
    );
    let line = |reason| format!("It failed. Reason: {reason} Id: 7 Cause: {reason}");
    let texts = mine(&reasons.map(line).each_ref().map(String::as_str));
    assert!(texts.iter().all(|text| text.contains(" Id: <*> Cause: ")), "{texts:?}");
}

#[test]
fn a_quote_within_quotes_does_not_end_them() {
    let line = |i: usize, text: &str| {
        format!(r#"request {i} took too long request="{text}" response="size:{i}""#)
    };
    let texts = [r#"key:\"a/b1\""#, r#"key:\"a/b1\" limit:5"#, r#"header:<ID:7> lease:8"#];
    let lines: Vec<String> = texts.iter().enumerate().map(|(i, text)| line(i, text)).collect();
    check_one(
        &lines.iter().map(String::as_str).collect::<Vec<_>>(),
        r#"request <*> took too long request="<*>" response="size:<*>""#,
    );
}

#[test]
fn a_message_that_is_most_of_the_log_still_becomes_one() {
    let mut noise = 7;
    let mut word = |most: u64| -> String {
        noise = hash::fold(noise ^ hash::SEED, hash::K1).wrapping_add(1);
        let letters = hash::fold((noise >> 20) % most, hash::K1);
        (0..9).map(|i| (b'g' + (letters >> (i * 5)) as u8 % 20) as char).collect()
    };
    let mut miner = Miner::new(Limits::default());
    let mut ids: Vec<TemplateId> = Vec::new();
    for i in 0..6_000 {
        let reason: Vec<String> = (0..=i % 7).map(|_| word(4_000)).collect();
        let line = format!("{} could not restore the state of all: {}", word(30), reason.join(" "));
        ids.push(miner.add(line.as_bytes()));
    }
    let (early, late) = ids.split_at(4_000);
    let early: BTreeSet<_> = early.iter().collect();
    assert!(miner.templates().count() < 400, "{}", miner.templates().count());
    let new = late.iter().filter(|id| !early.contains(id)).count();
    assert!(new < 20, "{new} of {} lines are of a new message", late.len());
}
