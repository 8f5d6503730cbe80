//! Samples to series, and how often they were taken.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use faultline_udfs::reading;

use super::super::columns::{Row, Table};
use super::super::telemetry::{Period, Series};
use crate::error::Result;
use crate::model::{Nanos, Signal};

const COLUMNS: [&str; 4] = ["service", "instance", "metric", "labels"];
/// All of them.
const KEY: [usize; 4] = [0, 1, 2, 3];

/// Service, instance, metric and labels.
type Key<'a> = [&'a str; 4];
type Points = Vec<(Nanos, f64)>;

/// Series of finite samples in the order of their keys, each by time, and their sampling period
/// (0 where no series has two samples).
///
/// Counters are turned into rates.
pub fn capture(
    batches: &[RecordBatch],
    cluster: &str,
    period: Period,
) -> Result<(Vec<Series>, Nanos)> {
    let table = Table::read(batches, cluster, period, &COLUMNS, Some("value"))?;
    let (numbers, first) = table.groups(KEY);
    let mut points: Vec<Points> = vec![Vec::new(); first.len()];
    for (row, number) in table.rows.iter().zip(numbers) {
        let value = table.number(*row);
        if value.is_finite() {
            points[number as usize].push((row.ts, value));
        }
    }
    let key = |row: &Row| KEY.map(|column| table.text(*row, column));
    let all = first.iter().zip(points).filter(|(_, points)| !points.is_empty());
    let mut all: Vec<(Key<'_>, Points)> = all.map(|(row, points)| (key(row), points)).collect();
    all.sort_unstable_by_key(|(key, _)| *key);
    let series: Vec<Series> = all.into_iter().map(|(key, points)| sorted(key, points)).collect();
    let sampling = median(series.iter().filter_map(|s| step(&s.points)).collect()).unwrap_or(0);
    Ok((series, sampling))
}

/// The part of each series in `period`; series without samples there are left out.
pub fn cut(mut series: Vec<Series>, period: Period) -> Vec<Series> {
    for s in &mut series {
        s.points.retain(|(ts, _)| period.contains(*ts));
    }
    series.retain(|s| !s.points.is_empty());
    series
}

/// Notes what signals told of the series before `until`.
pub fn told(series: &mut [Series], signals: &[&Signal], until: Nanos) {
    let mut scores: BTreeMap<(&str, &str, &str), f64> = BTreeMap::new();
    for s in signals.iter().filter(|s| s.window_start < until) {
        let score = scores.entry((&s.service, &s.instance, &s.metric)).or_insert(0.0);
        *score = s.score.max(*score);
    }
    for s in series {
        let name = metric_name(&s.metric, &s.labels);
        let found = scores.get(&(s.service.as_str(), s.instance.as_str(), name.as_ref()));
        s.told = found.copied().unwrap_or(0.0);
    }
}

/// What the jobs call a metric with labels.
fn metric_name<'a>(metric: &'a str, labels: &str) -> Cow<'a, str> {
    if labels.is_empty() { metric.into() } else { format!("{metric}{{{labels}}}").into() }
}

fn sorted([service, instance, metric, labels]: Key<'_>, mut points: Points) -> Series {
    points.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let is_rate = reading::to_rates(metric, &mut points);
    Series {
        service: service.to_owned(),
        instance: instance.to_owned(),
        metric: metric.to_owned(),
        labels: labels.to_owned(),
        is_rate,
        told: 0.0,
        points,
    }
}

/// Median time between samples, `None` of less than two; samples of the same time are one.
pub fn step(points: &[(Nanos, f64)]) -> Option<Nanos> {
    median(points.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|d| *d > 0).collect())
}

fn median(mut values: Vec<Nanos>) -> Option<Nanos> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
