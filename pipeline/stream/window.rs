//! Tumbling and hopping windows.
//!
//! Rows are accumulated once, in the slide bin that they fall into. A tumbling window is one bin.
//! A hopping window merges the states of the bins that it spans when it fires, so that a row is
//! never touched twice however much windows overlap.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StructArray, TimestampNanosecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::PhysicalExpr;

use super::frame::{Aggregate, BatchKeys, Finished, Frame, FrameKeys, Inputs};
use super::keys::plain;
use super::rows::{Rows, unnamed};
use super::schema::timestamp;
use crate::error::{Error, Result};
use crate::model::Nanos;

/// Type of the `window` column: `start` inclusive, `end` exclusive.
pub fn window_type() -> DataType {
    DataType::Struct(window_fields())
}

fn window_fields() -> Fields {
    vec![Field::new("start", timestamp(), false), Field::new("end", timestamp(), false)].into()
}

/// The `window` column of rows that stand for windows `[start, start + width)`.
pub fn window_column(start: &[Nanos], end: impl Fn(usize) -> Nanos) -> ArrayRef {
    let ends = (0..start.len()).map(end);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from_iter_values(start.iter().copied())),
        Arc::new(TimestampNanosecondArray::from_iter_values(ends)),
    ];
    Arc::new(StructArray::new(window_fields(), columns, None))
}

/// What a `GROUP BY` with a window needs to run.
pub struct WindowSpec {
    pub width: Nanos,
    /// Equal to `width` for a tumbling window; divides it for a hopping one.
    pub slide: Nanos,
    /// Group expressions without the window.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    pub key_types: Vec<DataType>,
    /// All keys are columns that were interned together.
    pub interned: bool,
    /// Position of the window among the group columns of the output.
    pub window_at: usize,
    pub aggregates: Vec<Aggregate>,
    pub output: SchemaRef,
}

/// A running window aggregation.
pub struct Window {
    spec: WindowSpec,
    keys: FrameKeys,
    /// Bins that may still receive rows, by start.
    open: BTreeMap<Nanos, Frame>,
    /// Completed bins that a window which has not fired yet still needs, by start.
    complete: BTreeMap<Nanos, Bin>,
    /// End of the last fired window.
    fired: Nanos,
}

impl WindowSpec {
    fn frame_keys(&self) -> FrameKeys {
        match self.interned {
            true => FrameKeys::Series(super::keys::SeriesKeys::new(self.keys.len())),
            false => FrameKeys::General(self.key_types.clone()),
        }
    }
}

/// Mergeable states of one completed bin.
struct Bin {
    keys: BatchKeys,
    states: Vec<Vec<ArrayRef>>,
    rows: usize,
    /// Key columns, kept for checkpoints.
    columns: Vec<ArrayRef>,
}

impl Window {
    pub fn new(spec: WindowSpec) -> Self {
        let keys = spec.frame_keys();
        Self { spec, keys, open: BTreeMap::new(), complete: BTreeMap::new(), fired: Nanos::MIN }
    }

    pub fn spec(&self) -> &WindowSpec {
        &self.spec
    }

    /// Adds rows, which come in order of event time and are never older than a fired window.
    pub fn update(&mut self, rows: &Rows) -> Result<()> {
        let n = rows.batch.num_rows();
        let array = |e: &Arc<dyn PhysicalExpr>| Ok(e.evaluate(&rows.batch)?.into_array(n)?);
        let columns: Vec<ArrayRef> = self.spec.keys.iter().map(array).collect::<Result<_>>()?;
        let keys = self.keys.resolve(&columns)?;
        let inputs = Inputs::evaluate(&self.spec.aggregates, &rows.batch)?;
        let mut from = 0;
        while from < n {
            let bin = rows.ts[from].div_euclid(self.spec.slide) * self.spec.slide;
            let to = from + rows.ts[from..].partition_point(|t| *t < bin + self.spec.slide);
            let frame = match self.open.entry(bin) {
                std::collections::btree_map::Entry::Occupied(e) => e.into_mut(),
                std::collections::btree_map::Entry::Vacant(e) => {
                    e.insert(Frame::new(&self.keys, &self.spec.aggregates)?)
                }
            };
            frame.update(&keys, &inputs, from, to)?;
            from = to;
        }
        Ok(())
    }

    /// Fires every window that ends at or before the watermark, in order.
    pub fn advance(&mut self, watermark: Nanos) -> Result<Vec<Rows>> {
        let mut out = Vec::new();
        if self.spec.slide == self.spec.width {
            while let Some(entry) = self.open.first_entry() {
                let start = *entry.key();
                if start + self.spec.width > watermark {
                    break;
                }
                let finished = entry.remove().finish(&mut self.keys)?;
                out.push(self.rows(start, finished)?);
            }
            return Ok(out);
        }
        self.complete_bins(watermark)?;
        while let Some((first, _)) = self.complete.first_key_value() {
            let end = (self.fired.saturating_add(self.spec.slide)).max(first + self.spec.slide);
            if end > watermark {
                break;
            }
            let start = end - self.spec.width;
            let mut frame = Frame::new(&self.keys, &self.spec.aggregates)?;
            for bin in self.complete.range(start..end).map(|(_, b)| b) {
                frame.merge(&bin.keys, &bin.states, bin.rows)?;
            }
            let finished = frame.finish(&mut self.keys)?;
            out.push(self.rows(start, finished)?);
            self.fired = end;
            self.complete.retain(|bin, _| *bin >= start + self.spec.slide);
        }
        Ok(out)
    }

