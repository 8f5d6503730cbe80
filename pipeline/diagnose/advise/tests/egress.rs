//! What leaves, and what hostile text that came in can do.

use super::*;

fn rename(brief: &mut Brief, from: &str, to: &str) {
    let services = brief.diagnosis.causes.iter_mut().map(|c| &mut c.service);
    let services = services.chain(brief.diagnosis.evidence.iter_mut().map(|e| &mut e.service));
    let called = brief.calls.iter_mut().map(|(_, callee)| callee);
    services.chain(called).filter(|s| *s == from).for_each(|s| *s = to.to_owned());
}

/// A brief in which every text that a monitored system can write says `text`.
fn poisoned(text: &str) -> Brief {
    let mut brief = brief(CLOSE);
    for e in &mut brief.diagnosis.evidence {
        if e.id.ends_with('2') {
            e.subject = text.to_owned();
            e.statement =
                format!("{}: new log template, 9 lines where 0 are usual: {text}", e.service);
        } else if e.id.ends_with('3') {
            e.subject = text.to_owned();
            e.instance = text.to_owned();
            e.statement = format!("deploy of {text} on {} 40s before: {text}", e.service);
        } else {
            e.subject = format!("latency {text}");
            e.instance = text.to_owned();
        }
    }
    rename(&mut brief, "cache", text);
    brief
}

/// A past case and a section of a runbook, both with `line` in all their texts.
fn learned(brief: &mut Brief, n: usize, line: &str) {
    let case = Evidence {
        instance: line.to_owned(),
        statement: format!("like incident {line}"),
        ..fact("db", 100 + n, "case", line)
    };
    let section = Evidence { statement: line.to_owned(), ..fact("db", 200 + n, "runbook", line) };
    let text = format!("First restart it. {line}\nThen wait.");
    brief.passages.push(Passage { evidence_id: section.id.clone(), text });
    brief.diagnosis.evidence.extend([case, section]);
}

#[tokio::test]
async fn what_was_learned_is_shown_with_ids_that_may_be_cited() {
    let stub = Stub::start(|_, request| {
        let all = candidates(request);
        let first = request["messages"][1]["content"].as_str().unwrap();
        let document: Value = serde_json::from_str(first).unwrap();
        let case = document["evidence"].as_array().unwrap().iter().find(|e| e["kind"] == "case");
        let (case, note) = (case.unwrap(), &document["notes"][0]);
        assert_eq!(case["service"], all[0].0, "{case}");
        assert!(!case.to_string().contains("Tuesday"), "{case}");
        assert_eq!(note["text"], format!("First restart it. restart {}\nThen wait.", all[0].0));
        let cited = [&all[1].1, case["id"].as_str().unwrap(), note["id"].as_str().unwrap()];
        let own = json!({ "service": all[1].0, "confidence": 0.9, "evidence": cited });
        let only = json!({ "service": all[1].0, "confidence": 0.9, "evidence": [note["id"]] });
        let messages = request["messages"].as_array().unwrap().len();
        Does::Says(json!({ "causes": [if messages == 2 { only } else { own }] }).to_string())
    })
    .await;
    let mut brief = brief(CLOSE);
    learned(&mut brief, 1, "restart db");
    for e in brief.diagnosis.evidence.iter_mut().filter(|e| e.kind == "case") {
        e.statement = "the same as last Tuesday".to_owned();
    }
    let refined = Desk::new("").advisor(&stub.url, Mode::Live).refine(&brief).await;
    assert_eq!(verdicts(&refined), ["rejected", "accepted"], "a note alone proves nothing");
    assert_eq!(services(&refined)[0], "api");
}

#[tokio::test]
async fn no_name_of_a_service_or_an_instance_leaves() {
    let stub = Stub::start(|_, request| {
        let first = request["messages"][1]["content"].as_str().unwrap();
        let document: Value = serde_json::from_str(first).unwrap();
        let note = document["notes"][0]["text"].as_str().unwrap().to_owned();
        let answer = ranks(request, &[1]);
        Does::Says(answer.replacen('{', &format!("{{\"why\":{note:?},"), 1))
    })
    .await;
    let mut brief = brief(CLOSE);
    let of = |n: usize| fact(&format!("shop-{n}"), n, "metric", "cpu");
    brief.diagnosis.evidence.extend((0..30).map(of));
    brief.calls.push(("courier-billing".to_owned(), "ledger".to_owned()));
    brief.began.insert("notary".to_owned(), AT);
    let prose = "Restart shop-17-0 before Courier-Billing, then ledger and notary-2 on \
                 db17.prod.internal; shop-3 comes last.";
    learned(&mut brief, 1, prose);
    let refined = Desk::new("").advisor(&stub.url, Mode::Live).refine(&brief).await;
    let bodies = stub.bodies().join("\n").to_lowercase();
    for name in ["shop-17", "courier", "billing", "ledger", "notary", "db17", "prod", "shop-3"] {
        assert!(!bodies.contains(name), "{name}: {bodies}");
    }
    let told = &refined.calls[0].answer;
    for name in ["shop-17-0", "courier-billing", "ledger", "notary-2", "db17.prod.internal"] {
        assert!(told.contains(name), "{name} is put back: {told}");
    }
}

