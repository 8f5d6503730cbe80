//! What still has to reach the archive.
//!
//! A row is written with the state that produced it and deleted after the archive has it. A crash
//! between the two repeats the row; its `seq` as the number of the archive's commit makes the
//! repetition harmless, as numbers grow and are never used again.

use rusqlite::params;

use super::Tx;
use crate::error::{Error, Result};

/// Rows that may wait. An archive that cannot be written stops its producers here instead of
/// filling the disk.
pub const OUTBOX_MAX_ROWS: i64 = 100_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    pub seq: i64,
    /// The archive's table.
    pub table: String,
    pub app_id: String,
    pub payload: Vec<u8>,
}

impl Tx<'_> {
    /// Appends a row and returns its number.
    ///
    /// # Errors
    /// [`Error::Backlog`] when [`OUTBOX_MAX_ROWS`] rows wait.
    pub fn outbox_push(&self, table: &str, app_id: &str, payload: &[u8]) -> Result<i64> {
        let waiting = self.outbox_len()?;
        if waiting >= OUTBOX_MAX_ROWS {
            return Err(Error::Backlog { path: self.path().to_path_buf(), rows: waiting });
        }
        self.checked(|tx| {
            tx.prepare_cached("INSERT INTO outbox (target, app_id, payload) VALUES (?1, ?2, ?3)")?
                .insert(params![table, app_id, payload])
        })
    }

    /// At most `limit` rows, oldest first.
    pub fn outbox_peek(&self, limit: usize) -> Result<Vec<OutboxRow>> {
        self.checked(|tx| {
            tx.prepare_cached(
                "SELECT seq, target, app_id, payload FROM outbox ORDER BY seq LIMIT ?1",
            )?
            .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                Ok(OutboxRow {
                    seq: row.get(0)?,
                    table: row.get(1)?,
                    app_id: row.get(2)?,
                    payload: row.get(3)?,
                })
            })?
            .collect()
        })
    }

    /// Removes the row `seq`; one that is gone already is no error.
    pub fn outbox_ack(&self, seq: i64) -> Result<()> {
        self.checked(|tx| {
            tx.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?.execute([seq]).map(|_| ())
        })
    }

    /// Rows that wait. Exact where rows are acknowledged in order; else also counts the gaps,
    /// which keeps it a look at two ends instead of a count.
    pub fn outbox_len(&self) -> Result<i64> {
        self.checked(|tx| {
            tx.prepare_cached(
                "SELECT coalesce((SELECT max(seq) FROM outbox) \
                 - (SELECT min(seq) FROM outbox) + 1, 0)",
            )?
            .query_row([], |row| row.get(0))
        })
    }
}
