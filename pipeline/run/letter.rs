//! Rows that no job gets, as the archive keeps them.

use crate::knowledge::DeadRow;
use crate::source::{DEAD_TEXT_BYTES_MAX, DeadLetter, escape};
use crate::stream::ingest::{Refusal, Refused};

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
    let mut text = String::new();
    for (field, column) in refused.row.schema().fields().iter().zip(refused.row.columns()) {
        let value = arrow::util::display::array_value_to_string(column, 0).unwrap_or_default();
        if !value.is_empty() && text.len() < DEAD_TEXT_BYTES_MAX {
            text += &format!("{}={value} ", field.name());
        }
    }
    let end = escape::boundary(&text, DEAD_TEXT_BYTES_MAX);
    text.truncate(end);
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
        text: text.trim_end().to_owned(),
    }
}
