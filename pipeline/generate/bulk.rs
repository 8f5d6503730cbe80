//! Many metric rows, for benchmarks: cheap to make and shaped as real ones are.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Int32Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;

use super::Error;
use super::random::Random;
use super::table::properties;
use crate::model::{Nanos, SECOND};

/// 2024-01-01T00:00:00Z.
const START: Nanos = 1_704_067_200 * SECOND;
const STEP: Nanos = 15 * SECOND;
const BATCH_ROWS: usize = 65_536;
const METRICS: [&str; 10] = [
    "cpu_utilisation",
    "memory_bytes",
    "request_rate",
    "error_ratio",
    "latency_p50_ms",
    "latency_p95_ms",
    "requests_in_flight",
    "network_receive_bytes",
    "network_transmit_bytes",
    "disk_used_bytes",
];
const REPLICAS: usize = 4;

/// Batches of `ts, service, instance, metric, value`: all series at every step, 15 s apart.
///
/// Series are 10 metrics of 4 replicas of as many services as it takes; the texts are
/// dictionaries over all series, so that a batch costs little more than its numbers.
pub struct Bulk {
    random: Random,
    rows: usize,
    done: usize,
    series: usize,
    levels: Vec<f64>,
    texts: [ArrayRef; 3],
}

impl Bulk {
    pub fn new(rows: usize, series: usize, seed: u64) -> Self {
        let series = series.max(1);
        let mut random = Random::new(seed, "bulk");
        let service = |i: usize| i / (METRICS.len() * REPLICAS);
        let texts = |f: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((0..series).map(f)))
        };
        Self {
            levels: (0..series).map(|_| 10.0 + 90.0 * random.uniform()).collect(),
            random,
            rows,
            done: 0,
            series,
            texts: [
                texts(&|i| format!("service-{:03}", service(i))),
                texts(&|i| format!("service-{:03}-{}", service(i), i / METRICS.len() % REPLICAS)),
                texts(&|i| METRICS[i % METRICS.len()].to_owned()),
            ],
        }
    }

    fn batch(&mut self, len: usize) -> Result<RecordBatch, Error> {
        let rows = self.done..self.done + len;
        let ts = rows.clone().map(|r| START + (r / self.series) as i64 * STEP);
        let keys = Int32Array::from_iter_values(rows.clone().map(|r| (r % self.series) as i32));
        let values: Float64Array = rows
            .map(|r| {
                // 24 bits of noise around the level, cut to three digits after the point.
                let noise = (self.random.next() >> 40) as f64 / (1 << 24) as f64;
                Some((self.levels[r % self.series] * (0.9 + 0.2 * noise) * 1000.0).round() / 1000.0)
            })
            .collect();
        let mut columns: Vec<(&str, ArrayRef)> =
            vec![("ts", Arc::new(TimestampNanosecondArray::from_iter_values(ts)))];
        for (name, values) in ["service", "instance", "metric"].into_iter().zip(&self.texts) {
            let column = DictionaryArray::<Int32Type>::try_new(keys.clone(), Arc::clone(values))?;
            columns.push((name, Arc::new(column)));
        }
        columns.push(("value", Arc::new(values)));
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

impl Iterator for Bulk {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let len = BATCH_ROWS.min(self.rows - self.done);
        if len == 0 {
            return None;
        }
        let batch = self.batch(len);
        self.done += len;
        Some(batch)
    }
}

/// The same rows as one Parquet file.
pub fn write_bulk(rows: usize, series: usize, seed: u64, path: &Path) -> Result<(), Error> {
    let file = File::create(path).map_err(|e| Error::unwritable(path, e))?;
    let mut bulk = Bulk::new(rows, series, seed);
    let schema: SchemaRef = bulk.batch(0)?.schema();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties()?))?;
    for batch in bulk {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}
