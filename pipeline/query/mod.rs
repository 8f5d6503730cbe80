//! SQL over the archive: read only, within limits, and with no way to any other file.
//!
//! Invariants: a statement sees the tables of `sql/schema` and nothing else; nothing that writes,
//! sets or declares is ever planned; memory, time, rows and the text itself are bounded, and an
//! answer that was cut says so; damaged files are named and the rest answers.

mod bounded;
mod format;
mod prompt;
mod refusal;
mod reserve;
mod session;
mod statement;
#[cfg(test)]
mod tests;

pub use format::{Format, write};
pub use prompt::prompt;
pub use session::{Answer, Limits, Session};
