//! The whole way from a diagnosis to a model and back, against models of every temper.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::stub::{Does, Stub};
use super::*;
use crate::coordinate;
use crate::model::{
    Cause, Change, DAY, Evidence, Incident, IncidentState, MINUTE, Plan, SECOND, Severity,
};

const AT: Nanos = 1_780_000_000 * SECOND;

fn fact(service: &str, n: usize, kind: &str, subject: &str) -> Evidence {
    Evidence {
        id: format!("{service}{n}"),
        incident_id: "i".to_owned(),
        kind: kind.to_owned(),
        service: service.to_owned(),
        instance: format!("{service}-0"),
        subject: subject.to_owned(),
        statement: format!("{subject} of {service}-0 rose"),
        from: AT,
        to: AT + 5 * MINUTE,
        observed: 70.0 + n as f64,
        expected: 5.0,
        sql: "SELECT 1".to_owned(),
    }
}

/// web -> api -> db, web -> cache; four candidates with these scores.
fn brief(scores: [f64; 4]) -> Brief {
    let services = ["db", "api", "web", "cache"];
    let mut evidence = Vec::new();
    let mut causes = Vec::new();
    for (service, score) in services.into_iter().zip(scores) {
        let own = [
            fact(service, 1, "metric", "latency_p50_ms"),
            fact(service, 2, "log", "connection refused by <*>"),
            fact(service, 3, "change", "settings"),
        ];
        causes.push(Cause {
            service: service.to_owned(),
            instance: String::new(),
            kind: "cpu".to_owned(),
            score,
            confidence: score,
            evidence_ids: own.iter().take(2).map(|e| e.id.clone()).collect(),
            lanes: Vec::new(),
        });
        evidence.extend(own);
    }
    Brief {
        diagnosis: Diagnosis {
            incident_id: "i".to_owned(),
            diagnosed_at: AT + 5 * MINUTE,
            complete_at: AT + 5 * MINUTE,
            method: "statistical".to_owned(),
            causes,
            evidence,
        },
        calls: [("web", "api"), ("api", "db"), ("web", "cache")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .to_vec(),
        began: [("db", 0), ("api", 30), ("web", 60), ("cache", 600)]
            .map(|(s, at)| (s.to_owned(), AT + at * SECOND))
            .into(),
        passages: Vec::new(),
    }
}

const CLOSE: [f64; 4] = [0.5, 0.45, 0.4, 0.35];

struct Desk {
    dir: TempDir,
    more: &'static str,
    now: Arc<AtomicI64>,
}

impl Desk {
    fn new(more: &'static str) -> Self {
        let now = Arc::new(AtomicI64::new(DAY));
        Self { dir: tempfile::tempdir().unwrap(), more, now }
    }

    fn config(&self, url: &str) -> LlmConfig {
        let dir = self.dir.path().join("llm");
        let text = format!(
            "base_url = {url:?}\nmodel = \"m\"\ndir = {dir:?}\nbackoff = \"1ms\"\n{}",
            self.more
        );
        toml::from_str(&text).unwrap()
    }

    fn advisor(&self, url: &str, mode: Mode) -> Advisor {
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || now.load(Ordering::Relaxed));
        Advisor::open(&self.config(url), mode, clock).unwrap()
    }
}

/// The JSON document of the last message of a user.
fn document(request: &Value) -> Value {
    let messages = request["messages"].as_array().unwrap();
    let last = messages.iter().rfind(|m| m["role"] == "user").unwrap();
    serde_json::from_str(last["content"].as_str().unwrap()).unwrap()
}

/// Candidates of the first document: service and an id of its evidence.
fn candidates(request: &Value) -> Vec<(String, String)> {
    let first = &request["messages"][1]["content"];
    let document: Value = serde_json::from_str(first.as_str().unwrap()).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let all = document["candidates"].as_array().unwrap().iter();
    all.map(|c| (text(&c["service"]), text(&c["evidence"][0]))).collect()
}

/// An answer that ranks candidates in this order.
fn ranks(request: &Value, order: &[usize]) -> String {
    let all = candidates(request);
    let claim = |(n, i): (usize, &usize)| {
        let confidence = 0.9 - 0.1 * n as f64;
        json!({ "service": all[*i].0, "confidence": confidence, "evidence": [all[*i].1] })
    };
    json!({ "causes": order.iter().enumerate().map(claim).collect::<Vec<_>>() }).to_string()
}

