//! The shipped forecast, on disks that fill, that are emptied in time, and that stay as they are.

use std::fs;

use faultline::source::timestamp;
use tempfile::TempDir;

use crate::program::{faultline, replay, text};
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
