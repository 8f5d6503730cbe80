//! What stages pass to each other.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::model::Nanos;

/// Rows with their event time, which travels beside the columns so that a projection cannot lose
/// it.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Event time of each row; the window's start once rows stand for windows. Raw rows come in
    /// its order; those of windows do as far as one window of a series ends before the next.
    pub ts: ScalarBuffer<Nanos>,
    pub batch: RecordBatch,
}

/// One step of a stream.
#[derive(Clone, Debug)]
pub enum Msg {
    Batch(Rows),
    /// No raw row before this event time will follow, and no window that ends by it.
    Watermark(Nanos),
    /// From here on the ids of interned keys stand for other keys.
    Renumbered,
    End,
}

/// Memory that rows take by themselves. The batch may be cut out of a much larger one, and share
/// its dictionaries with others.
pub fn bytes(batch: &RecordBatch) -> usize {
    let column = |c: &ArrayRef| match c.data_type() {
        DataType::Dictionary(..) => size_of::<u32>() * c.len(),
        _ => c.to_data().get_slice_memory_size().unwrap_or_else(|_| c.get_array_memory_size()),
    };
    batch.columns().iter().map(column).sum()
}

/// Columns as a checkpoint keeps them, which knows them by their place: `c0`, `c1`, ….
pub fn unnamed(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let field =
        |(i, c): (usize, &ArrayRef)| Field::new(format!("c{i}"), c.data_type().clone(), true);
    let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}
