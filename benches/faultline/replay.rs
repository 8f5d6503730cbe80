//! A whole replay of Parquet: rows per second from file to incidents, on all cores, and
//! DataFusion computing the same aggregates from the same file on as many.
//!
//! Opening the file is measured, compiling jobs and planning is not. DataFusion reads the text
//! columns as the dictionaries that the file declares, and as text.

use std::cell::LazyCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::available_parallelism;

use arrow::datatypes::{DataType, Field, Schema};
use criterion::{BatchSize, Criterion, Throughput};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use faultline::generate::write_bulk;
use faultline::knowledge::ClosedCase;
use faultline::model::{Nanos, Signal};
use faultline::run::{self, Observer, Options};
use faultline::source::{Outage, Source};
use faultline::stream::schema::timestamp;
use faultline::stream::{self, Job};
use tempfile::TempDir;

use crate::plain::{Query, session};

const ROWS: usize = 2_000_000;
const SERIES: usize = 4_000;
const SEED: u64 = 1;
const FILE: &str = "metrics/part-0.parquet";
const BATCH_ROWS: usize = 8_192;

/// No value is negative: every window is aggregated, none becomes a signal.
const WINDOW_ONLY: &str = "
INSERT INTO signals
SELECT cluster, service, instance, metric, window.start, window.end, mean, n, peak,
       '' AS direction, false AS ongoing, false AS predicted, '' AS detail
FROM (SELECT cluster, service, instance, metric, tumble(interval '1 minute') AS window,
             avg(value) AS mean, count(*) AS n, max(value) AS peak
      FROM metrics GROUP BY cluster, service, instance, metric, window)
WHERE peak < 0";

const SAME_IN_BATCH: &str = "
SELECT service, instance, metric, date_bin(interval '1 minute', ts) AS window_start,
       avg(value) AS mean, count(*) AS n, max(value) AS peak
FROM metrics GROUP BY service, instance, metric, window_start
HAVING max(value) < 0";

/// Those of the shipped jobs that read metrics.
const DETECTORS: [(&str, &str); 3] = [
    ("metric_level.sql", include_str!("../../sql/detect/metric_level.sql")),
    ("metric_shift.sql", include_str!("../../sql/detect/metric_shift.sql")),
    ("peer_outlier.sql", include_str!("../../sql/detect/peer_outlier.sql")),
];

pub fn bench(c: &mut Criterion) {
    let dir = LazyCell::new(outage);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut group = c.benchmark_group("replay");
    group.throughput(Throughput::Elements(ROWS as u64));
    let window_only: &[(&str, &str)] = &[("window_only.sql", WINDOW_ONLY)];
    for (name, jobs) in [("window only", window_only), ("metric detectors", &DETECTORS)] {
        group.bench_function(format!("faultline, {name}"), |b| {
            let compiled = || runtime.block_on(compile(jobs));
            let routine = |jobs| runtime.block_on(replay(dir.path(), jobs));
            b.iter_batched(compiled, routine, BatchSize::PerIteration);
        });
    }
    for (name, text) in [("dictionaries", None), ("keys as text", Some(DataType::Utf8View))] {
        group.bench_function(format!("datafusion, window only, {name}"), |b| {
            let planned = || runtime.block_on(plan(dir.path(), text.as_ref()));
            let routine = |query: Query| assert_eq!(runtime.block_on(query.run()), 0);
            b.iter_batched(planned, routine, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn outage() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_bulk(ROWS, SERIES, SEED, &path).unwrap();
    dir
}

async fn compile(jobs: &[(&str, &str)]) -> Vec<Job> {
    let mut compiled = Vec::new();
    for (name, text) in jobs {
        compiled.push(stream::compile(name, text).await.unwrap());
    }
    compiled
}

async fn replay(dir: &Path, jobs: Vec<Job>) {
    let outage = Outage::open(dir, BATCH_ROWS, "bench").unwrap();
    let topology = outage.topology().to_vec();
    let options = Options { batch_rows: BATCH_ROWS, ..Options::new("bench", Nanos::MAX) };
    let stop = Arc::new(AtomicBool::new(false));
    let source = Source::Outage(outage);
    let report = run::run(source, topology, jobs, options, Box::new(Nobody), stop).await.unwrap();
    assert_eq!(report.accounts.processed, ROWS as u64);
}

/// The query over the file with its own types, or with `text` in place of dictionaries.
async fn plan(dir: &Path, text: Option<&DataType>) -> Query {
    let context: SessionContext = session(available_parallelism().map_or(2, usize::from));
    let schema = text.map(|text| {
        let text = |name: &str| Field::new(name, text.clone(), true);
        let value = Field::new("value", DataType::Float64, true);
        let ts = Field::new("ts", timestamp(), true);
        Schema::new(vec![ts, text("service"), text("instance"), text("metric"), value])
    });
    let options = ParquetReadOptions { schema: schema.as_ref(), ..Default::default() };
    let path = dir.join(FILE);
    context.register_parquet("metrics", path.to_str().unwrap(), options).await.unwrap();
    Query::plan(&context, SAME_IN_BATCH).await
}

struct Nobody;

impl Observer for Nobody {
    fn progress(&mut self, _: u64, _: i64) {}
    fn signal(&mut self, _: &Signal) {}
    fn case(&mut self, _: &ClosedCase) {}
}