fn services(refined: &Refined) -> Vec<&str> {
    refined.diagnosis.causes.iter().map(|c| c.service.as_str()).collect()
}

fn verdicts(refined: &Refined) -> Vec<&str> {
    refined.calls.iter().map(|c| c.verdict).collect()
}

#[tokio::test]
async fn a_good_answer_decides_between_rivals() {
    let stub = Stub::start(|_, request| Does::Says(ranks(request, &[1, 0]))).await;
    let desk = Desk::new("usd_per_million_input_tokens = 10.0");
    let refined = desk.advisor(&stub.url, Mode::Live).refine(&brief(CLOSE)).await;
    assert_eq!(services(&refined), ["api", "db", "web", "cache"]);
    assert_eq!(refined.diagnosis.method, METHOD);
    let call = &refined.calls[0];
    assert_eq!((call.verdict, call.tokens, call.cost_usd), ("accepted", 110, 0.001));
    assert!(call.answer.contains("\"api\""), "pseudonyms are restored: {}", call.answer);
    let bodies = stub.bodies();
    assert_eq!((bodies.len(), &bodies[0]), (1, &call.prompt));
    // Neither words nor names of the system leave it.
    for name in ["\"api\"", "cache-0", "settings"] {
        assert!(!bodies[0].contains(name), "{name}");
    }
    assert!(bodies[0].contains("latency p50 ms") && bodies[0].contains("connection refused"));
}

#[tokio::test]
async fn a_wrong_model_overturns_nothing_that_is_plain() {
    let stub = Stub::start(|_, request| Does::Says(ranks(request, &[3, 2, 1, 0]))).await;
    let refined =
        Desk::new("").advisor(&stub.url, Mode::Live).refine(&brief([0.6, 0.2, 0.15, 0.1])).await;
    assert_eq!(services(&refined)[0], "db", "{refined:?}");
    assert_eq!(verdicts(&refined), ["accepted"]);
}

#[tokio::test]
async fn what_cannot_be_checked_is_rejected_after_one_repair() {
    type Says = fn(&[(String, String)]) -> Value;
    let lies: [(&str, Says); 9] = [
        ("unknown evidence", |c| json!({"causes":[{"service":c[1].0,"evidence":["e99"]}]})),
        ("no evidence", |c| json!({"causes":[{"service":c[1].0,"evidence":[]}]})),
        ("evidence of another", |c| json!({"causes":[{"service":c[1].0,"evidence":[c[0].1]}]})),
        ("a service by its name", |c| json!({"causes":[{"service":"api","evidence":[c[1].1]}]})),
        (
            "an invented service",
            |c| json!({"causes":[{"service":"svc-00000000","evidence":[c[1].1]}]}),
        ),
        ("an action", |c| json!({"causes":[{"service":c[1].0,"evidence":[c[1].1],"action":"x"}]})),
        (
            "no call",
            |c| json!({"causes":[{"service":c[1].0,"evidence":[c[1].1],"path":[c[3].0,c[1].0]}]}),
        ),
        (
            "effect before cause",
            |c| json!({"causes":[{"service":c[3].0,"evidence":[c[3].1],"path":[c[2].0,c[3].0]}]}),
        ),
        (
            "more than certain",
            |c| json!({"causes":[{"service":c[1].0,"evidence":[c[1].1],"confidence":7}]}),
        ),
    ];
    for (name, says) in lies {
        let stub = Stub::start(move |_, r| Does::Says(says(&candidates(r)).to_string())).await;
        let asked = brief(CLOSE);
        let refined = Desk::new("").advisor(&stub.url, Mode::Live).refine(&asked).await;
        assert_eq!(refined.diagnosis, asked.diagnosis, "{name}");
        assert_eq!(verdicts(&refined), ["rejected", "rejected"], "{name}");
    }
}

