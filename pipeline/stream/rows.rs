//! What stages pass to each other.

use arrow::buffer::ScalarBuffer;
use arrow::record_batch::RecordBatch;

use crate::model::Nanos;

/// Rows with their event time, which travels beside the columns so that a projection cannot lose
/// it.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Event time of each row; the window's start once rows stand for windows. Never decreases.
    pub ts: ScalarBuffer<Nanos>,
    pub batch: RecordBatch,
}

/// One step of a stream.
#[derive(Clone, Debug)]
pub enum Msg {
    Batch(Rows),
    /// No row before this event time will follow.
    Watermark(Nanos),
    End,
}
