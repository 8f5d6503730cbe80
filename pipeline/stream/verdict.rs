//! Whether a row is passed on, is held back or is refused.
//!
//! A row far ahead of its partition may come from a wrong clock. It is held back until its
//! successors are as far ahead or event time has come to it, and refused once a successor is not.
//! The first rows of a partition are held back as well, as they have nothing to be ahead of: one
//! from which most of its successors are as far behind is refused. What is still held back at the
//! end is believed if the rows bear each other out: two or more, in order.

use arrow::array::AsArray;
use arrow::datatypes::TimestampNanosecondType;
use arrow::record_batch::RecordBatch;

use crate::model::Nanos;

/// Rows in succession that must be ahead before a jump in time is believed.
pub const JUMP_ROWS: usize = 8;

/// Why a row was not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Behind the watermark of its partition.
    Late,
    /// Too far in the future.
    Future,
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Future => "future",
        }
    }
}

#[derive(Debug)]
pub struct Partition {
    /// Newest accepted event time.
    pub newest: Nanos,
    /// Not asked when watermarks are combined: ended or idle.
    pub silent: bool,
    /// Rows accepted since the program began.
    pub accepted: u64,
    /// Rows of a jump that is not yet believed, one by one, as they came.
    pub jump: Vec<RecordBatch>,
}

impl Default for Partition {
    fn default() -> Self {
        Self { newest: Nanos::MIN, silent: false, accepted: 0, jump: Vec::new() }
    }
}

impl Partition {
    /// Whether there is a row that others can be ahead of.
    pub fn begun(&self) -> bool {
        self.newest > Nanos::MIN
    }

    pub fn accept(&mut self, t: Nanos) {
        self.newest = self.newest.max(t);
        self.accepted += 1;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    Jump,
    Refuse(Refusal),
}

/// What became of rows that were looked at one by one.
#[derive(Default)]
pub struct Judged {
    pub kept: Vec<RecordBatch>,
    pub refused: Vec<(Refusal, RecordBatch)>,
}

/// What decides about a row beside its partition.
#[derive(Clone, Copy)]
pub struct Rules {
    pub lateness: Nanos,
    pub not_after: Nanos,
    pub jump: Option<Nanos>,
    /// Event time up to which rows have been passed on.
    pub released: Nanos,
}

impl Rules {
    pub fn judge(&self, p: &Partition, t: Nanos) -> Verdict {
        if t > self.not_after {
            return Verdict::Refuse(Refusal::Future);
        }
        // The first row of a partition that joins late may lie behind what has been passed on.
        if t < self.released || t < p.newest.saturating_sub(self.lateness) {
            return Verdict::Refuse(Refusal::Late);
        }
        let ahead = |jump| !p.begun() || t > p.newest.saturating_add(jump);
        if self.jump.is_some_and(ahead) { Verdict::Jump } else { Verdict::Keep }
    }

    /// Judges one row and what its verdict says about the rows held back before it.
    pub fn offer(&self, p: &mut Partition, row: RecordBatch, out: &mut Judged) {
        let verdict = self.judge(p, time_of(&row));
        if verdict == Verdict::Jump {
            p.jump.push(row);
            if p.jump.len() >= JUMP_ROWS {
                self.believe(p, out);
            }
            return;
        }
        if p.begun() {
            // Their successor did not follow: the jump was a wrong clock.
            out.refused.extend(p.jump.drain(..).map(|held| (Refusal::Future, held)));
        }
        match verdict {
            Verdict::Refuse(reason) => out.refused.push((reason, row)),
            Verdict::Keep | Verdict::Jump => {
                p.accept(time_of(&row));
                out.kept.push(row);
            }
        }
    }

    /// Accepts the first of the rows held back and judges the others again.
    pub fn believe(&self, p: &mut Partition, out: &mut Judged) {
        let mut held = std::mem::take(&mut p.jump);
        if !p.begun() {
            let wrong = wrong_at_first(&held, self.jump.unwrap_or(Nanos::MAX));
            out.refused.extend(held.drain(..wrong).map(|row| (Refusal::Future, row)));
        }
        let mut held = held.into_iter();
        let Some(first) = held.next() else { return };
        if time_of(&first) < self.released {
            out.refused.push((Refusal::Late, first));
        } else {
            p.accept(time_of(&first));
            out.kept.push(first);
        }
        held.for_each(|row| self.offer(p, row, out));
    }
}

/// How many rows at the beginning of a partition have most of their successors further behind than
/// `jump`.
fn wrong_at_first(rows: &[RecordBatch], jump: Nanos) -> usize {
    let times: Vec<Nanos> = rows.iter().map(time_of).collect();
    let right = |(i, t): (usize, &Nanos)| {
        let successors = &times[i + 1..];
        let behind = successors.iter().filter(|s| **s < t.saturating_sub(jump)).count();
        2 * behind <= successors.len()
    };
    times.iter().enumerate().position(right).unwrap_or(times.len())
}

/// Whether these are several rows, each at most `lateness` behind the newest before it.
pub fn in_order(rows: &[RecordBatch], lateness: Nanos) -> bool {
    let mut newest = Nanos::MIN;
    let follows = |row: &RecordBatch| {
        let t = time_of(row);
        newest = newest.max(t);
        t >= newest.saturating_sub(lateness)
    };
    rows.len() > 1 && rows.iter().all(follows)
}

pub fn time_of(row: &RecordBatch) -> Nanos {
    row.column(0).as_primitive::<TimestampNanosecondType>().value(0)
}
