//! The event-time SQL engine on DataFusion.

mod dialect;
pub mod driver;
mod explain;
mod finite;
mod frame;
mod functions;
pub mod ingest;
pub mod interval;
mod keys;
pub mod nesting;
mod over;
mod plan;
mod refusals;
mod reorder;
pub mod rows;
pub mod schema;
pub mod series;
mod session;
mod sift;
mod stage;
mod verdict;
mod watermark_clause;
mod window;

pub use dialect::JobFile;
pub use explain::explain;
pub use plan::Job;
pub use schema::SINK;
pub use sift::Fault;
pub use watermark_clause::LATENESS_MAX;

use crate::error::Result;

/// Parses and plans one job; `origin` is the file name that messages show.
pub async fn compile(origin: &str, text: &str) -> Result<Job> {
    plan::plan(JobFile::parse(origin, text)?).await
}
