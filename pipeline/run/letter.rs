//! Rows that no job gets, as the archive keeps them.

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;

use crate::knowledge::DeadRow;
use crate::source::{DEAD_TEXT_BYTES_MAX, DeadLetter, escape};
use crate::stream::Fault;
use crate::stream::ingest::{Refusal, Refused};
use crate::stream::schema::Stream;

/// Why a row that the SQL of a job fails on is set aside.
pub const EXPRESSION: &str = "expression";

/// A row that could not be read.
pub fn unreadable(letter: &DeadLetter) -> DeadRow {
    DeadRow {
        stream: letter.stream,
        file: letter.file.clone(),
        line: letter.line,
        rows: letter.rows,
        reason: letter.reason.as_str().to_owned(),
        detail: letter.detail.to_string(),
        text: letter.text.clone(),
    }
}

/// A row that was read but came too late or too early; its line is no longer known.
pub fn refused(refused: &Refused, file: String) -> DeadRow {
    let detail = match refused.reason {
        Refusal::Late => "older than the watermark; raise `lateness` if such rows are usual",
        Refusal::Future => "too far in the future; check the clock of the sender",
    };
    DeadRow {
        stream: refused.stream,
        file,
        line: 0,
        rows: 1,
        reason: refused.reason.as_str().to_owned(),
        detail: detail.to_owned(),
        text: text(&refused.row),
    }
}

/// Rows of `stream`, or what a job made of such rows, on which the SQL of the job in this file
/// fails.
pub fn failed(stream: Stream, file: &str, fault: &Fault) -> DeadRow {
    DeadRow {
        stream,
        file: file.to_owned(),
        line: 0,
        rows: fault.rows as u64,
        reason: EXPRESSION.to_owned(),
        detail: format!("{}; {}", escape::line(&fault.problem.message), fault.problem.remedy),
        text: text(&fault.row),
    }
}

/// The values of a row by the names of its columns, escaped and cut.
fn text(row: &RecordBatch) -> String {
    let mut text = String::new();
    for (field, column) in row.schema().fields().iter().zip(row.columns()) {
        let value = array_value_to_string(column, 0).unwrap_or_default();
        if !value.is_empty() && text.len() < DEAD_TEXT_BYTES_MAX {
            text += &format!("{}={} ", field.name(), escape::line(&value));
        }
    }
    let end = escape::boundary(&text, DEAD_TEXT_BYTES_MAX);
    text.truncate(end);
    text.trim_end().to_owned()
}
