//! Batches to [`Telemetry`]: two periods, series in order of time, templates counted.

mod lines;
mod series;
mod spans;
mod wording;

use std::collections::BTreeSet;

use arrow::array::RecordBatch;

pub use lines::{Templates, Worded};
pub use series::told;

use super::columns::Table;
use super::periods::wanted;
use super::telemetry::{Change, Control, Period, Telemetry};
use super::{Request, Slices, lookback};
use crate::error::Result;
use crate::model::Nanos;

/// Telemetry, and beside it what citing it needs.
pub struct Captured {
    pub telemetry: Telemetry,
    /// When the abnormal window is over, known or not.
    pub ends: Nanos,
    /// Baseline of logs and spans; that of metrics is the telemetry's.
    pub control: Control,
    pub templates: Worded,
    /// `(service, operation)` of spans; what else the span statistics name are log templates.
    pub operations: BTreeSet<(String, String)>,
}

pub fn capture(request: &Request, slices: &Slices) -> Result<Captured> {
    let wanted = wanted(request);
    let known = |p: Period| Period { from: p.from, to: p.to.min(request.until).max(p.from) };
    let (series, sampling) =
        series::capture(&slices.metrics, &request.cluster, known(wanted.metrics))?;
    let window = lookback::window(request.at, request.window.max(0), sampling);
    let ends = window.to.min(wanted.logs.to);
    let to = ends.min(request.until).max(request.at);
    let window = Period { to, ..window };
    let baseline = lookback::metrics(window, sampling);
    let read = Period { from: wanted.logs.from, to: window.to };
    let lines = lines::read(&slices.logs, &request.cluster, read)?;
    let spans = spans::read(&slices.spans, &request.cluster, read)?;
    let control =
        lookback::events(window, &request.incidents, |p| count(&lines, p) + count(&spans, p));
    let wordings = wording::Wordings::read(&lines);
    let (counts, templates) = lines::count(&lines, &wordings, &control, window);
    let (stats, operations) = spans::summarise(&spans, (&lines, &wordings), &control, window);
    let mut edges = request.edges.clone();
    edges.sort();
    edges.dedup();
    // A change is a cause only of something: before the window has begun there is nothing yet.
    let begun = window.from < window.to;
    let changes = if begun { changes(request, slices, known(wanted.changes))? } else { Vec::new() };
    let telemetry = Telemetry {
        baseline,
        window,
        series: series::cut(series, Period { from: baseline.from, to: window.to }),
        templates: counts,
        spans: stats,
        edges,
        changes,
    };
    Ok(Captured { telemetry, ends, control, templates, operations })
}

/// How far apart the samples are of that series among `wanted` (service, metric) of which they are
/// furthest apart; 0 where there is none with two samples.
pub fn sampling(
    metrics: &[RecordBatch],
    cluster: &str,
    period: Period,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Nanos> {
    let (series, _) = series::capture(metrics, cluster, period)?;
    let of = series.iter().filter(|s| wanted(&s.service, &s.metric));
    Ok(of.filter_map(|s| series::step(&s.points)).max().unwrap_or(0))
}

/// Rows of a sorted table in `period`.
fn count(table: &Table, period: Period) -> u64 {
    let before = |ts: Nanos| table.rows.partition_point(|row| row.ts < ts);
    (before(period.to) - before(period.from)) as u64
}

fn changes(request: &Request, slices: &Slices, period: Period) -> Result<Vec<Change>> {
    let columns = ["service", "kind", "object", "detail"];
    let mut table = Table::read(&slices.changes, &request.cluster, period, &columns, None)?;
    table.sort();
    let text = |row, column| table.text(row, column).to_owned();
    Ok(table
        .rows
        .iter()
        .map(|row| Change {
            ts: row.ts,
            service: text(*row, 0),
            kind: text(*row, 1),
            object: text(*row, 2),
            detail: text(*row, 3),
        })
        .collect())
}
