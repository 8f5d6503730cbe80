//! Rows that the SQL of a job cannot work with are set aside; the job goes on without them.
//!
//! Whether an expression fails depends on its row alone, and what is made of a closed window on
//! that window, so the same rows are set aside however they are cut into batches.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::PhysicalExpr;

use super::rows::Rows;
use crate::error::{Error, Result};

/// A row, or all rows of a closed window, that SQL cannot work with.
#[derive(Clone, Debug)]
pub struct Fault {
    pub problem: Problem,
    /// The row in the columns of the step that failed; of a window the first.
    pub row: RecordBatch,
    pub rows: usize,
}

/// What the matter is, and what to write instead.
#[derive(Clone, Debug)]
pub struct Problem {
    pub message: String,
    pub remedy: &'static str,
}

impl Problem {
    /// `None` where it is not the rows that are at fault.
    pub fn of(error: &Error) -> Option<Self> {
        let (message, remedy) = match error {
            Error::Arrow(error) => of_values(error)?,
            Error::DataFusion(error) => match error.find_root() {
                DataFusionError::ArrowError(error, _) => of_values(error)?,
                DataFusionError::Execution(message) => (message.clone(), LEAVE_OUT),
                // Nothing but a closed window is worked on in bounded memory.
                DataFusionError::ResourcesExhausted(_) => (
                    "what the job makes of this window takes too much memory".to_owned(),
                    "join on more than the window, or aggregate or filter first",
                ),
                _ => return None,
            },
            _ => return None,
        };
        let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
        Some(Self { message, remedy })
    }
}

/// Of what fails, which may be a whole log line.
const MESSAGE_CHARS_MAX: usize = 256;

const LEAVE_OUT: &str = "change that expression, or leave out such rows with WHERE";

fn of_values(error: &ArrowError) -> Option<(String, &'static str)> {
    Some(match error {
        ArrowError::DivideByZero => {
            ("division by zero".to_owned(), "divide by NULLIF(x, 0) instead of x")
        }
        ArrowError::CastError(what) | ArrowError::ParseError(what) => {
            (what.clone(), "write TRY_CAST instead of CAST, it gives NULL where that fails")
        }
        ArrowError::ArithmeticOverflow(what) => {
            (what.clone(), "calculate in DOUBLE: CAST(x AS DOUBLE)")
        }
        ArrowError::ComputeError(what) | ArrowError::InvalidArgumentError(what) => {
            (what.clone(), LEAVE_OUT)
        }
        _ => return None,
    })
}

/// Rows that can be worked on together, in order, and those that cannot be worked on. Halves what
/// fails until it is one row, so few of many cost little.
///
/// `a AND b` evaluates `b` on all rows of a batch where one of them needs it, so rows may fail
/// together of which none fails by itself.
///
/// # Errors
/// An error of an expression that is not about a row.
pub fn sift(expressions: &[Arc<dyn PhysicalExpr>], rows: &Rows) -> Result<(Vec<Rows>, Vec<Fault>)> {
    let (mut sound, mut faults) = (Vec::new(), Vec::new());
    let mut ranges = vec![(0, rows.batch.num_rows())];
    while let Some((from, to)) = ranges.pop() {
        let batch = rows.batch.slice(from, to - from);
        let Some(error) = expressions.iter().find_map(|e| e.evaluate(&batch).err()) else {
            sound.push(Rows { ts: rows.ts.slice(from, to - from), batch });
            continue;
        };
        let error = Error::from(error);
        let Some(problem) = Problem::of(&error) else { return Err(error) };
        if to - from == 1 {
            faults.push(Fault { problem, row: batch, rows: 1 });
        } else {
            let middle = from.midpoint(to);
            ranges.extend([(middle, to), (from, middle)]);
        }
    }
    Ok((sound, faults))
}
