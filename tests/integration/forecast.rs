//! The shipped forecasts: what fills, empties or expires, and what does not.

use std::fs;

use faultline::source::timestamp;
use tempfile::TempDir;

use crate::program::{ask, faultline, replay, text};
use crate::random::Random;

/// 2026-03-01T00:00:00Z
const START: i64 = 1_772_323_200_000_000_000;

#[test]
fn a_disk_that_fills_is_foretold_once_and_no_other_is() {
    let mut random = Random::new(4);
    let mut rows = "ts,service,instance,metric,value\n".to_owned();
    for minute in 0..10 * 60 {
        let ts = timestamp::format(START + minute * 60_000_000_000);
        let age = minute as f64;
        for (instance, used) in [
            ("db-0", 0.5 + age * 0.000_35),
            ("db-1", 0.6),
            ("web-0", 0.4 + (minute % 180) as f64 * 0.000_6),
            ("cache-0", 0.9 - age * 0.000_3),
        ] {
            let used = used + 0.004 * (random.unit() - 0.5);
            let service = instance.split('-').next().unwrap();
            rows += &format!("{ts},{service},{instance},disk_used_ratio,{used:.5}\n");
        }
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("metrics.csv"), rows).unwrap();
    let archive = dir.path().join("archive");
    replay(dir.path(), &archive, &["--jobs", "sql/detect/forecast_breach.sql"]);
    let told = faultline(&[
        "query",
        "--archive",
        &text(&archive),
        "--format",
        "csv",
        "SELECT instance, predicted, detail FROM signals",
    ]);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines[0], "instance,predicted,detail");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("db-0,true,full in "), "{lines:?}");
}

/// Replays what `value` says of each metric at a minute.
fn told(job: &str, minutes: i64, value: impl Fn(&str, f64) -> Option<f64>) -> String {
    let mut rows = "ts,service,instance,metric,value\n".to_owned();
    for minute in 0..minutes {
        let ts = timestamp::format(START + minute * 60_000_000_000);
        for metric in METRICS {
            if let Some(value) = value(metric, minute as f64) {
                rows += &format!("{ts},node,node-0,{metric},{value:.3}\n");
            }
        }
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("metrics.csv"), rows).unwrap();
    let archive = dir.path().join("archive");
    replay(dir.path(), &archive, &["--jobs", &format!("sql/detect/{job}.sql")]);
    ask(&archive, "SELECT metric, direction, predicted, detail FROM signals ORDER BY metric")
}

const METRICS: [&str; 14] = [
    "spiffe_tls_cert_expires_at",
    "tls_ca_cert_expires_at",
    "disk_free_percent",
    "mysql_buffer_pool_pages_free",
    "queue_messages_available",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemFree_bytes",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "process_heap_used_percent",
    "queue_used_ratio",
    "probe_ssl_earliest_cert_expiry",
    "x509_cert_not_after",
    "tls_cert_expires_at",
];

#[test]
fn what_is_left_counts_down_to_nothing_and_a_leak_up_to_its_limit() {
    let mut random = Random::new(8);
    let noise: Vec<f64> = (0..480).map(|_| random.unit() - 0.5).collect();
    let told = told("forecast_breach", 480, |metric, minute| {
        let noise = noise[minute as usize];
        Some(match metric {
            // Gone in two hours more, as is the heap.
            "node_memory_MemAvailable_bytes" => 8e9 - minute * 8e9 / 600.0 + 1e7 * noise,
            "process_heap_used_percent" => 20.0 + minute * 80.0 / 600.0 + noise,
            // Page cache takes what is free, which is as it should be.
            "node_memory_MemFree_bytes" => 8e9 - minute * 8e9 / 600.0 + 1e7 * noise,
            // Twenty hours more, which is soon for a disk and not for a queue.
            "node_filesystem_avail_bytes" => 9e11 - minute * 9e11 / 1680.0 + 1e8 * noise,
            "queue_used_ratio" => minute / 1680.0 + 0.001 * noise,
            "node_filesystem_size_bytes" => 9e11,
            "disk_free_percent" => 90.0 - minute * 90.0 / 1680.0 + 0.1 * noise,
            // A cache that fills and a queue that is worked off are as they should be.
            "mysql_buffer_pool_pages_free" => 9e4 - minute * 9e4 / 600.0 + 100.0 * noise,
            "queue_messages_available" => 9e4 - minute * 9e4 / 600.0 + 100.0 * noise,
            _ => return None,
        })
    });
    let lines: Vec<&str> = told.lines().skip(1).collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].starts_with("disk_free_percent,down,true,empty in 2"), "{told}");
    assert!(lines[1].starts_with("node_filesystem_avail_bytes,down,true,empty in 2"), "{told}");
    assert!(lines[2].starts_with("node_memory_MemAvailable_bytes,down,true,empty in "), "{told}");
    assert!(lines[3].starts_with("process_heap_used_percent,up,true,full in "), "{told}");
}

#[test]
fn what_comes_as_near_to_its_end_every_day_is_no_news_and_nearer_is() {
    let mut random = Random::new(9);
    let days = 5;
    let noise: Vec<f64> = (0..days * 1_440).map(|_| random.unit() - 0.5).collect();
    let told = told("forecast_breach", days * 1_440, |metric, minute| {
        let (of_day, noise) = (minute % 1_440.0 / 1_440.0, noise[minute as usize]);
        let wave = (std::f64::consts::TAU * of_day).sin();
        Some(match metric {
            // Both are cleared every night; on the last day one is used up nearly twice as fast.
            "disk_free_percent" => 60.0 - 35.0 * of_day + 0.1 * noise,
            "node_filesystem_avail_bytes" if minute < 4.0 * 1_440.0 => 6e11 - 3e11 * of_day,
            "node_filesystem_avail_bytes" => 6e11 - 5.5e11 * of_day,
            "queue_used_ratio" => 0.5 + 0.45 * wave + 0.02 * noise,
            _ => return None,
        })
    });
    let lines: Vec<&str> = told.lines().skip(1).collect();
    assert_eq!(lines.len(), 3, "the first day, and what has never been so near: {told}");
    assert!(lines[0].starts_with("disk_free_percent,down,true,empty in 2"), "{told}");
    assert_eq!(lines[1], "node_filesystem_avail_bytes,down,true,empty in 10 h at this rate");
    assert!(lines[2].starts_with("queue_used_ratio,up,true,full in "), "{told}");
}

#[test]
fn what_expires_within_a_week_is_told_in_time() {
    let (day, now) = (86_400.0, START as f64 / 1e9);
    let told = told("certificate_expiry", 5 * 1_440, |metric, minute| match metric {
        "probe_ssl_earliest_cert_expiry" => Some(now + 11.0 * day),
        "x509_cert_not_after" => Some(now + 90.0 * day),
        "tls_cert_expires_at" => Some(now + 4.9 * day),
        // Renewed every twelve hours, for a day each time.
        "spiffe_tls_cert_expires_at" => Some(now + ((minute / 720.0).floor() * 0.5 + 1.0) * day),
        "tls_ca_cert_expires_at" => Some(now - 300.0 * day),
        _ => None,
    });
    let lines: Vec<&str> = told.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert_eq!(lines[0], "tls_cert_expires_at,up,true,expires in 39 h", "{told}");
    assert_eq!(lines[1], "tls_cert_expires_at,up,true,expires in 23 h", "{told}");
}
