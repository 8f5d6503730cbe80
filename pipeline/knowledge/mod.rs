//! Agent 5: signals and closed incidents become rows of the archive, and what is learned from
//! them, with imported runbooks, is found again.
//!
//! Invariants: the tables are those of `sql/schema`, and no column is described anywhere else; an
//! incident is visible only after its evidence, causes, actions and slices, as it is committed
//! last; a repeated append is recognised by its number and writes nothing; no incident finds a
//! case that was still open when it began.

mod case;
mod fingerprint;
mod front_matter;
mod fusion;
mod hashed;
mod import;
pub mod intake;
mod learned;
mod library;
pub mod load;
pub mod open;
pub mod recall;
mod rows;
mod runbook;
#[cfg(test)]
pub mod samples;
mod schema;
mod weight;
mod words;
mod writer;

pub use case::{Case, described, names_of};
pub use learned::{Feedback, Said};
pub use library::{Fitting, Library, Model, Passage, Question, Similar};
pub use rows::{ClosedCase, DEFAULT_CLUSTER, DeadRow, case_rows, day_of};
pub use schema::{Column, TableDoc, archive_tables, table_specs};
pub use writer::{Outbox, Writer};
