//! Rows that wait for the watermark, and the order in which they leave.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampNanosecondArray, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType, UInt32Type};
use arrow::record_batch::RecordBatch;

use super::rows::Rows;
use super::schema::Stream;
use super::series::Registry;
use crate::error::Result;
use crate::model::Nanos;

/// Waiting rows of one stream.
pub struct Reorder {
    stream: Stream,
    parts: Vec<Part>,
    len: usize,
}

struct Part {
    batch: RecordBatch,
    newest: Nanos,
}

/// Position of a waiting row, ordered by what it will be sorted by first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    ts: Nanos,
    /// Hash of the series key: the same in every process, unlike its id.
    series: u64,
    part: u32,
    row: u32,
}

impl Part {
    fn times(&self) -> &ScalarBuffer<Nanos> {
        self.batch.column(0).as_primitive::<TimestampNanosecondType>().values()
    }

    fn series(&self) -> &ScalarBuffer<u32> {
        self.batch.column(1).as_dictionary::<UInt32Type>().keys().values()
    }
}

impl Reorder {
    pub fn new(stream: Stream) -> Self {
        Self { stream, parts: Vec::new(), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn push(&mut self, batch: RecordBatch) {
        self.len += batch.num_rows();
        let times = batch.column(0).as_primitive::<TimestampNanosecondType>().values();
        let newest = times.iter().copied().max().unwrap_or(Nanos::MIN);
        self.parts.push(Part { batch, newest });
    }

    /// Event time of the earliest row.
    pub fn first(&self) -> Option<Nanos> {
        self.parts.iter().flat_map(|p| p.times().iter().copied()).min()
    }

    pub fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.parts.iter().map(|p| &p.batch)
    }

    /// Gives the rows the ids that their series have in this registry.
    pub fn adopt(&mut self, registry: &mut Registry) -> Result<()> {
        for part in &mut self.parts {
            part.batch = registry.adopt(&part.batch)?;
        }
        Ok(())
    }

    /// Takes the rows before the watermark, in order, in batches of at most `batch_rows`. Spans of
    /// one moment stay together: a parent may come behind its child.
    pub fn release(
        &mut self,
        watermark: Nanos,
        registry: &mut Registry,
        batch_rows: usize,
    ) -> Result<Vec<Rows>> {
        let mut due = Vec::new();
        let mut later = Vec::new();
        for part in std::mem::take(&mut self.parts) {
            if part.newest < watermark {
                due.push(part);
                continue;
            }
            let (before, after) = split(&part, watermark)?;
            due.extend(before);
            later.extend(after);
        }
        self.parts = later;
        let released: usize = due.iter().map(|p| p.batch.num_rows()).sum();
        self.len -= released;
        if released == 0 {
            return Ok(Vec::new());
        }
        let order = self.order(&due, registry);
        let (mut out, mut from) = (Vec::new(), 0);
        while from < order.len() {
            let mut to = (from + batch_rows.max(1)).min(order.len());
            if self.stream == Stream::Spans {
                let last = order[to - 1].ts;
                to += order[to..].iter().take_while(|entry| entry.ts == last).count();
            }
            out.push(self.gather(&due, &order[from..to], registry)?);
            from = to;
        }
        Ok(out)
    }

    /// Event time, then series, then content: nothing about arrival.
    fn order(&self, due: &[Part], registry: &Registry) -> Vec<Entry> {
        let mut order = Vec::with_capacity(due.iter().map(|p| p.batch.num_rows()).sum());
        for (at, part) in due.iter().enumerate() {
            let rows = part.times().iter().zip(part.series().iter()).enumerate();
            order.extend(rows.map(|(row, (ts, id))| Entry {
                ts: *ts,
                series: registry.key_hash(*id),
                part: at as u32,
                row: row as u32,
            }));
        }
        if !order.is_sorted_by(|a, b| (a.ts, a.series) < (b.ts, b.series)) {
            order.sort_unstable();
            self.order_equals(due, &mut order);
        }
        order
    }

    /// Sorts runs of equal time and series by their other columns.
    fn order_equals(&self, due: &[Part], order: &mut [Entry]) {
        let mut from = 0;
        while from < order.len() {
            let key = (order[from].ts, order[from].series);
            let same = order[from..].iter().take_while(|e| (e.ts, e.series) == key).count();
            if same > 1 {
                order[from..from + same].sort_by(|a, b| self.compare(due, a, b));
            }
            from += same;
        }
    }

    fn compare(&self, due: &[Part], a: &Entry, b: &Entry) -> std::cmp::Ordering {
        let (x, y) = (&due[a.part as usize].batch, &due[b.part as usize].batch);
        let (i, j) = (a.row as usize, b.row as usize);
        let mut ordering = std::cmp::Ordering::Equal;
        for column in 1 + self.stream.series_columns().len()..x.num_columns() {
            let (x, y) = (x.column(column), y.column(column));
            let next = || match x.data_type() {
                arrow::datatypes::DataType::Float64 => x
                    .as_primitive::<Float64Type>()
                    .value(i)
                    .total_cmp(&y.as_primitive::<Float64Type>().value(j)),
                arrow::datatypes::DataType::Int64 => x
                    .as_primitive::<Int64Type>()
                    .value(i)
                    .cmp(&y.as_primitive::<Int64Type>().value(j)),
                _ => x.as_string::<i32>().value(i).cmp(y.as_string::<i32>().value(j)),
            };
            ordering = ordering.then_with(next);
        }
        ordering
    }

    /// A batch of these rows, its series columns made anew from the registry.
    fn gather(&self, due: &[Part], entries: &[Entry], registry: &mut Registry) -> Result<Rows> {
        let ts: ScalarBuffer<Nanos> = entries.iter().map(|e| e.ts).collect();
        let ids: UInt32Array = entries
            .iter()
            .map(|e| due[e.part as usize].series()[e.row as usize])
            .collect::<Vec<_>>()
            .into();
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(TimestampNanosecondArray::new(ts.clone(), None))];
        columns.extend(registry.columns(ids));
        let picks: Vec<(usize, usize)> =
            entries.iter().map(|e| (e.part as usize, e.row as usize)).collect();
        for column in columns.len()..self.stream.schema().fields().len() {
            let parts: Vec<&dyn Array> =
                due.iter().map(|p| p.batch.column(column).as_ref()).collect();
            columns.push(interleave(&parts, &picks)?);
        }
        Ok(Rows { ts, batch: RecordBatch::try_new(self.stream.schema(), columns)? })
    }
}

/// Rows before the watermark and the rest.
fn split(part: &Part, watermark: Nanos) -> Result<(Option<Part>, Option<Part>)> {
    let times = part.times();
    let make = |batch: RecordBatch| {
        let newest = batch
            .column(0)
            .as_primitive::<TimestampNanosecondType>()
            .values()
            .iter()
            .copied()
            .max();
        newest.map(|newest| Part { batch, newest })
    };
    if times.is_sorted() {
        let at = times.partition_point(|t| *t < watermark);
        let n = part.batch.num_rows();
        return Ok((make(part.batch.slice(0, at)), make(part.batch.slice(at, n - at))));
    }
    let before: arrow::array::BooleanArray = times.iter().map(|t| Some(*t < watermark)).collect();
    let after = arrow::compute::not(&before)?;
    Ok((
        make(arrow::compute::filter_record_batch(&part.batch, &before)?),
        make(arrow::compute::filter_record_batch(&part.batch, &after)?),
    ))
}
