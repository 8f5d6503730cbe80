//! The whole way from a diagnosis to a model and back, against models of every temper.

mod egress;

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
            reporting: Default::default(),
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
    let failures: [Failing; 9] = [
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
        ("no HTTP", || Does::Sends("hello"), "cut off"),
        ("cut off", || Does::Sends(DRIP), "cut off"),
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
        assert!(calls[0].detail.starts_with(detail), "{name}: {}", calls[0].detail);
        // What may have been charged for is not asked again.
        let tries = if ["rate limited", "server error"].contains(&detail) { 3 } else { 1 };
        assert_eq!(stub.bodies().len(), tries, "{name}");
        assert!(detail != "timeout" || calls[0].latency_ms >= 100, "{name}: {calls:?}");
    }
    let refined =
        Desk::new("").advisor("http://127.0.0.1:9", Mode::Live).refine(&brief(CLOSE)).await;
    assert!(refined.calls[0].detail.starts_with("unreachable: "), "{:?}", refined.calls[0]);
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_tls_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    // Ends with the process.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let refined = Desk::new("").advisor(&url, Mode::Live).refine(&brief(CLOSE)).await;
    let call = &refined.calls[0];
    assert!(call.detail.starts_with("unreachable: "), "{}", call.detail);
    assert_eq!((call.tokens, call.cost_usd), (0, 0.0), "nobody was asked");
}

#[tokio::test]
async fn why_an_endpoint_refuses_is_told_and_its_secrets_are_not() {
    let said = json!({ "error": { "message":
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'. \
         Your key: sk-4f9a8b7c6d5e4f3a2b1c0d"
    } });
    let stub = Stub::start(move |_, request| match request["max_tokens"].is_null() {
        true => Does::Says(ranks(request, &[0])),
        false => Does::SendsText(format!(
            "HTTP/1.1 400 X\r\nContent-Length: {}\r\n\r\n{said}",
            said.to_string().len()
        )),
    })
    .await;
    let refined = Desk::new("").advisor(&stub.url, Mode::Live).refine(&brief(CLOSE)).await;
    let detail = &refined.calls[0].detail;
    let expect = "refused: 400 Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.";
    assert!(detail.starts_with(expect) && !detail.contains("4f9a8b"), "{detail}");
    let desk = Desk::new("answer_tokens_field = \"max_completion_tokens\"");
    let refined = desk.advisor(&stub.url, Mode::Live).refine(&brief(CLOSE)).await;
    assert_eq!(verdicts(&refined), ["accepted"]);
}

#[tokio::test]
async fn an_endpoint_says_when_to_come_back_in_seconds_or_as_a_date() {
    let date = chrono::Utc::now() + chrono::TimeDelta::days(1);
    for asked in ["3600.5".to_owned(), date.to_rfc2822()] {
        let stub = Stub::start(move |_, _| {
            Does::SendsText(format!(
                "HTTP/1.1 429 X\r\nRetry-After: {asked}\r\nContent-Length: 0\r\n\r\n"
            ))
        })
        .await;
        let refined = Desk::new("").advisor(&stub.url, Mode::Live).refine(&brief(CLOSE)).await;
        // Later than it may wait, so it is not tried again.
        assert_eq!((verdicts(&refined), stub.bodies().len()), (vec!["failed"], 1));
    }
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
        assert_eq!(refined.calls[0].detail, if n < 3 { "refused: 400 {}" } else { "breaker open" });
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
