//! Window aggregation on one thread: rows per second through the engine, and through plain batch
//! DataFusion over the same batches in the same run.
//!
//! The engine reads rows whose keys were interned by the source. DataFusion groups by the same
//! dictionaries, and by plain text, which it is better at. `faultline, keys as text` interns on
//! the way, as a text source does, so that no side has work done for it.

use std::cell::LazyCell;
use std::ops::Deref;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Schema, SchemaRef, TimestampNanosecondType,
};
use arrow::record_batch::RecordBatch;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use datafusion::prelude::SessionContext;
use faultline::generate::Bulk;
use faultline::stream;
use faultline::stream::driver::Driver;
use faultline::stream::rows::Rows;
use faultline::stream::schema::Stream;
use faultline::stream::series::Registry;
use tokio::runtime::Runtime;

use crate::plain::{Query, in_memory};

/// 600 steps of 15 s, so 150 minutes.
const ROWS: usize = 2_400_000;
const SERIES: usize = 4_000;
const BATCH_ROWS: usize = 8_192;
const SEED: u64 = 1;

/// Length, and windows that the rows fill: 4 and 40 rows per series in each.
const TUMBLES: [(&str, usize); 2] = [("1 minute", 150), ("10 minutes", 15)];
/// Windows of five minutes that end at each minute, from the first to the one that begins last.
const HOPS: usize = 150 + 4;

