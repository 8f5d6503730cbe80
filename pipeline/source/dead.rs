//! Rows that cannot be used, kept with their place and the reason.

use std::borrow::Cow;

use super::escape;
use crate::stream::schema::Stream;

/// Longest excerpt of a bad row that is kept.
pub const DEAD_TEXT_BYTES_MAX: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadReason {
    BadTimestamp,
    BadValue,
    MissingField,
    Malformed,
    TooLong,
    /// The file ends in the middle, or a part of it does not decode.
    Damaged,
}

impl DeadReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadTimestamp => "bad_timestamp",
            Self::BadValue => "bad_value",
            Self::MissingField => "missing_field",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Damaged => "damaged",
        }
    }
}

/// What is wrong with a row, before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defect {
    pub reason: DeadReason,
    pub detail: Cow<'static, str>,
}

impl Defect {
    pub fn new(reason: DeadReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into() }
    }

    pub fn missing(field: &str) -> Self {
        Self::new(DeadReason::MissingField, format!("field `{field}` is missing or empty"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub stream: Stream,
    pub file: String,
    /// 1-based; the row number for Parquet.
    pub line: u64,
    /// Input rows that this letter stands for: 1, except where a part of a file is damaged.
    pub rows: u64,
    pub reason: DeadReason,
    /// What exactly is wrong and what to do about it.
    pub detail: Cow<'static, str>,
    /// The row, escaped, at most [`DEAD_TEXT_BYTES_MAX`] bytes.
    pub text: String,
}

impl DeadLetter {
    pub(super) fn new(stream: Stream, file: &str, line: u64, defect: Defect, row: &[u8]) -> Self {
        let head = &row[..row.len().min(DEAD_TEXT_BYTES_MAX)];
        let mut text = escape::line(&escape::utf8(head)).into_owned();
        let end = escape::boundary(&text, DEAD_TEXT_BYTES_MAX);
        text.truncate(end);
        let Defect { reason, detail } = defect;
        Self { stream, file: file.to_owned(), line, rows: 1, reason, detail, text }
    }
}
