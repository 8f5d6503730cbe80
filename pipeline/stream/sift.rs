//! Rows on which an expression of a job fails are set aside; the others go on without them.
//!
//! Whether an expression fails depends on its row alone, so the same rows are set aside however
//! they are cut into batches.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::PhysicalExpr;

use super::rows::Rows;
use crate::error::Result;

/// A row that SQL cannot work with.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What the matter is, and what to write instead.
    pub message: String,
    pub remedy: &'static str,
    /// The row in the columns of the step that failed.
    pub row: RecordBatch,
}

/// The rows on which none of these expressions fails, and the others. Halves what fails until it
/// is one row, so few of many cost little.
///
/// # Errors
/// An error of an expression that is not about a row.
pub fn sift(expressions: &[Arc<dyn PhysicalExpr>], rows: &Rows) -> Result<(Rows, Vec<Fault>)> {
    let batch = &rows.batch;
    let mut keep = vec![true; batch.num_rows()];
    let mut faults = Vec::new();
    let mut ranges = vec![(0, batch.num_rows())];
    while let Some((from, to)) = ranges.pop() {
        let part = batch.slice(from, to - from);
        let fails = expressions.iter().find_map(|e| match e.evaluate(&part) {
            Ok(_) => None,
            Err(error) => Some(crate::error::Error::from(error)),
        });
        let Some(error) = fails else { continue };
        let Some((message, remedy)) = error.row_problem() else { return Err(error) };
        if to - from == 1 {
            keep[from] = false;
            faults.push(Fault { message, remedy, row: part });
        } else {
            let middle = from.midpoint(to);
            ranges.extend([(middle, to), (from, middle)]);
        }
    }
    let ts = rows.ts.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(ts, _)| *ts);
    let ts = ScalarBuffer::from_iter(ts);
    let batch = filter_record_batch(batch, &BooleanArray::from(keep))?;
    Ok((Rows { ts, batch }, faults))
}
