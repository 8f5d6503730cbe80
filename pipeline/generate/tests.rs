//! Scenarios end to end, read back through the product's own source.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use arrow::util::display::array_value_to_string;
use tempfile::TempDir;

use super::*;
use crate::source::{Next, Outage, Registries};
use crate::stream::schema::Stream;

fn short(kind: FaultKind, service: &str, format: Format) -> Scenario {
    let fault = FaultSpec {
        at: 20 * MINUTE,
        duration: 10 * MINUTE,
        service: service.to_owned(),
        kind,
        replica: None,
    };
    Scenario {
        duration: 40 * MINUTE,
        faults: vec![fault],
        changes: Vec::new(),
        format,
        ..Scenario::demo()
    }
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                out.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    out
}

/// Mean of a metric of a service by quarter of the scenario.
fn quarters(scenario: &Scenario, dir: &Path, service: &str, metric: &str) -> [f64; 4] {
    let mut outage = Outage::open(dir, 8192, "main").unwrap();
    let mut registries = Registries::new(10_000);
    let (mut sums, mut counts) = ([0.0; 4], [0.0; 4]);
    while let Next::Chunk(chunk) = outage.next(&mut registries).unwrap() {
        assert!(chunk.dead.is_empty(), "{:?}", chunk.dead[0]);
        if chunk.stream != Stream::Metrics {
            continue;
        }
        let ts = chunk.batch.column(0).as_primitive::<TimestampNanosecondType>();
        let values = chunk.batch.column(6).as_primitive::<Float64Type>();
        for row in 0..chunk.batch.num_rows() {
            let cell = |c: usize| array_value_to_string(chunk.batch.column(c), row).unwrap();
            if cell(2) == service && cell(4) == metric {
                let quarter = ((ts.value(row) - scenario.start) * 4 / scenario.duration) as usize;
                sums[quarter] += values.value(row);
                counts[quarter] += 1.0;
            }
        }
    }
    std::array::from_fn(|i| sums[i] / counts[i])
}

#[test]
fn the_same_scenario_gives_the_same_bytes_and_another_seed_others() {
    let scenario = short(FaultKind::CrashLoop, "tote", Format::Parquet);
    let (a, b, c) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    write(&scenario, a.path()).unwrap();
    write(&scenario, b.path()).unwrap();
    write(&Scenario { seed: 1, ..scenario }, c.path()).unwrap();
    assert_eq!(files(a.path()), files(b.path()));
    assert_ne!(files(a.path()), files(c.path()));
}

#[test]
fn a_slow_database_slows_its_callers_and_theirs() {
    let scenario = short(FaultKind::SlowDatabase, "vault-db", Format::Parquet);
    let dir = TempDir::new().unwrap();
    write(&scenario, dir.path()).unwrap();
    for (service, factor) in [("vault-db", 5.0), ("ledger", 2.0), ("till", 1.5), ("gate", 1.2)] {
        let q = quarters(&scenario, dir.path(), service, "latency_p50_ms");
        assert!(q[2] > factor * q[1], "{service}: {q:?}");
        assert!((q[1] / q[0] - 1.0).abs() < 0.1, "{service}: {q:?}");
    }
    let cache = quarters(&scenario, dir.path(), "hot-cache", "latency_p50_ms");
    assert!(cache[2] < 1.1 * cache[1], "{cache:?}");
}

#[test]
fn every_kind_of_fault_shows_in_the_metric_that_it_is_named_for() {
    for (kind, metric, factor) in [
        (FaultKind::CpuSaturation, "cpu_utilisation", 2.0),
        (FaultKind::MemoryLeak, "memory_bytes", 1.4),
        (FaultKind::ErrorReturn, "error_ratio", 50.0),
        (FaultKind::CrashLoop, "error_ratio", 50.0),
    ] {
        let scenario = short(kind, "stockroom", Format::Text);
        let dir = TempDir::new().unwrap();
        write(&scenario, dir.path()).unwrap();
        let q = quarters(&scenario, dir.path(), "stockroom", metric);
        assert!(q[2] > factor * q[1], "{kind:?}: {q:?}");
        assert!(q[3] < 1.3 * q[1] + 0.01, "{kind:?}: {q:?}");
    }
    let scenario = short(FaultKind::NetworkDelay, "stockroom", Format::Text);
    let dir = TempDir::new().unwrap();
    write(&scenario, dir.path()).unwrap();
    let own = quarters(&scenario, dir.path(), "stockroom", "latency_p50_ms");
    let caller = quarters(&scenario, dir.path(), "shelf", "latency_p50_ms");
    assert!(own[2] < 1.1 * own[1] && caller[2] > 2.0 * caller[1], "{own:?} {caller:?}");
}

#[test]
fn spans_hang_together() {
    let scenario = short(FaultKind::ErrorReturn, "ledger", Format::Parquet);
    let dir = TempDir::new().unwrap();
    write(&scenario, dir.path()).unwrap();
    let mut outage = Outage::open(dir.path(), 100_000, "main").unwrap();
    let mut registries = Registries::new(10_000);
    let mut spans = BTreeMap::new();
    while let Next::Chunk(chunk) = outage.next(&mut registries).unwrap() {
        if chunk.stream != Stream::Spans {
            continue;
        }
        let ts = chunk.batch.column(0).as_primitive::<TimestampNanosecondType>();
        let text = |c: usize, row| chunk.batch.column(c).as_string::<i32>().value(row).to_owned();
        let durations = chunk.batch.column(10).as_primitive::<Int64Type>();
        for row in 0..chunk.batch.num_rows() {
            let end = ts.value(row) + durations.value(row) * 1000;
            let span = (text(6, row), text(8, row), ts.value(row), end);
            assert!(spans.insert(text(7, row), span).is_none());
        }
    }
    assert!(spans.len() > 500);
    for (trace, parent, start, end) in spans.values().filter(|s| !s.1.is_empty()) {
        let (parent_trace, _, from, to) = &spans[parent];
        assert!(parent_trace == trace && from <= start && end <= &(to + 10_000));
    }
}

#[test]
fn a_scenario_that_names_no_service_is_refused() {
    let dir = TempDir::new().unwrap();
    let message =
        write(&short(FaultKind::CrashLoop, "nobody", Format::Text), dir.path()).unwrap_err();
    assert!(message.to_string().contains("`nobody`"));
}

#[test]
fn bulk_rows_are_as_many_as_asked_and_read_back() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("metrics")).unwrap();
    write_bulk(100_000, 77, 1, &dir.path().join("metrics/bulk.parquet")).unwrap();
    let mut outage = Outage::open(dir.path(), 8192, "main").unwrap();
    let mut registries = Registries::new(1000);
    let mut rows = 0;
    while let Next::Chunk(chunk) = outage.next(&mut registries).unwrap() {
        rows += chunk.received();
    }
    assert_eq!((rows, registries.get(Stream::Metrics).len()), (100_000, 77));
}
