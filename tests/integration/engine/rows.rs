//! Rows for the engine, and how they are cut into batches.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array,
};
use faultline::model::{Nanos, SECOND};
use faultline::stream::ingest::{Feed, Ingest, IngestConfig, JUMP};
use faultline::stream::schema::Stream;
use faultline::stream::series::Registries;
use proptest::prelude::*;

/// 2024-03-12T06:00:00Z.
pub const START: Nanos = 1_710_223_200 * SECOND;

/// A metric sample; values are whole, so that sums do not depend on their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub ts: Nanos,
    pub service: u8,
    pub value: f64,
}

pub fn name(service: u8) -> String {
    format!("s{service}")
}

/// Samples by time, up to `gap` seconds apart.
pub fn samples(count: usize, gap: i64) -> impl Strategy<Value = Vec<Sample>> {
    // Seconds, and now and then a fraction, so that rows fall on and beside window edges.
    let step = prop_oneof![4 => (0..=gap).prop_map(|s| s * SECOND), 1 => 0..=gap * SECOND];
    proptest::collection::vec((step, 0_u8..4, -50_i32..50), 1..count).prop_map(|steps| {
        let mut ts = START;
        let sample = |(step, service, value): (Nanos, u8, i32)| {
            ts += step;
            Sample { ts, service, value: f64::from(value) }
        };
        steps.into_iter().map(sample).collect()
    })
}

/// A batch of metrics.
pub fn metrics(samples: &[Sample], registries: &mut Registries) -> RecordBatch {
    let registry = registries.get_mut(Stream::Metrics);
    let id = |s: &Sample| registry.intern(&["c", &name(s.service), "i", "m", ""]);
    let ids: Vec<u32> = samples.iter().map(id).collect();
    let values = Float64Array::from_iter_values(samples.iter().map(|s| s.value));
    batch(Stream::Metrics, samples.iter().map(|s| s.ts), ids, vec![Arc::new(values)], registries)
}

/// A batch of logs; of a sample, the value says which template the line has.
pub fn logs(samples: &[Sample], registries: &mut Registries) -> RecordBatch {
    let registry = registries.get_mut(Stream::Logs);
    let id = |s: &Sample| registry.intern(&["c", &name(s.service), "i", "ERROR"]);
    let ids: Vec<u32> = samples.iter().map(id).collect();
    let text = |prefix: &str| {
        let texts = samples.iter().map(|s| format!("{prefix}{}", s.value));
        Arc::new(StringArray::from_iter_values(texts)) as ArrayRef
    };
    let rest = vec![text("line "), text("t"), text("template "), text(""), text("")];
    batch(Stream::Logs, samples.iter().map(|s| s.ts), ids, rest, registries)
}

fn batch(
    stream: Stream,
    ts: impl Iterator<Item = Nanos>,
    ids: Vec<u32>,
    rest: Vec<ArrayRef>,
    registries: &mut Registries,
) -> RecordBatch {
    let ts = TimestampNanosecondArray::from_iter_values(ts);
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ts)];
    columns.extend(registries.get_mut(stream).columns(UInt32Array::from(ids)));
    columns.extend(rest);
    RecordBatch::try_new(stream.schema(), columns).unwrap()
}

pub fn ingest(lateness: Nanos, batch_rows: usize) -> Ingest {
    let (not_after, jump) = (Nanos::MAX, Some(JUMP));
    Ingest::new(IngestConfig { lateness, not_after, jump, batch_rows, by_second: false })
}

/// All that follows from these samples, which arrive in batches of `rows`.
pub fn fed(samples: &[Sample], rows: usize, registries: &mut Registries) -> Vec<Feed> {
    let mut ingest = ingest(5 * SECOND, rows);
    let mut out = Vec::new();
    for part in samples.chunks(rows) {
        let part = metrics(part, registries);
        out.extend(ingest.push(Stream::Metrics, 0, part).unwrap());
        out.extend(ingest.release(registries).unwrap());
    }
    out.extend(ingest.end(registries).unwrap());
    out
}
