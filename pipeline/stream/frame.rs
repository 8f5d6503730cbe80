//! The aggregates of one slide bin: groups and their accumulators.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::PhysicalExpr;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;

use super::keys::{GeneralKeys, SeriesKeys, to_plain};
use crate::error::Result;

/// One aggregate of a job, ready to run.
#[derive(Clone)]
pub struct Aggregate {
    pub function: Arc<AggregateFunctionExpr>,
    pub args: Vec<Arc<dyn PhysicalExpr>>,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Aggregate {
    fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.function.groups_accumulator_supported() {
            return Ok(self.function.create_groups_accumulator()?);
        }
        let function = Arc::clone(&self.function);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())))
    }
}

/// Makes what `function` would run with, which is when some functions first look at their constant
/// arguments.
pub fn check_constants(function: &AggregateFunctionExpr) -> Result<()> {
    match function.groups_accumulator_supported() {
        true => drop(function.create_groups_accumulator()?),
        false => drop(function.create_accumulator()?),
    }
    Ok(())
}

/// Arguments and filters of all aggregates over one batch.
pub struct Inputs {
    args: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<BooleanArray>>,
}

impl Inputs {
    pub fn evaluate(aggregates: &[Aggregate], batch: &RecordBatch) -> Result<Self> {
        let rows = batch.num_rows();
        let array = |e: &Arc<dyn PhysicalExpr>| Ok(e.evaluate(batch)?.into_array(rows)?);
        let mut inputs = Self { args: Vec::new(), filters: Vec::new() };
        for a in aggregates {
            inputs.args.push(a.args.iter().map(array).collect::<Result<_>>()?);
            inputs.filters.push(match &a.filter {
                Some(f) => Some(array(f)?.as_boolean().clone()),
                None => None,
            });
        }
        Ok(inputs)
    }

    /// Adds one row to an accumulator of every aggregate.
    pub fn update(&self, row: usize, accumulators: &mut [Box<dyn Accumulator>]) -> Result<()> {
        for ((args, filter), accumulator) in self.args.iter().zip(&self.filters).zip(accumulators) {
            if filter.as_ref().is_none_or(|f| f.is_valid(row) && f.value(row)) {
                let one: Vec<ArrayRef> = args.iter().map(|arg| arg.slice(row, 1)).collect();
                accumulator.update_batch(&one)?;
            }
        }
        Ok(())
    }
}

/// Keys of all frames of one window: shared where keys are interned, per frame where they are not.
pub enum FrameKeys {
    Series(SeriesKeys),
    General(Vec<DataType>),
}

/// Key columns of one batch, resolved as far as possible before it is cut into bins.
pub enum BatchKeys {
    Series(Vec<u32>),
    General(Vec<ArrayRef>),
}

impl FrameKeys {
    pub fn resolve(&mut self, columns: &[ArrayRef]) -> Result<BatchKeys> {
        match self {
            Self::Series(keys) => {
                let mut groups = Vec::new();
                keys.intern(columns, &mut groups);
                Ok(BatchKeys::Series(groups))
            }
            Self::General(_) => Ok(BatchKeys::General(to_plain(columns)?)),
        }
    }
}

enum Groups {
    /// Position in `order` plus one for each key of the shared table, 0 where absent.
    Series {
        slot: Vec<u32>,
        order: Vec<u32>,
    },
    General(GeneralKeys),
}

/// Accumulated groups of one bin, in the order in which they were first seen.
pub struct Frame {
    groups: Groups,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    scratch: Vec<usize>,
}

/// Finished groups: key columns and either values or mergeable states of every aggregate.
pub struct Finished {
    pub rows: usize,
    pub keys: Vec<ArrayRef>,
    pub columns: Vec<Vec<ArrayRef>>,
}

impl Frame {
    pub fn new(keys: &FrameKeys, aggregates: &[Aggregate]) -> Result<Self> {
        let groups = match keys {
            FrameKeys::Series(_) => Groups::Series { slot: Vec::new(), order: Vec::new() },
            FrameKeys::General(types) => Groups::General(GeneralKeys::new(types)?),
        };
        let accumulators = aggregates.iter().map(Aggregate::accumulator).collect::<Result<_>>()?;
        Ok(Self { groups, accumulators, scratch: Vec::new() })
    }