pub fn bench(c: &mut Criterion) {
    let rows = LazyCell::new(interned_rows);
    let batches = LazyCell::new(|| rows.iter().map(|r| r.batch.clone()).collect::<Vec<_>>());
    let text = LazyCell::new(|| with_keys(&batches, &DataType::Utf8));
    let text_table = LazyCell::new(|| in_memory(text.clone()));
    let view_table = LazyCell::new(|| in_memory(with_keys(&batches, &DataType::Utf8View)));
    let dictionary_table = LazyCell::new(|| in_memory(batches.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = c.benchmark_group("window");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (length, windows) in TUMBLES {
        let id = |who: &str| BenchmarkId::new(format!("tumble {length}"), who);
        let call = format!("tumble(interval '{length}')");
        engine(&mut group, id("faultline"), &runtime, (&call, windows), async |driver| {
            drive(driver, rows.iter().cloned()).await
        });
        let who = id("faultline, keys as text");
        engine(&mut group, who, &runtime, (&call, windows), async |driver| {
            let mut registry = Registry::new(Stream::Metrics, SERIES);
            drive(driver, text.iter().map(|batch| intern(&mut registry, batch))).await
        });
        let job = (length, windows);
        plain(&mut group, id("datafusion, keys as text"), &runtime, job, &text_table);
        plain(&mut group, id("datafusion, keys as views"), &runtime, job, &view_table);
        plain(&mut group, id("datafusion, dictionaries"), &runtime, job, &dictionary_table);
    }
    for (name, call, windows) in [
        ("hop 5 minutes by 1 minute", "hop(interval '1 minute', interval '5 minutes')", HOPS),
        ("session of a gap of 1 minute", "session(interval '1 minute')", 1),
    ] {
        let id = BenchmarkId::new(name, "faultline");
        engine(&mut group, id, &runtime, (call, windows), async |driver| {
            drive(driver, rows.iter().cloned()).await
        });
    }
    group.finish();
}

/// Measures `run`, which returns how many rows reached the sink, on a job with this window.
fn engine(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    runtime: &Runtime,
    (call, windows): (&str, usize),
    mut run: impl AsyncFnMut(Driver) -> usize,
) {
    let sql = format!(
        "INSERT INTO signals
         SELECT cluster, service, instance, metric, window.start, window.end, mean, n, peak,
                '' AS direction, false AS ongoing, false AS predicted, '' AS detail
         FROM (SELECT cluster, service, instance, metric, {call} AS window,
                      avg(value) AS mean, count(*) AS n, max(value) AS peak
               FROM metrics GROUP BY cluster, service, instance, metric, window)"
    );
    let compiled = || Driver::new(runtime.block_on(stream::compile("bench.sql", &sql)).unwrap());
    group.bench_function(id, |b| {
        let routine = |driver| assert_eq!(runtime.block_on(run(driver)), windows * SERIES);
        b.iter_batched(compiled, routine, BatchSize::PerIteration);
    });
}

/// Measures the same aggregates as one batch query over `table`.
fn plain(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    runtime: &Runtime,
    (length, windows): (&str, usize),
    table: &impl Deref<Target = SessionContext>,
) {
    let sql = format!(
        "SELECT cluster, service, instance, metric,
                date_bin(interval '{length}', ts) AS window_start,
                avg(value) AS mean, count(*) AS n, max(value) AS peak
         FROM metrics GROUP BY cluster, service, instance, metric, window_start"
    );
    group.bench_function(id, |b| {
        let planned = || runtime.block_on(Query::plan(table, &sql));
        let routine = |query: Query| assert_eq!(runtime.block_on(query.run()), windows * SERIES);
        b.iter_batched(planned, routine, BatchSize::PerIteration);
    });
}

/// Feeds the rows as a run does, with a watermark behind each batch.
async fn drive(mut driver: Driver, rows: impl Iterator<Item = Rows>) -> usize {
    let count = |out: Vec<RecordBatch>| out.iter().map(RecordBatch::num_rows).sum::<usize>();
    let mut signals = 0;
    for rows in rows {
        signals += count(driver.rows(Stream::Metrics, &rows).await.unwrap());
        let reached = rows.ts[rows.ts.len() - 1];
        signals += count(driver.watermark(reached).await.unwrap());
    }
    signals + count(driver.end().await.unwrap())
}

/// The rows of [`Bulk`] in the stream's columns, cut into batches.
fn interned_rows() -> Vec<Rows> {
    let mut registry = Registry::new(Stream::Metrics, SERIES);
    let mut out = Vec::new();
    for bulk in Bulk::new(ROWS, SERIES, SEED) {
        let bulk = bulk.unwrap();
        let keys: Vec<_> = (1..4).map(|i| bulk.column(i).as_dictionary::<Int32Type>()).collect();
        if registry.is_empty() {
            let text = |column: usize, i| keys[column].values().as_string::<i32>().value(i);
            for i in 0..SERIES {
                registry.intern(&["bench", text(0, i), text(1, i), text(2, i), ""]);
            }
        }
        // Both number the series in the same order.
        let ids = keys[0].keys().values().iter().map(|key| *key as u32);
        let values = bulk.column(4).as_primitive::<Float64Type>().values().clone();
        let mut columns = vec![Arc::clone(bulk.column(0))];
        columns.extend(registry.columns(UInt32Array::from_iter_values(ids)));
        columns.push(Arc::new(Float64Array::new(values, None)));
        let whole = RecordBatch::try_new(Stream::Metrics.schema(), columns).unwrap();
        for from in (0..whole.num_rows()).step_by(BATCH_ROWS) {
            let part = whole.slice(from, BATCH_ROWS.min(whole.num_rows() - from));
            out.push(rows_of(part));
        }
    }
    out
}

fn rows_of(batch: RecordBatch) -> Rows {
    let ts = batch.column(0).as_primitive::<TimestampNanosecondType>().values().clone();
    Rows { ts, batch }
}

/// The same batches with dictionaries turned into this type of text.
fn with_keys(batches: &[RecordBatch], text: &DataType) -> Vec<RecordBatch> {
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(..) => Arc::new(Field::new(field.name(), text.clone(), false)),
        _ => Arc::clone(field),
    };
    let schema = batches[0].schema();
    let schema: SchemaRef =
        Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()));
    let convert = |batch: &RecordBatch| {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns: Vec<ArrayRef> =
            columns.map(|(c, f)| cast(c, f.data_type()).unwrap()).collect();
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    batches.iter().map(convert).collect()
}

/// What a text source does with a batch: one look-up of its series per row.
fn intern(registry: &mut Registry, batch: &RecordBatch) -> Rows {
    let keys: Vec<_> = (1..6).map(|i| batch.column(i).as_string::<i32>()).collect();
    let series = |row| registry.intern(&std::array::from_fn::<&str, 5, _>(|i| keys[i].value(row)));
    let ids = UInt32Array::from_iter_values((0..batch.num_rows()).map(series));
    let mut columns = vec![Arc::clone(batch.column(0))];
    columns.extend(registry.columns(ids));
    columns.push(Arc::clone(batch.column(6)));
    rows_of(RecordBatch::try_new(Stream::Metrics.schema(), columns).unwrap())
}
