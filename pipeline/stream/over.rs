//! Stateful functions: `f(args) OVER (PARTITION BY series ORDER BY window)`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, StructArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, SchemaRef, TimestampNanosecondType};
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::PhysicalExpr;
use faultline_udfs::stateful::{Function, Rows as Call, Stateful};

use super::keys::{GeneralKeys, SeriesKeys, to_plain};
use super::rows::{Rows, unnamed};
use super::window::conform;
use crate::error::{Error, Result};
use crate::model::Nanos;

/// One stateful function call of a job.
pub struct Stage {
    pub function: Function,
    pub args: Vec<Arc<dyn PhysicalExpr>>,
}

pub struct OverSpec {
    pub calls: Vec<Stage>,
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    pub key_types: Vec<DataType>,
    pub interned: bool,
    /// The window that each row stands for, where it stands for one.
    pub window: Option<Arc<dyn PhysicalExpr>>,
    pub output: SchemaRef,
}

enum Partitions {
    Series(SeriesKeys),
    General(GeneralKeys),
}

/// Running stateful functions over one partitioning.
pub struct Over {
    spec: OverSpec,
    partitions: Partitions,
    states: Vec<Box<dyn Stateful>>,
    /// Number of series from a window's end on, told when it grew.
    census: Vec<(Nanos, usize)>,
    counted: usize,
}

impl Over {
    pub fn new(spec: OverSpec) -> Result<Self> {
        let partitions = match spec.interned {
            true => Partitions::Series(SeriesKeys::new(spec.keys.len())),
            false => Partitions::General(GeneralKeys::new(&spec.key_types)?),
        };
        let states = spec.calls.iter().map(|c| (c.function.make)()).collect();
        Ok(Self { spec, partitions, states, census: Vec::new(), counted: 0 })
    }

    pub fn spec(&self) -> &OverSpec {
        &self.spec
    }

    /// Answers rows at once; they come in window order within each series.
    pub fn update(&mut self, rows: Rows) -> Result<Rows> {
        let n = rows.batch.num_rows();
        let array = |e: &Arc<dyn PhysicalExpr>| Ok(e.evaluate(&rows.batch)?.into_array(n)?);
        let columns: Vec<ArrayRef> = self.spec.keys.iter().map(array).collect::<Result<_>>()?;
        let series = self.partition(&columns, n)?;
        let series_count = self.series_count();
        let width = match &self.spec.window {
            Some(e) => widths(array(e)?.as_struct()),
            None => vec![0; n],
        };
        self.count_new(&series, &rows.ts, &width);
        let mut out = rows.batch.columns().to_vec();
        for (call, state) in self.spec.calls.iter().zip(&mut self.states) {
            let args: Vec<ArrayRef> = call.args.iter().map(array).collect::<Result<_>>()?;
            let call =
                Call { series: &series, series_count, start: &rows.ts, width: &width, args: &args };
            out.push(state.update(&call)?);
        }
        Ok(Rows { ts: rows.ts, batch: conform(&self.spec.output, out, n)? })
    }

    /// Series are numbered as they come, so a number beyond all others is a new one. Each counts
    /// from the end of its own first window on, however many windows come together.
    fn count_new(&mut self, series: &[u32], start: &[Nanos], width: &[Nanos]) {
        for ((number, start), width) in series.iter().zip(start).zip(width) {
            let count = *number as usize + 1;
            if count > self.counted && *width > 0 {
                self.counted = count;
                match self.census.last_mut().filter(|(at, _)| *at == start + width) {
                    Some((_, last)) => *last = count,
                    None => self.census.push((start + width, count)),
                }
            }
        }
    }

    /// Growth of the number of series since the last call.
    pub fn take_census(&mut self) -> Vec<(Nanos, usize)> {
        std::mem::take(&mut self.census)
    }

    fn partition(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        match &mut self.partitions {
            Partitions::Series(keys) => {
                let mut groups = Vec::new();
                keys.intern(columns, &mut groups);
                Ok(groups)
            }
            Partitions::General(keys) => {
                let mut groups = Vec::new();
                keys.intern(&to_plain(columns)?, rows, &mut groups)?;
                Ok(groups.into_iter().map(|g| g as u32).collect())
            }
        }
    }

    fn series_count(&self) -> usize {
        match &self.partitions {
            Partitions::Series(keys) => keys.len(),
            Partitions::General(keys) => keys.len(),
        }
    }

    /// One batch, a row per series: its key columns and the state of every call.
    pub fn save(&mut self) -> Result<Vec<RecordBatch>> {
        let count = self.series_count();
        let mut columns = match &mut self.partitions {
            Partitions::Series(keys) => to_plain(&keys.columns((0..count as u32).collect()))?,
            Partitions::General(keys) => keys.columns()?,
        };
        columns.extend(self.states.iter().map(|s| Arc::new(s.save()) as ArrayRef));
        Ok(vec![unnamed(columns)?])
    }

    pub fn restore(&mut self, parts: &[RecordBatch]) -> Result<()> {
        for part in parts {
            let (keys, states) = part.columns().split_at(self.spec.keys.len());
            match &mut self.partitions {
                Partitions::Series(table) => {
                    let text: Vec<_> = keys.iter().map(|c| c.as_string::<i32>()).collect();
                    for row in 0..part.num_rows() {
                        table.intern_text(text.iter().map(|t| t.value(row)));
                    }
                }
                Partitions::General(table) => {
                    table.intern(keys, part.num_rows(), &mut Vec::new())?;
                }
            }
            for (state, saved) in self.states.iter_mut().zip(states) {
                let unreadable = |message: String| {
                    let remedy = "start over with --fresh".to_owned();
                    Error::Checkpoint { message, remedy }
                };
                let saved: &BinaryArray = saved.as_binary_opt::<i32>().ok_or_else(|| {
                    unreadable("the state of a stateful function is not binary".to_owned())
                })?;
                state.restore(saved).map_err(|e| unreadable(e.strip_backtrace()))?;
            }
        }
        self.counted = self.series_count();
        Ok(())
    }
}

fn widths(windows: &StructArray) -> Vec<Nanos> {
    let side = |i: usize| -> &ScalarBuffer<i64> {
        windows.column(i).as_primitive::<TimestampNanosecondType>().values()
    };
    side(0).iter().zip(side(1).iter()).map(|(start, end)| end - start).collect()
}
