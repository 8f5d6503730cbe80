//! What Faultline keeps: the archive of Delta tables, search over what it holds, checkpoints of a
//! stream job and the rolling capture of raw rows.
//!
//! Invariants, above all what is absent: no domain noun and no schema lives here (callers bring
//! them); no file is ever changed in place; nothing becomes visible before it is on stable storage;
//! an `fsync` error is returned as fatal ([`Error::is_fatal`]) and never retried.

pub mod archive;
pub mod checkpoint;
pub mod durable;
mod error;
mod lock;
pub mod pairs;
pub mod recorder;
pub mod search;
pub mod vectors;

pub use error::{Error, Result};