#[tokio::test]
async fn no_secret_of_five_hundred_is_in_any_request() {
    // Asks for everything that there is before it answers.
    let stub = Stub::start(|_, request| {
        let messages = request["messages"].as_array().unwrap().len();
        let all = candidates(request);
        Does::Says(match messages {
            2 => {
                let query = |(s, _): &(String, _)| json!({ "query": "evidence", "service": s });
                json!({ "requests": all.iter().map(query).collect::<Vec<_>>() }).to_string()
            }
            _ => ranks(request, &[0]),
        })
    })
    .await;
    let desk = Desk::new("calls_per_day = 100000\ntokens_per_day = 1000000000");
    let advisor = desk.advisor(&stub.url, Mode::Live);
    let secrets = planted::secrets(500);
    for several in secrets.chunks(10) {
        let lines: Vec<String> =
            several.iter().zip(0..).map(|(s, n)| planted::sentences(s)[n % 4].clone()).collect();
        let mut brief = poisoned(&lines.join("\n"));
        for (e, line) in brief.diagnosis.evidence.iter_mut().zip(&lines) {
            e.subject.clone_from(line);
        }
        for (line, n) in lines.iter().zip(0..) {
            learned(&mut brief, n, line);
        }
        assert_eq!(verdicts(&advisor.refine(&brief).await), ["asked", "accepted"]);
    }
    let bodies = stub.bodies();
    assert_eq!(bodies.len(), 100);
    assert!(bodies[0].contains("First restart it."), "runbooks are read");
    assert!(bodies[0].contains("past incident"), "cases are told");
    for secret in &secrets {
        let core = serde_json::to_string(&secret.core).unwrap();
        let core = core.trim_matches('"');
        assert!(!bodies.iter().any(|b| b.contains(core)), "{}: {core}", secret.kind);
    }
}

fn plan_of(diagnosis: &Diagnosis) -> Plan {
    let incident = Incident {
        id: "i".to_owned(),
        cluster: "c".to_owned(),
        state: IncidentState::Open,
        severity: Severity::Warning,
        opened_at: AT,
        started_at: AT,
        last_seen_at: AT,
        closed_at: None,
        services: vec!["db".to_owned()],
        signals: Vec::new(),
    };
    let changes: [Change; 0] = [];
    coordinate::plan(&incident, diagnosis, &changes)
}

/// Reads everything, decodes what it can, and does what it is told: ranks last what was first.
fn obeys(request: &Value) -> bool {
    let told = |text: &str| {
        let text = fold::fold(text).to_lowercase();
        ["ignore", "scale", "rank", "answer", "instruction", "kubectl", "you must", "cache is"]
            .iter()
            .any(|word| text.contains(word))
    };
    let messages = request["messages"].as_array().unwrap().iter().skip(1);
    let heard: Vec<String> = messages.map(|m| m["content"].as_str().unwrap().to_owned()).collect();
    heard.iter().any(|text| {
        let reversed: String = text.chars().rev().collect();
        let squeezed: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
        let tokens = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/".contains(c)));
        let decoded: String = tokens.flat_map(|t| [base64(t), hex(t)]).collect();
        [text, &reversed, &squeezed, &decoded].into_iter().any(|t| told(t))
    })
}

fn base64(text: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = text
        .chars()
        .filter_map(|c| ALPHABET.find(c))
        .flat_map(|v| (0..6).rev().map(move |b| (v >> b & 1) as u8))
        .collect();
    let byte = |b: &[u8]| b.iter().fold(0, |x, bit| x << 1 | bit);
    bits.chunks_exact(8).map(|b| char::from(byte(b))).collect()
}

fn hex(text: &str) -> String {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks_exact(2).filter_map(|d| char::from_u32(d[0] * 16 + d[1])).collect()
}

#[tokio::test]
async fn hostile_telemetry_changes_neither_ranking_nor_plan() {
    let stub = Stub::start(|_, request| {
        Does::Says(if obeys(request) {
            ranks(request, &[3, 2, 1, 0])
        } else {
            ranks(request, &[0, 1, 2, 3])
        })
    })
    .await;
    let desk = Desk::new("calls_per_day = 1000");
    let advisor = desk.advisor(&stub.url, Mode::Live);
    let lines: Vec<&str> = include_str!("hostile.txt").lines().filter(|l| !l.is_empty()).collect();
    let (count, mut flagged) = (lines.len(), 0);
    assert!(count >= 40, "{count}");
    for line in lines {
        let line = line
            .replace("\\u200b", "\u{200b}")
            .replace("\\u202e", "\u{202e}")
            .replace("\\n", "\n")
            .replace("\\u{e0069}", "\u{e0069}");
        let heard = json!({ "messages": [{}, { "content": line }] });
        assert!(obeys(&heard), "the stub would not obey: {line}");
        let poisoned = poisoned(&line);
        let refined = advisor.refine(&poisoned).await;
        assert_eq!(verdicts(&refined), ["accepted"], "{line}");
        assert_eq!(refined.diagnosis.causes, poisoned.diagnosis.causes, "{line}");
        assert_eq!(plan_of(&refined.diagnosis), plan_of(&poisoned.diagnosis), "{line}");
        flagged += usize::from(refined.calls[0].flagged > 0);
    }
    assert!(flagged * 10 >= count * 9, "{flagged} of {count} are flagged");
    let quiet = advisor.refine(&brief([0.6, 0.5, 0.4, 0.3])).await;
    assert_eq!(quiet.calls[0].flagged, 0);
}