    pub fn len(&self) -> usize {
        match &self.groups {
            Groups::Series { order, .. } => order.len(),
            Groups::General(keys) => keys.len(),
        }
    }

    /// Adds rows `from..to` of a batch.
    pub fn update(
        &mut self,
        keys: &BatchKeys,
        inputs: &Inputs,
        from: usize,
        to: usize,
    ) -> Result<()> {
        self.assign(keys, from, to)?;
        let total = self.len();
        for (i, acc) in self.accumulators.iter_mut().enumerate() {
            let args: Vec<ArrayRef> =
                inputs.args[i].iter().map(|a| a.slice(from, to - from)).collect();
            let filter = inputs.filters[i].as_ref().map(|f| f.slice(from, to - from));
            acc.update_batch(&args, &self.scratch, filter.as_ref(), total)?;
        }
        Ok(())
    }

    /// Adds states made by [`Frame::states`], one row per group.
    pub fn merge(&mut self, keys: &BatchKeys, states: &[Vec<ArrayRef>], rows: usize) -> Result<()> {
        self.assign(keys, 0, rows)?;
        let total = self.len();
        for (acc, state) in self.accumulators.iter_mut().zip(states) {
            acc.merge_batch(state, &self.scratch, total)?;
        }
        Ok(())
    }

    /// Final values; the frame is spent.
    pub fn finish(mut self, keys: &mut FrameKeys) -> Result<Finished> {
        let rows = self.len();
        let keys = self.key_columns(keys)?;
        let value = |a: &mut Box<dyn GroupsAccumulator>| Ok(vec![a.evaluate(EmitTo::All)?]);
        let columns = self.accumulators.iter_mut().map(value).collect::<Result<_>>()?;
        Ok(Finished { rows, keys, columns })
    }

    /// Mergeable states; the frame is spent, because accumulators give their state away.
    pub fn states(mut self, keys: &mut FrameKeys) -> Result<Finished> {
        let rows = self.len();
        let keys = self.key_columns(keys)?;
        let state = |a: &mut Box<dyn GroupsAccumulator>| Ok(a.state(EmitTo::All)?);
        let columns = self.accumulators.iter_mut().map(state).collect::<Result<_>>()?;
        Ok(Finished { rows, keys, columns })
    }

    /// Group numbers, for merging a bin again without going through its key columns.
    pub fn series(&self) -> Option<&[u32]> {
        match &self.groups {
            Groups::Series { order, .. } => Some(order),
            Groups::General(_) => None,
        }
    }

    fn key_columns(&mut self, keys: &mut FrameKeys) -> Result<Vec<ArrayRef>> {
        match (&mut self.groups, keys) {
            (Groups::Series { order, .. }, FrameKeys::Series(table)) => {
                Ok(table.columns(order.clone()))
            }
            (Groups::General(general), _) => general.take(),
            (Groups::Series { .. }, FrameKeys::General(_)) => {
                unreachable!("a frame is made from its own keys")
            }
        }
    }

    /// Leaves the group of each row in `scratch`.
    fn assign(&mut self, keys: &BatchKeys, from: usize, to: usize) -> Result<()> {
        self.scratch.clear();
        match (&mut self.groups, keys) {
            (Groups::Series { slot, order }, BatchKeys::Series(series)) => {
                self.scratch.reserve(to - from);
                for key in &series[from..to] {
                    let at = *key as usize;
                    if at >= slot.len() {
                        slot.resize((at + 1).next_power_of_two(), 0);
                    }
                    if slot[at] == 0 {
                        order.push(*key);
                        slot[at] = order.len() as u32;
                    }
                    self.scratch.push(slot[at] as usize - 1);
                }
                Ok(())
            }
            (Groups::General(general), BatchKeys::General(columns)) => {
                let part: Vec<ArrayRef> =
                    columns.iter().map(|c| c.slice(from, to - from)).collect();
                general.intern(&part, to - from, &mut self.scratch)
            }
            _ => unreachable!("a batch is resolved by the keys of its own window"),
        }
    }
}