#[tokio::test]
async fn one_repair_is_granted_and_more_evidence_supplied() {
    let stub = Stub::start(|n, request| {
        let all = candidates(request);
        let text = document(request).to_string();
        Does::Says(match n {
            0 => "I think it is the database.".to_owned(),
            1 => {
                assert!(text.contains("rejected"), "{text}");
                let query = |q: &str| json!({ "query": q, "service": all[1].0 });
                json!({ "requests": [query("evidence"), query("callers"), query("callees")] })
                    .to_string()
            }
            _ => {
                assert!(
                    text.contains("change of configuration") || text.contains("event"),
                    "{text}"
                );
                assert!(text.contains("callers") && text.contains(&all[2].0), "{text}");
                format!("Sure!\n```json\n{}\n```", ranks(request, &[1]))
            }
        })
    })
    .await;
    let refined = Desk::new("").advisor(&stub.url, Mode::Live).refine(&brief(CLOSE)).await;
    assert_eq!(verdicts(&refined), ["rejected", "asked", "accepted"]);
    assert_eq!(services(&refined)[0], "api");
}

#[tokio::test]
async fn whatever_fails_the_statistical_diagnosis_stands() {
    const DRIP: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{";
    type Failing = (&'static str, fn() -> Does, &'static str);
    let failures: [Failing; 8] = [
        ("slow", || Does::Stalls(""), "timeout"),
        ("a byte and no more", || Does::Stalls(DRIP), "timeout"),
        ("rate limited", || Does::Status(429), "rate limited"),
        ("broken", || Does::Status(503), "server error"),
        ("no such key", || Does::Status(401), "refused"),
        (
            "a redirect",
            || {
                Does::Sends(
                    "HTTP/1.1 302 X\r\nLocation: http://169.254.169.254/\r\n\
                     Content-Length: 0\r\n\r\n",
                )
            },
            "refused",
        ),
        ("no HTTP", || Does::Sends("hello"), "unreachable"),
        (
            "no completion",
            || Does::Sends("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
            "malformed",
        ),
    ];
    for (name, does, detail) in failures {
        let stub = Stub::start(move |_, _| does()).await;
        let asked = brief(CLOSE);
        let more = if detail == "timeout" { "deadline = \"300ms\"" } else { "" };
        let desk = Desk::new(more);
        let refined = desk.advisor(&stub.url, Mode::Live).refine(&asked).await;
        assert_eq!(refined.diagnosis, asked.diagnosis, "{name}");
        let calls = &refined.calls;
        assert_eq!((calls.len(), calls[0].verdict), (1, "failed"), "{name}");
        assert_eq!(calls[0].detail, detail, "{name}");
        assert!(detail != "timeout" || calls[0].latency_ms >= 100, "{name}: {calls:?}");
    }
    let refined =
        Desk::new("").advisor("http://127.0.0.1:9", Mode::Live).refine(&brief(CLOSE)).await;
    assert_eq!(refined.calls[0].detail, "unreachable");
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_tls_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    // Ends with the process.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let refined = Desk::new("").advisor(&url, Mode::Live).refine(&brief(CLOSE)).await;
    assert_eq!(refined.calls[0].detail, "unreachable");
}

#[tokio::test]
async fn a_busy_endpoint_is_tried_again() {
    let stub = Stub::start(|n, request| match n {
        0 => Does::Status(429),
        1 => Does::Status(500),
        _ => Does::Says(ranks(request, &[0])),
    })
    .await;
    let refined = Desk::new("").advisor(&stub.url, Mode::Live).refine(&brief(CLOSE)).await;
    assert_eq!((verdicts(&refined), stub.bodies().len()), (vec!["accepted"], 3));
}

#[tokio::test]
async fn the_breaker_opens_and_closes_again() {
    let stub = Stub::start(|n, request| match n {
        0..3 => Does::Status(400),
        _ => Does::Says(ranks(request, &[0])),
    })
    .await;
    let desk = Desk::new("");
    let advisor = desk.advisor(&stub.url, Mode::Live);
    for n in 0..10 {
        let refined = advisor.refine(&brief(CLOSE)).await;
        assert_eq!(verdicts(&refined), [if n < 3 { "failed" } else { "skipped" }]);
        assert_eq!(refined.calls[0].detail, if n < 3 { "refused" } else { "breaker open" });
    }
    assert_eq!(stub.bodies().len(), 3, "the endpoint is left alone");
    desk.now.fetch_add(MINUTE, Ordering::Relaxed);
    assert_eq!(verdicts(&advisor.refine(&brief(CLOSE)).await), ["accepted"]);
    assert_eq!(verdicts(&advisor.refine(&brief([0.6, 0.5, 0.4, 0.3])).await), ["accepted"]);
}

#[tokio::test]
async fn budgets_are_hard_and_what_was_answered_is_not_asked_again() {
    let stub = Stub::start(|_, request| Does::Says(ranks(request, &[0]))).await;
    let desk = Desk::new("calls_per_day = 3");
    let advisor = desk.advisor(&stub.url, Mode::Live);
    for _ in 0..3 {
        assert_eq!(verdicts(&advisor.refine(&brief(CLOSE)).await), ["accepted"]);
    }
    assert_eq!(stub.bodies().len(), 1, "the same question");
    for n in 1..10 {
        advisor.refine(&brief([0.5, 0.45, 0.4, 0.3 - 0.01 * f64::from(n)])).await;
        // A restart forgets no money.
        let again = desk.advisor(&stub.url, Mode::Live);
        again.refine(&brief([0.5, 0.45, 0.4, 0.2 - 0.01 * f64::from(n)])).await;
    }
    assert!(stub.bodies().len() <= 3, "{}", stub.bodies().len());
    let poor = Desk::new("tokens_per_incident = 100");
    let asked = poor.advisor(&stub.url, Mode::Live).refine(&brief(CLOSE)).await;
    assert_eq!(verdicts(&asked), ["skipped"]);
    let call = &asked.calls[0];
    assert_eq!((call.detail.as_str(), call.tokens), ("budget of the incident", 0));
}

#[tokio::test]
async fn recorded_answers_are_replayed_to_the_byte() {
    let stub = Stub::start(|n, request| match n {
        0 => Does::Says("no idea".to_owned()),
        1 => Does::Says(ranks(request, &[1])),
        _ => Does::Status(400),
    })
    .await;
    let desk = Desk::new("");
    let recorder = desk.advisor(&stub.url, Mode::Record);
    let (one, two) = (brief(CLOSE), brief([0.5, 0.4, 0.3, 0.3]));
    let recorded = [recorder.refine(&one).await, recorder.refine(&two).await];
    assert_eq!(verdicts(&recorded[0]), ["rejected", "accepted"]);
    assert_eq!(verdicts(&recorded[1]), ["failed"]);
    let asked = stub.bodies().len();
    for _ in 0..2 {
        // Nobody listens there, and no budget is used.
        let replay = desk.advisor("http://127.0.0.1:9", Mode::Replay);
        let replayed = [replay.refine(&one).await, replay.refine(&two).await];
        assert_eq!(format!("{replayed:?}"), format!("{recorded:?}"));
    }
    assert_eq!(stub.bodies().len(), asked);
    let never =
        desk.advisor("http://127.0.0.1:9", Mode::Replay).refine(&brief([0.9, 0.8, 0.7, 0.6])).await;
    assert_eq!(
        (verdicts(&never), never.calls[0].detail.as_str()),
        (vec!["skipped"], "not recorded")
    );
    assert_eq!(never.diagnosis.method, "statistical");
}

#[tokio::test]
async fn keys_are_sent_where_they_belong_and_nowhere_else() {
    let stub = Stub::start(|_, request| Does::Says(ranks(request, &[0]))).await;
    for (header, expect) in
        [("bearer", "authorization: bearer s3cret-k3y"), ("api-key", "api-key: s3cret-k3y")]
    {
        let desk = Desk::new("");
        let file = desk.dir.path().join("key");
        std::fs::write(&file, "s3cret-k3y\n").unwrap();
        let mut config = desk.config(&stub.url);
        config.key_file = Some(file);
        config.key_header = toml::Value::String(header.to_owned()).try_into().unwrap();
        let advisor = Advisor::open(&config, Mode::Record, Arc::new(|| 0)).unwrap();
        let refined = advisor.refine(&brief(CLOSE)).await;
        let head = stub.requests.lock().unwrap().last().unwrap().0.clone();
        assert!(head.contains(expect), "{head}");
        assert!(!format!("{refined:?}").contains("s3cret"));
    }
}

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
