//! Spans, and the lines that name them, to their aggregates.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;

use super::super::columns::{Row, Table};
use super::super::telemetry::{Control, Period, SpanStats};
use super::super::traces::{self, MAX_SPANS, SpanRow, SpanTable};
use super::lines;
use super::wording::Wordings;
use crate::error::Result;

const COLUMNS: [&str; 7] =
    ["trace_id", "span_id", "parent_span_id", "service", "instance", "operation", "status"];
const TRACE: usize = 0;
const SPAN: usize = 1;
const PARENT: usize = 2;
const SERVICE: usize = 3;
const INSTANCE: usize = 4;
const OPERATION: usize = 5;
const STATUS: usize = 6;

/// Spans in order.
pub fn read(batches: &[RecordBatch], cluster: &str, period: Period) -> Result<Table> {
    let mut table = Table::read(batches, cluster, period, &COLUMNS, Some("duration_us"))?;
    table.sort();
    Ok(table)
}

/// Aggregates of both periods, and the `(service, operation)` that spans themselves name.
///
/// More than [`MAX_SPANS`] are thinned by whole traces, both periods alike.
pub fn summarise(
    spans: &Table,
    (lines, wordings): (&Table, &Wordings),
    control: &Control,
    window: Period,
) -> (SpanStats, BTreeSet<(String, String)>) {
    let read = |row: &Row| control.contains(row.ts) || window.contains(row.ts);
    let of_span = |row: &Row| read(row) && !lines.text(*row, lines::SPAN).is_empty();
    let spans_read = spans.rows.iter().filter(|row| read(row)).count();
    if spans_read == 0 {
        return (SpanStats::default(), BTreeSet::new());
    }
    let total = spans_read + lines.rows.iter().filter(|row| of_span(row)).count();
    let share = total.div_ceil(MAX_SPANS) as u64;
    let mut table = SpanTable::default();
    let (numbers, first) = spans.groups([SERVICE, OPERATION]);
    let mut seen = vec![false; first.len()];
    for (row, number) in spans.rows.iter().zip(numbers).filter(|(row, _)| read(row)) {
        seen[number as usize] = true;
        if kept(spans.text(*row, TRACE), share) && !table.push(span(spans, *row)) {
            break;
        }
    }
    for (index, row) in lines.rows.iter().enumerate().filter(|(_, row)| of_span(row)) {
        if kept(lines.text(*row, lines::TRACE), share) {
            table.push_line(line(lines, *row, wordings.text(index)));
        }
    }
    let named =
        |row: Row| (spans.text(row, SERVICE).to_owned(), spans.text(row, OPERATION).to_owned());
    let operations = first.into_iter().zip(seen).filter(|(_, seen)| *seen);
    let operations = operations.map(|(row, _)| named(row)).collect();
    (traces::summarise(&table, control, window), operations)
}

/// Whether a trace is among one in `share`.
fn kept(trace: &str, share: u64) -> bool {
    if share <= 1 {
        return true;
    }
    let mut head = [0; 8];
    head.copy_from_slice(&blake3::hash(trace.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(head).is_multiple_of(share)
}

fn span(spans: &Table, row: Row) -> SpanRow<'_> {
    SpanRow {
        service: spans.text(row, SERVICE),
        instance: spans.text(row, INSTANCE),
        operation: spans.text(row, OPERATION),
        trace_id: spans.text(row, TRACE),
        span_id: spans.text(row, SPAN),
        parent_span_id: spans.text(row, PARENT),
        start: row.ts,
        duration_us: spans.number(row) as i64,
        error: spans.text(row, STATUS).eq_ignore_ascii_case("error"),
    }
}

fn line<'a>(lines: &'a Table, row: Row, wording: &'a str) -> SpanRow<'a> {
    SpanRow {
        service: lines.text(row, lines::SERVICE),
        instance: lines.text(row, lines::INSTANCE),
        operation: wording,
        trace_id: lines.text(row, lines::TRACE),
        span_id: lines.text(row, lines::SPAN),
        parent_span_id: "",
        start: row.ts,
        duration_us: 0,
        error: false,
    }
}
