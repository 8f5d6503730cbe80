//! Agent 5: signals and closed incidents become rows of the archive.
//!
//! Invariants: the tables are those of `sql/schema`, and no column is described anywhere else; an
//! incident is visible only after its evidence, causes, actions and slices, as it is committed
//! last; a repeated append is recognised by its number and writes nothing.

mod rows;
#[cfg(test)]
pub mod samples;
mod schema;
mod writer;

pub use rows::{ClosedCase, DEFAULT_CLUSTER, DeadRow, case_rows, day_of};
pub use schema::{Column, TableDoc, archive_tables, table_specs};
pub use writer::{Outbox, Writer};
