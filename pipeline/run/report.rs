//! What a run tells while it goes on and when it is over.

use crate::knowledge::{ClosedCase, DeadRow};
use crate::model::{Incident, Nanos, Signal};

/// Where every received row went:
/// `received = processed + late + rejected + dead + in_flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Accounts {
    pub received: u64,
    /// Passed on to the jobs.
    pub processed: u64,
    /// Behind the watermark; kept as dead letters.
    pub late: u64,
    /// Timestamp in the future; kept as dead letters.
    pub rejected: u64,
    /// Unreadable; kept as dead letters.
    pub dead: u64,
    /// Still waiting for the watermark when the run was stopped.
    pub in_flight: u64,
}

impl Accounts {
    /// True if no row is missing.
    pub fn balance(&self) -> bool {
        self.received == self.processed + self.late + self.rejected + self.dead + self.in_flight
    }
}

/// Followed by whoever shows a run to a person.
pub trait Observer: Send {
    /// Input bytes consumed and event time reached since the last call.
    fn progress(&mut self, bytes: u64, event_time: i64);
    fn signal(&mut self, signal: &Signal);
    /// A live incident has opened; its causes are told at event time `due`.
    fn opened(&mut self, _incident: &Incident, _title: &str, _due: Nanos) {}
    /// An incident is over, or the input is; it is diagnosed and planned.
    fn case(&mut self, case: &ClosedCase);
}

/// Rows that could not be used, for one reason.
#[derive(Clone, Debug)]
pub struct SetAside {
    pub reason: String,
    pub rows: u64,
    /// One to look at: the first by file and line. An earlier process has told of its own.
    pub first: Option<DeadRow>,
}

/// A finished run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub accounts: Accounts,
    pub signals: u64,
    /// Those that are over, and those that are still open.
    pub incidents: u64,
    pub open: u64,
    /// The archive got rows that it did not have.
    pub archived: bool,
    pub dead_letters: Vec<SetAside>,
    pub stopped: bool,
}
