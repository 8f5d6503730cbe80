//! The shipped jobs, on counters, calls and severities, and on what stops being reported.

use std::fs;

use faultline::source::timestamp;
use serde_json::json;
use tempfile::TempDir;

use crate::program::{ask, replay};
use crate::random::Random;

/// 2026-03-01T00:00:00Z
const START: i64 = 1_772_323_200_000_000_000;
const MINUTE: i64 = 60_000_000_000;

/// Replays what `values` says of a minute and a service: rows of `metric,value`.
fn archive(
    minutes: i64,
    job: &str,
    mut values: impl FnMut(i64, &str) -> Vec<(&'static str, f64)>,
) -> TempDir {
    let mut rows = "ts,service,instance,metric,value\n".to_owned();
    for minute in 0..minutes {
        let ts = timestamp::format(START + minute * MINUTE);
        for service in ["web", "api", "cart", "db"] {
            for (metric, value) in values(minute, service) {
                rows += &format!("{ts},{service},{service}-0,{metric},{value:.5}\n");
            }
        }
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("metrics.csv"), rows).unwrap();
    let jobs = format!("sql/detect/{job}.sql");
    replay(dir.path(), &dir.path().join("archive"), &["--jobs", &jobs]);
    dir
}

#[test]
fn a_counter_is_judged_by_how_fast_it_counts() {
    let mut random = Random::new(9);
    let (mut errors, mut requests) = ([0.0; 4], [0.0; 4]);
    let dir = archive(300, "metric_level", |minute, service| {
        let n = ["web", "api", "cart", "db"].iter().position(|s| *s == service).unwrap();
        let faulty = service == "api" && minute >= 250;
        // A restart takes a counter back to zero, and is no fault of what it counts.
        if minute == 200 {
            (errors[n], requests[n]) = (0.0, 0.0);
        }
        errors[n] += (1.0 + random.unit()) * if faulty { 40.0 } else { 1.0 };
        requests[n] += 100.0 + 10.0 * random.unit();
        vec![("http_errors_total", errors[n]), ("request_seconds_count", requests[n])]
    });
    let sql = "SELECT DISTINCT service, metric, detail FROM signals";
    let told = ask(&dir.path().join("archive"), sql);
    assert_eq!(told, "service,metric,detail\napi,http_errors_total,per second\n");
    let first = "SELECT min(window_start), max(expected) < 0.1, max(observed) > 0.5 FROM signals";
    let told = ask(&dir.path().join("archive"), first);
    assert_eq!(told.lines().nth(1), Some("2026-03-01T04:09:15Z,true,true"));
}

#[test]
fn a_fault_minutes_after_the_first_value_is_told_by_what_others_of_its_kind_do() {
    let mut random = Random::new(4);
    let metrics = ["cpu", "memory", "threads", "latency", "queue", "sockets"];
    let dir = archive(40, "metric_level", |minute, service| {
        let faulty = service == "api" && (12..15).contains(&minute);
        let level = |metric: &str| if faulty && metric == "latency" { 80.0 } else { 10.0 };
        metrics.map(|metric| (metric, level(metric) * (1.0 + 0.1 * random.unit()))).to_vec()
    });
    let sql = "SELECT service, metric, min(window_start) AS at, min(direction) AS way FROM signals \
               GROUP BY service, metric";
    let told = ask(&dir.path().join("archive"), sql);
    assert_eq!(told, "service,metric,at,way\napi,latency,2026-03-01T00:11:15Z,up\n");
}

/// What is zero but now and then is as rare as it is in its kind, and no measure of other kinds.
#[test]
fn errors_now_and_then_are_no_fault_of_a_young_system_and_hide_none() {
    let mut random = Random::new(11);
    let metrics = ["cpu", "memory", "threads", "latency", "queue", "disk"];
    let dir = archive(60, "metric_level", |minute, service| {
        let faulty = service == "api" && (14..17).contains(&minute);
        let level = |metric: &str| if faulty && metric == "disk" { 80.0 } else { 10.0 };
        let mut values: Vec<(&'static str, f64)> =
            metrics.map(|metric| (metric, level(metric) * (1.0 + 0.1 * random.unit()))).to_vec();
        for metric in ["errors_per_second", "retries_per_second", "restarts"] {
            let event = random.unit() < 0.06;
            values.push((metric, f64::from(event) * (0.02 + 0.1 * random.unit())));
        }
        values
    });
    let sql = "SELECT service, metric, min(window_start) AS at FROM signals \
               GROUP BY service, metric";
    let told = ask(&dir.path().join("archive"), sql);
    assert_eq!(told, "service,metric,at\napi,disk,2026-03-01T00:13:15Z\n");
}

#[test]
fn a_share_of_failing_requests_opens_an_incident_however_its_metric_is_named() {
    let mut random = Random::new(7);
    let dir = archive(200, "error_budget", |minute, service| {
        let faulty = (120..130).contains(&minute);
        let blip = if minute == 60 { 0.3 } else { 0.0 };
        let rare = 0.002 * random.unit() + blip;
        match service {
            "web" => vec![("frontSuccessRate(%)", if faulty { 60.0 } else { 100.0 - rare })],
            "api" => vec![("request_error_ratio", if faulty { 0.3 } else { rare })],
            // Broken from the beginning, a rate per second, and no share of requests.
            "cart" => vec![("success_ratio", 0.0), ("errors_per_second", 40.0 * f64::from(faulty))],
            _ => vec![("memory_available_percent", if faulty { 20.0 } else { 90.0 })],
        }
    });
    let sql = "SELECT service, min(metric) AS metric, min(direction) AS way, \
               min(window_end) AS at, bool_or(detail = '40.0 % of requests fail') AS said \
               FROM signals GROUP BY service";
    let told = ask(&dir.path().join("archive"), sql);
    let expected = "service,metric,way,at,said\n\
                    api,request_error_ratio,up,2026-03-01T02:06:15Z,false\n\
                    web,frontSuccessRate(%),down,2026-03-01T02:03:15Z,true\n";
    let mut lines: Vec<&str> = told.lines().collect();
    lines[1..].sort_unstable();
    assert_eq!(lines, expected.lines().collect::<Vec<_>>(), "{told}");
    let severities = ask(&dir.path().join("archive"), "SELECT DISTINCT severity FROM incidents");
    assert_eq!(severities, "severity\ncritical\n");
}

#[test]
fn requests_are_told_to_fail_by_their_status_codes() {
    let mut random = Random::new(8);
    let mut rows = "ts,service,instance,metric,labels,value\n".to_owned();
    let mut counted = [[0.0; 3]; 3];
    for minute in 0..200 {
        let ts = timestamp::format(START + minute * MINUTE);
        for (n, service) in ["web", "api", "mesh"].into_iter().enumerate() {
            let faulty = service != "web" && minute >= 120;
            // Clients that ask for what is not there are no failure of the service.
            let missing = if minute >= 120 { 90.0 } else { 9.0 };
            let failing = if faulty { 50.0 } else { 0.5 };
            let codes = match service {
                "mesh" => [
                    r#"grpc_code=""OK"""#,
                    r#"grpc_code=""NotFound"""#,
                    r#"grpc_code=""Internal"""#,
                ],
                _ => [
                    r#"code=""200"",verb=""GET"""#,
                    r#"code=""404"",verb=""GET"""#,
                    r#"code=""503"",verb=""GET"""#,
                ],
            };
            for (code, (labels, rate)) in
                codes.into_iter().zip([500.0, missing, failing]).enumerate()
            {
                counted[n][code] += rate * (0.9 + 0.2 * random.unit());
                // There is no series of what has not happened.
                if service == "api" && code == 2 && !faulty {
                    continue;
                }
                let value = counted[n][code];
                rows +=
                    &format!("{ts},{service},{service}-0,requests_total,\"{labels}\",{value}\n");
            }
        }
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("metrics.csv"), rows).unwrap();
    let archive = dir.path().join("archive");
    replay(dir.path(), &archive, &["--jobs", "sql/detect/request_errors.sql"]);
    let sql = "SELECT service, metric, min(window_end) < '2026-03-01T02:17:00Z' AS soon, \
               max(observed) > 0.05 AND max(observed) < 0.1 AS share FROM signals \
               GROUP BY service, metric ORDER BY service";
    let told = ask(&archive, sql);
    let expected = "service,metric,soon,share\napi,requests_total:errors,true,true\n\
                    mesh,requests_total:errors,true,true\n";
    assert_eq!(told, expected);
    // Whose series tell of failures is at fault by errors, not by load.
    let sql = "SELECT DISTINCT kind FROM diagnoses WHERE rank = 1";
    assert_eq!(ask(&archive, sql), "kind\nerror_return\n");
}

#[test]
fn a_service_that_falls_silent_is_a_critical_incident_and_a_pause_of_all_is_none() {
    let mut random = Random::new(2);
    let dir = archive(300, "silent_service", |minute, service| {
        let gone = service == "cart" && (250..290).contains(&minute);
        let late = service == "db" && random.unit() < 0.1;
        let pause = (200..206).contains(&minute) && service != "web";
        if gone || late || pause { Vec::new() } else { vec![("cpu", 1.0)] }
    });
    let sql = "SELECT services, severity, opened_at FROM incidents";
    let told = ask(&dir.path().join("archive"), sql);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[1].starts_with("cart,critical,2026-03-01T04:1"), "{told}");
}

#[test]
fn a_metric_that_is_no_longer_reported_is_told_and_one_that_comes_and_goes_is_not() {
    let mut random = Random::new(5);
    let dir = archive(300, "silent_series", |minute, service| {
        let mut rows = vec![("cpu", 1.0), ("memory", 2.0), ("threads", 3.0)];
        if !(service == "api" && minute >= 250) {
            rows.push(("checkout_latency", 4.0));
        }
        if random.unit() < 0.7 {
            rows.push(("batch_latency", 5.0));
        }
        rows
    });
    let sql = "SELECT DISTINCT service, metric FROM signals";
    let told = ask(&dir.path().join("archive"), sql);
    assert_eq!(told, "service,metric\napi,samples:checkout_latency\n");
}

/// Replays spans of traces that go from web to api and on to db, and from batch to db.
fn traces(job: &str, db: impl Fn(i64, &str) -> Option<i64>) -> TempDir {
    let mut random = Random::new(6);
    let (mut rows, mut trace) = (String::new(), 0);
    for minute in 0..300 {
        for second in (0..60).step_by(4) {
            let ts = START + minute * MINUTE + second * 1_000_000_000;
            for path in [&["web", "api", "db"][..], &["batch", "db"]] {
                trace += 1;
                for (depth, service) in path.iter().enumerate() {
                    let caller = if depth > 0 { path[depth - 1] } else { "" };
                    let usual = 10_000 / (1 << depth);
                    let slow = if *service == "db" { db(minute, caller) } else { Some(1) };
                    let Some(slow) = slow else { continue };
                    let parent = if depth > 0 { format!("s{}", depth - 1) } else { String::new() };
                    rows += &format!(
                        "{{\"ts\":\"{}\",\"service\":\"{service}\",\"operation\":\"work\",\
                         \"trace_id\":\"t{trace}\",\"span_id\":\"s{depth}\",\
                         \"parent_span_id\":\"{parent}\",\"duration_us\":{}}}\n",
                        // All in one moment, as coarse clocks have it.
                        timestamp::format(ts),
                        slow * usual + (random.unit() * 500.0) as i64,
                    );
                }
            }
        }
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("spans.jsonl"), rows).unwrap();
    let jobs = format!("sql/detect/{job}.sql");
    replay(dir.path(), &dir.path().join("archive"), &["--jobs", &jobs]);
    dir
}

#[test]
fn calls_that_are_slow_for_one_caller_only_are_told_of_that_caller() {
    let dir = traces("call_latency", |minute, caller| {
        Some(if minute >= 250 && caller == "batch" { 20 } else { 1 })
    });
    let sql = "SELECT DISTINCT service, metric FROM signals";
    let told = ask(&dir.path().join("archive"), sql);
    assert_eq!(told, "service,metric\ndb,span:from batch:p95\n");
}

#[test]
fn a_call_that_is_no_longer_made_is_told_of_the_caller() {
    let dir =
        traces("missing_callee", |minute, caller| (minute < 250 || caller != "api").then_some(1));
    let sql = "SELECT DISTINCT service, metric FROM signals";
    let told = ask(&dir.path().join("archive"), sql);
    assert_eq!(told, "service,metric\napi,span:calls to db\n");
    // The archive keeps who called.
    let sql = "SELECT DISTINCT service, caller FROM spans WHERE caller <> '' ORDER BY 1, 2";
    let told = ask(&dir.path().join("archive"), sql);
    assert_eq!(told, "service,caller\napi,web\ndb,api\ndb,batch\n");
}

#[test]
fn a_trace_that_is_sent_line_by_line_is_one_kind_of_line_beside_what_it_says() {
    let mut rows = String::new();
    for minute in 0..300 {
        let mut line = |at: i64, body: &str| {
            let ts = timestamp::format(START + minute * MINUTE + at * 1_000_000);
            let line = json!({ "ts": ts, "service": "api", "body": body });
            rows += &format!("{line}\n");
        };
        (0..20).for_each(|at| line(at, "served a request"));
        if minute < 250 {
            continue;
        }
        line(20, "ERROR checkout failed");
        line(21, "com.acme.CartException: no cart");
        for (n, method) in ["add", "find", "open", "read", "send", "close"].iter().enumerate() {
            let at = n as i64 + 22;
            line(at, &format!("\tat com.acme.{method}.Cart.{method}(Cart.java:{n})"));
        }
        line(30, "Caused by: java.io.IOException: connection reset");
        line(31, "\t... 12 more");
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("logs.jsonl"), rows).unwrap();
    let archive = dir.path().join("archive");
    let jobs = ["new_template", "log_mix"].map(|job| format!("sql/detect/{job}.sql"));
    replay(dir.path(), &archive, &["--jobs", &jobs[0], "--jobs", &jobs[1]]);
    let sql = "SELECT window_start, observed FROM signals WHERE job = 'new_template'";
    assert_eq!(ask(&archive, sql), "window_start,observed\n2026-03-01T04:10:00Z,4.0\n");
    let sql = "SELECT DISTINCT template FROM logs WHERE template <> 'served a request' ORDER BY 1";
    let found = ask(&archive, sql);
    assert_eq!(found.lines().count(), 5, "{found}");
    assert!(found.contains("\nline of a stack trace\n"), "{found}");
}

#[test]
fn other_severities_in_proportion_are_told_and_more_lines_are_not() {
    let mut random = Random::new(7);
    let mut rows = String::new();
    for minute in 0..300 {
        for service in ["web", "api", "db"] {
            let busy = if service == "db" && minute >= 250 { 5 } else { 1 };
            for _ in 0..20 * busy {
                let warns = if service == "api" && minute >= 250 { 0.5 } else { 0.05 };
                let severity = if random.unit() < warns { "WARN" } else { "INFO" };
                rows += &format!(
                    "{{\"ts\":\"{}\",\"service\":\"{service}\",\"severity\":\"{severity}\",\
                     \"body\":\"served\"}}\n",
                    timestamp::format(START + minute * MINUTE),
                );
            }
        }
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("logs.jsonl"), rows).unwrap();
    let archive = dir.path().join("archive");
    replay(dir.path(), &archive, &["--jobs", "sql/detect/severity_mix.sql"]);
    let told = ask(&archive, "SELECT DISTINCT service, metric FROM signals");
    assert_eq!(told, "service,metric\napi,log:severities\n");
}

/// Services that only log, a quarter of an hour old when one of them hangs, fails or floods its log
/// for ten minutes, while all of them are asked twice as much.
fn logs_of_a_young_system(fault: &str) -> TempDir {
    let mut random = Random::new(12);
    let mut rows = String::new();
    for minute in 0..25 {
        let faulty = minute >= 15;
        for service in ["web", "api", "cart", "db", "mail", "stock", "users"] {
            let load = if faulty { 2.0 } else { 1.0 };
            let mut lines = (load * (30.0 + 15.0 * random.unit())) as u32;
            let mut severity = "INFO";
            let mut body = "served a request";
            match (service == "cart" && faulty, fault) {
                (true, "hang") => lines /= 25,
                (true, "flood") => lines *= 6,
                (true, "errors") => (severity, body) = ("ERROR", "no permission on table"),
                _ => {}
            }
            for line in 0..lines {
                let severity = if line % 5 == 0 { severity } else { "INFO" };
                let body = if severity == "ERROR" { body } else { "served a request" };
                let ts = timestamp::format(START + minute * MINUTE + i64::from(line));
                rows += &json!({"ts": ts, "service": service, "severity": severity, "body": body})
                    .to_string();
                rows.push('\n');
            }
        }
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("logs.jsonl"), rows).unwrap();
    let jobs = ["log_volume", "error_burst"].map(|job| format!("sql/detect/{job}.sql"));
    replay(dir.path(), &dir.path().join("archive"), &["--jobs", &jobs[0], "--jobs", &jobs[1]]);
    dir
}

#[test]
fn a_young_system_that_only_logs_tells_who_hangs_fails_or_floods_its_log() {
    let cases = [
        ("hang", "log:volume", "down"),
        ("flood", "log:volume", "up"),
        ("errors", "log:errors", "up"),
    ];
    for (fault, metric, direction) in cases {
        let dir = logs_of_a_young_system(fault);
        let archive = dir.path().join("archive");
        let roots = ask(&archive, "SELECT services, root_service FROM incidents");
        assert_eq!(roots, "services,root_service\ncart,cart\n", "{fault}");
        let sql = format!(
            "SELECT min(window_end) AS at, bool_and(direction = '{direction}') AS so \
             FROM signals WHERE metric = '{metric}' AND service = 'cart'"
        );
        let told = ask(&archive, &sql);
        assert!(
            ["at,so\n2026-03-01T00:16:00Z,true\n", "at,so\n2026-03-01T00:18:00Z,true\n"]
                .contains(&told.as_str()),
            "{fault}: {told}"
        );
        if fault != "errors" {
            let sql = "SELECT sql FROM evidence WHERE subject = 'lines'";
            let query = ask(&archive, sql);
            let query = query.lines().nth(1).unwrap().trim_matches('"');
            let lines = ask(&archive, query);
            assert!(lines.lines().count() > 20 && lines.contains(",cart,"), "{query}");
        }
    }
    let dir = logs_of_a_young_system("none");
    assert_eq!(ask(&dir.path().join("archive"), "SELECT count(*) AS n FROM incidents"), "n\n0\n");
}
