//! The ranking of causes of an incident in a system of fifty services: a whole diagnosis from raw
//! rows to cited causes, and its two large parts apart: rows to telemetry (series, template counts,
//! span statistics), and the ranking of telemetry that is there already. `elem/s` are raw rows.

use std::cell::LazyCell;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::compute::cast;
use criterion::{Criterion, Throughput};
use faultline::diagnose::{Request, Slices, diagnose, lookback, rank, telemetry_of};
use faultline::model::{HOUR, MINUTE, Nanos, SECOND};
use faultline::stream::schema::Stream;

use crate::noise::Noise;

const SERVICES: usize = 50;
const METRICS: usize = 20;
/// As many samples as a diagnosis reads of a series, 30 s apart, and five minutes of the fault.
const SAMPLES: usize = 512 + 10;
const STEP: Nanos = 30 * SECOND;
/// Of each service.
const TEMPLATES: usize = 20;
const LOG_LINES: usize = 100_000;
const TRACES: usize = 10_000;
/// Spans of a trace: a service calls the next.
const DEPTH: usize = 10;
const ROWS: usize = SERVICES * METRICS * SAMPLES + LOG_LINES + TRACES * DEPTH;

const AT: Nanos = 1_750_000_000 * SECOND;
const UNTIL: Nanos = AT + lookback::WINDOW_NS;
/// Slow, busy and noisy from [`AT`] on.
const FAULTY: usize = 25;

pub fn bench(c: &mut Criterion) {
    let slices = LazyCell::new(|| {
        let mut noise = Noise::new(1);
        Slices {
            metrics: vec![metrics(&mut noise)],
            logs: vec![logs(&mut noise)],
            spans: vec![spans(&mut noise)],
            changes: Vec::new(),
        }
    });
    let request = Request {
        incident_id: "bench".to_owned(),
        cluster: "bench".to_owned(),
        at: AT,
        slack: 0,
        window: lookback::WINDOW_NS,
        until: UNTIL,
        incidents: Vec::new(),
        signals: Vec::new(),
        edges: Vec::new(),
    };
    let mut group = c.benchmark_group("ranking");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("a whole diagnosis", |b| {
        b.iter(|| {
            let diagnosis = diagnose(&request, &slices).unwrap();
            assert!(!diagnosis.causes.is_empty());
            diagnosis
        });
    });
    let vague = Request { slack: 3 * MINUTE, ..request.clone() };
    group.bench_function("a whole diagnosis of an incident, of four onsets", |b| {
        b.iter(|| diagnose(&vague, &slices).unwrap());
    });
    group.bench_function("rows to telemetry", |b| {
        b.iter(|| telemetry_of(&request, &slices).unwrap());
    });
    let telemetry = LazyCell::new(|| telemetry_of(&request, &slices).unwrap());
    group.bench_function("telemetry to ranking", |b| {
        b.iter(|| {
            let ranking = rank::rank(&telemetry);
            assert_eq!(ranking.candidates[0].service, service(FAULTY));
            ranking
        });
    });
    group.finish();
}

fn service(i: usize) -> String {
    format!("service-{i:02}")
}

fn metrics(noise: &mut Noise) -> RecordBatch {
    let row = |i: usize| (i / (SERVICES * METRICS), i / METRICS % SERVICES, i % METRICS);
    let rows = || (0..SERVICES * METRICS * SAMPLES).map(row);
    let ts = |sample| UNTIL - (SAMPLES - sample) as Nanos * STEP;
    let values = rows().map(|(sample, of, metric)| {
        let raised = of == FAULTY && metric < 5 && ts(sample) >= AT;
        (10.0 + metric as f64) * (if raised { 3.0 } else { 1.0 } + 0.1 * noise.uniform())
    });
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
    let columns = vec![
        times(rows().map(|r| ts(r.0))),
        texts(rows().map(|_| "bench")),
        texts(rows().map(|r| service(r.1))),
        texts(rows().map(|r| format!("{}-0", service(r.1)))),
        texts(rows().map(|r| format!("metric_{:02}", r.2))),
        texts(rows().map(|_| "")),
        values,
    ];
    batch(Stream::Metrics, columns)
}