    /// Turns bins behind the watermark into mergeable states, once each.
    fn complete_bins(&mut self, watermark: Nanos) -> Result<()> {
        while let Some(entry) = self.open.first_entry() {
            let start = *entry.key();
            if start + self.spec.slide > watermark {
                break;
            }
            let bin = Bin::new(entry.remove(), &mut self.keys)?;
            self.complete.insert(start, bin);
        }
        Ok(())
    }

    fn rows(&self, start: Nanos, finished: Finished) -> Result<Rows> {
        let starts = vec![start; finished.rows];
        let mut columns = finished.keys;
        columns.insert(self.spec.window_at, window_column(&starts, |_| start + self.spec.width));
        columns.extend(finished.columns.into_iter().flatten());
        let batch = conform(&self.spec.output, columns, finished.rows)?;
        Ok(Rows { ts: ScalarBuffer::from(starts), batch })
    }

    /// Everything needed to go on: one batch per bin, `[bin, complete, keys…, states…]`.
    pub fn save(&mut self) -> Result<Vec<RecordBatch>> {
        let mut out = Vec::new();
        for (start, bin) in &self.complete {
            out.push(saved(*start, true, &bin.columns, &bin.states, bin.rows)?);
        }
        for (start, frame) in std::mem::take(&mut self.open) {
            let bin = Bin::new(frame, &mut self.keys)?;
            out.push(saved(start, false, &bin.columns, &bin.states, bin.rows)?);
            // Accumulators give their state away when it is read: put it back.
            let mut frame = Frame::new(&self.keys, &self.spec.aggregates)?;
            frame.merge(&bin.keys, &bin.states, bin.rows)?;
            self.open.insert(start, frame);
        }
        let fired = saved(self.fired, true, &[], &[], 1)?;
        out.push(fired);
        Ok(out)
    }

    /// Ids of interned keys stand for other keys from here on, before this stage and behind it.
    pub fn renumber(&mut self) -> Result<()> {
        let saved = self.save()?;
        self.open.clear();
        self.complete.clear();
        self.keys = self.spec.frame_keys();
        self.restore(&saved)
    }

    pub fn restore(&mut self, parts: &[RecordBatch]) -> Result<()> {
        let Some((fired, bins)) = parts.split_last() else { return Ok(()) };
        self.fired = fired.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0);
        for part in bins {
            let Some((start, complete)) = bin_of(part) else { continue };
            let keys = self.spec.keys.len();
            let columns: Vec<ArrayRef> = part.columns()[2..2 + keys].to_vec();
            let resolved = match &mut self.keys {
                FrameKeys::Series(table) => {
                    BatchKeys::Series(series_of_text(table, &columns, part.num_rows()))
                }
                FrameKeys::General(_) => BatchKeys::General(columns.clone()),
            };
            let mut at = 2 + keys;
            let mut states = Vec::new();
            for a in &self.spec.aggregates {
                let n = a.function.state_fields()?.len();
                states.push(part.columns()[at..at + n].to_vec());
                at += n;
            }
            if complete {
                let bin = Bin { keys: resolved, states, rows: part.num_rows(), columns };
                self.complete.insert(start, bin);
            } else {
                let mut frame = Frame::new(&self.keys, &self.spec.aggregates)?;
                frame.merge(&resolved, &states, part.num_rows())?;
                self.open.insert(start, frame);
            }
        }
        Ok(())
    }
}

impl Bin {
    fn new(frame: Frame, keys: &mut FrameKeys) -> Result<Self> {
        let series = frame.series().map(<[u32]>::to_vec);
        let finished = frame.states(keys)?;
        let columns = super::keys::to_plain(&finished.keys)?;
        let keys = series.map_or_else(|| BatchKeys::General(columns.clone()), BatchKeys::Series);
        Ok(Self { keys, states: finished.columns, rows: finished.rows, columns })
    }
}

fn series_of_text(
    table: &mut super::keys::SeriesKeys,
    columns: &[ArrayRef],
    rows: usize,
) -> Vec<u32> {
    let text: Vec<_> = columns.iter().map(|c| c.as_string::<i32>()).collect();
    (0..rows).map(|row| table.intern_text(text.iter().map(|t| t.value(row)))).collect()
}

fn saved(
    start: Nanos,
    complete: bool,
    keys: &[ArrayRef],
    states: &[Vec<ArrayRef>],
    rows: usize,
) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![start; rows])),
        Arc::new(Int64Array::from(vec![i64::from(complete); rows])),
    ];
    columns.extend(keys.iter().cloned());
    columns.extend(states.iter().flatten().cloned());
    unnamed(columns)
}

fn bin_of(part: &RecordBatch) -> Option<(Nanos, bool)> {
    if part.num_rows() == 0 {
        return None;
    }
    let int = |i: usize| part.column(i).as_primitive::<arrow::datatypes::Int64Type>().value(0);
    Some((int(0), int(1) == 1))
}

/// A batch with these columns under this schema: grouped keys come back as the planned type.
pub fn conform(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fit = |(f, c): (&Arc<Field>, ArrayRef)| {
        if c.data_type() == f.data_type() {
            return Ok(c);
        }
        if plain(f.data_type()) == *c.data_type() || c.len() == rows {
            return cast(&c, f.data_type()).map_err(Error::from);
        }
        Ok(c)
    };
    let columns = schema.fields().iter().zip(columns).map(fit).collect::<Result<Vec<_>>>()?;
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
