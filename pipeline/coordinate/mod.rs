//! Agent 3: what could be done about a diagnosed incident. Nothing here writes to a cluster.
//!
//! Invariants: every action is one of the closed set [`Action`](crate::model::Action); its target
//! is a service or instance that telemetry or the record of changes named in a key column, never
//! a word out of a message; a plan is a proposal, and only an [`Approved`] one may be carried out.

mod approved;
mod inventory;
mod plan;
mod remedy;

pub use approved::Approved;
pub use plan::plan;