fn logs(noise: &mut Noise) -> RecordBatch {
    let rows: Vec<(Nanos, usize, usize)> = (0..LOG_LINES)
        .map(|i| {
            let ts = moment(i, LOG_LINES);
            match ts >= AT && noise.uniform() < 0.2 {
                true => (ts, FAULTY, TEMPLATES),
                false => (ts, noise.below(SERVICES), noise.below(TEMPLATES)),
            }
        })
        .collect();
    let severity = |template| if template == TEMPLATES { "ERROR" } else { "INFO" };
    let said = |r: &(Nanos, usize, usize)| format!("{} did step {} in <*> ms", service(r.1), r.2);
    let columns = vec![
        times(rows.iter().map(|r| r.0)),
        texts(rows.iter().map(|_| "bench")),
        texts(rows.iter().map(|r| service(r.1))),
        texts(rows.iter().map(|r| format!("{}-0", service(r.1)))),
        texts(rows.iter().map(|r| severity(r.2))),
        texts(rows.iter().map(said)),
        texts(rows.iter().map(|r| format!("{:016x}", r.1 * (TEMPLATES + 1) + r.2 + 1))),
        texts(rows.iter().map(said)),
        texts(rows.iter().map(|_| "")),
        texts(rows.iter().map(|_| "")),
    ];
    batch(Stream::Logs, columns)
}

fn spans(noise: &mut Noise) -> RecordBatch {
    let rows = || (0..TRACES * DEPTH).map(|i| (i / DEPTH, i % DEPTH));
    let ts = |trace| moment(trace, TRACES);
    let of = |(trace, depth): (usize, usize)| (trace * 7 + depth) % SERVICES;
    let durations = rows().map(|(trace, depth)| {
        let slow = ts(trace) >= AT && (depth..DEPTH).any(|d| of((trace, d)) == FAULTY);
        let own = 1_000 * (DEPTH - depth) as i64;
        own + noise.below(500) as i64 + if slow { 200_000 } else { 0 }
    });
    let durations: ArrayRef = Arc::new(Int64Array::from_iter_values(durations));
    let parent = |depth: usize| depth.checked_sub(1).map_or(String::new(), |d| d.to_string());
    let columns = vec![
        times(rows().map(|r| ts(r.0) + r.1 as Nanos)),
        texts(rows().map(|_| "bench")),
        texts(rows().map(|r| service(of(r)))),
        texts(rows().map(|r| format!("{}-0", service(of(r))))),
        texts(rows().map(|r| format!("operation-{}", r.0 % 3))),
        texts(rows().map(|_| "ok")),
        texts(rows().map(|r| format!("{:032x}", r.0))),
        texts(rows().map(|r| r.1.to_string())),
        texts(rows().map(|r| parent(r.1))),
        texts(rows().map(|(trace, depth)| {
            depth.checked_sub(1).map_or(String::new(), |d| service(of((trace, d))))
        })),
        durations,
    ];
    batch(Stream::Spans, columns)
}

/// Events are spread evenly over an hour before the fault and the window after it.
fn moment(i: usize, n: usize) -> Nanos {
    let length = HOUR + lookback::WINDOW_NS;
    AT - HOUR + (length / MINUTE) * (i as Nanos * MINUTE / n as Nanos)
}

fn times(ts: impl Iterator<Item = Nanos>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(ts))
}

fn texts(text: impl Iterator<Item = impl AsRef<str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(text))
}

/// Columns in the order of the stream's, interned where the stream interns.
fn batch(stream: Stream, columns: Vec<ArrayRef>) -> RecordBatch {
    let schema = stream.schema();
    let columns = columns.iter().zip(schema.fields());
    let columns = columns.map(|(c, f)| cast(c, f.data_type()).unwrap()).collect();
    RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
}
