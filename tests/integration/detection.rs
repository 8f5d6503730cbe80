//! The shipped jobs, on counters and on services that stop reporting.

use std::fs;

use faultline::source::timestamp;
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
    assert_eq!(told.lines().nth(1), Some("2026-03-01T04:10:00Z,true,true"));
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
