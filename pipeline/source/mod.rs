//! Sources turn telemetry into batches in the streams' schemas. They block, keep nothing of what
//! they hand out, and account for every row: it is either in a batch or a dead letter.

mod csv;
mod dead;
mod error;
pub mod escape;
mod json;
mod keys;
pub(crate) mod lines;
pub mod outage;
mod rows;
mod severity;
pub mod tail;
mod text;
pub mod timestamp;

pub use dead::{DEAD_TEXT_BYTES_MAX, DeadLetter, DeadReason};
pub use error::Error;
pub use outage::Outage;
pub use severity::normalise as normalise_severity;
pub use tail::Tail;

use arrow::record_batch::RecordBatch;

use crate::model::Nanos;
use crate::stream::schema::Stream;
pub use crate::stream::series::Registries;

/// Some rows of one partition.
pub struct Chunk {
    pub stream: Stream,
    /// Stable number of the file within its source.
    pub partition: u32,
    /// Columns of [`Stream::schema`]; `template_id`, `template` and `caller` are empty. May
    /// have no rows.
    pub batch: RecordBatch,
    pub dead: Vec<DeadLetter>,
    /// Input bytes (as stored, so compressed where the file is) consumed since the last chunk.
    pub bytes: u64,
    /// The partition has no further rows and need not hold back a watermark.
    pub last: bool,
    /// Where a source merges its partitions: nothing older, but for disorder, follows on any.
    pub reached: Option<Nanos>,
}

impl Chunk {
    /// Input rows that this chunk accounts for.
    pub fn received(&self) -> u64 {
        self.batch.num_rows() as u64 + self.rejected()
    }

    /// Input rows that became dead letters.
    pub fn rejected(&self) -> u64 {
        self.dead.iter().map(|d| d.rows).sum()
    }
}

pub enum Next {
    Chunk(Chunk),
    /// Nothing new now; ask again later.
    Idle,
    End,
}

/// Where telemetry comes from.
pub enum Source {
    Outage(Outage),
    Tail(Tail),
}

impl Source {
    /// The next rows, of partitions that are `wanted` where that can be chosen. A source that is no
    /// longer wanted is dropped.
    pub fn next(
        &mut self,
        registries: &mut Registries,
        wanted: impl Fn(Stream, u32) -> bool,
    ) -> Result<Next, Error> {
        match self {
            Self::Outage(outage) => outage.next(registries),
            Self::Tail(tail) => tail.next(registries, wanted),
        }
    }

    /// The file behind a partition, for a person.
    pub fn file(&self, partition: u32) -> String {
        match self {
            Self::Outage(outage) => outage.file(partition),
            Self::Tail(tail) => tail.file(partition),
        }
    }

    /// When a partition of a source that has no end was last asked for rows.
    pub fn polled(&self, partition: u32) -> Option<std::time::Instant> {
        match self {
            Self::Outage(_) => None,
            Self::Tail(tail) => tail.polled(partition),
        }
    }

    /// Where a source that has no end goes on behind the last chunk; null for one that has.
    pub fn position(&self) -> serde_json::Value {
        match self {
            Self::Outage(_) => serde_json::Value::Null,
            Self::Tail(tail) => tail.position(),
        }
    }
}
