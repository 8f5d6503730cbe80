//! The one place that writes to the archive.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use faultline_storage::archive::compact::Policy;
use faultline_storage::archive::{Archive, Committed, Open, Txn};

use super::rows::{ClosedCase, DeadRow, case_rows, dead_rows, signal_rows, template_rows};
use super::schema::{TableDoc, WRITTEN, archive_tables, table_specs};
use crate::error::Result;
use crate::model::Signal;
use crate::monitor::template::history::Known;

/// Small files are merged once a partition has this many: rarely enough that a row is rewritten
/// only a few times, often enough that a day of incidents stays a handful of files.
const COMPACT: Policy = Policy { min_files: 8, target_bytes: 64 << 20 };

/// Rows for several tables that are committed under one number.
#[derive(Clone, Debug, Default)]
pub struct Outbox(BTreeMap<String, Vec<RecordBatch>>);

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn case(&mut self, case: &ClosedCase) -> Result<()> {
        for (table, rows) in case_rows(case)? {
            self.rows(table, rows);
        }
        Ok(())
    }

    /// Signals with the incidents that they belong to.
    pub fn signals(&mut self, settled: &[(Signal, Option<String>)]) -> Result<()> {
        if !settled.is_empty() {
            self.rows("signals", signal_rows(settled)?);
        }
        Ok(())
    }

    /// Input rows that could not be used.
    pub fn dead_letters(&mut self, cluster: &str, dead: &[DeadRow]) -> Result<()> {
        if !dead.is_empty() {
            self.rows("dead_letters", dead_rows(cluster, dead)?);
        }
        Ok(())
    }

    /// What became of template ids, each in a cluster.
    pub fn templates(&mut self, known: &[(&str, &Known)]) -> Result<()> {
        if !known.is_empty() {
            self.rows("templates", template_rows(known)?);
        }
        Ok(())
    }

    /// Rows of one table, in its columns.
    pub fn rows(&mut self, table: &str, rows: RecordBatch) {
        match self.0.get_mut(table) {
            Some(held) => held.push(rows),
            None => self.0.entry(table.to_owned()).or_default().push(rows),
        }
    }

    pub fn tables(&self) -> impl Iterator<Item = (&str, &[RecordBatch])> {
        self.0.iter().map(|(table, rows)| (table.as_str(), rows.as_slice()))
    }
}

/// Commits that one writer numbers before its numbers may meet those of the next.
const COMMITS_PER_WRITER: i64 = 1 << 24;

#[derive(Debug)]
pub struct Writer {
    archive: Archive,
    /// Grows from writer to writer; see [`WRITTEN`].
    number: i64,
    tables: Vec<TableDoc>,
}

impl Writer {
    /// Opens the archive in `dir` for writing and creates what is missing. Must be called within a
    /// tokio runtime.
    pub async fn open(dir: &Path) -> Result<Self> {
        let archive = Archive::open(dir, table_specs()?, Open::ReadWrite).await?;
        let number = archive.commits("incidents").await?;
        Ok(Self { archive, number, tables: archive_tables()? })
    }

    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Appends what `outbox` holds as commit `version` of `app_id`; numbers of one `app_id` must
    /// grow.
    ///
    /// `incidents` is committed last, so whoever sees an incident sees all that belongs to it. A
    /// crash in between is made good by appending the same rows under the same number again:
    /// tables that have them recognise the number. Returns whether anything was new.
    pub async fn append(&self, app_id: &str, version: i64, outbox: Outbox) -> Result<bool> {
        let Outbox(mut tables) = outbox;
        let written = self.number.saturating_mul(COMMITS_PER_WRITER).saturating_add(version);
        for (table, batches) in &mut tables {
            if self.tables.iter().any(|t| t.name == *table && t.is_numbered()) {
                batches.iter_mut().try_for_each(|rows| number(rows, written))?;
            }
        }
        let incidents = tables.remove("incidents");
        let txn = Txn { app_id: app_id.to_owned(), version };
        let mut new = false;
        let incidents = incidents.map(|rows| ("incidents".to_owned(), rows));
        for (table, rows) in tables.into_iter().chain(incidents) {
            new |= self.archive.commit(&table, rows, txn.clone()).await? == Committed::Written;
        }
        Ok(new)
    }

    /// Merges the small files that a run has left; returns how many became part of another.
    pub async fn compact(&self) -> Result<usize> {
        let tables: Vec<String> = self.archive.tables().map(|t| t.name.clone()).collect();
        let mut merged = 0;
        for table in tables {
            merged += self.archive.compact(&table, COMPACT).await?;
        }
        Ok(merged)
    }

    /// Deletes files that the tables have not referred to for a week.
    pub async fn vacuum(&self) -> Result<usize> {
        let tables: Vec<String> = self.archive.tables().map(|t| t.name.clone()).collect();
        let mut deleted = 0;
        for table in tables {
            deleted += self.archive.vacuum(&table, SystemTime::now()).await?;
        }
        Ok(deleted)
    }
}

/// Says of which write the rows are.
fn number(rows: &mut RecordBatch, written: i64) -> Result<()> {
    let (schema, columns) = (rows.schema(), rows.columns().to_vec());
    let names = schema.fields().iter().map(|field| field.name().clone());
    let column: ArrayRef = Arc::new(Int64Array::from_value(written, rows.num_rows()));
    let all = names.zip(columns).chain([(WRITTEN.to_owned(), column)]);
    *rows = RecordBatch::try_from_iter(all)?;
    Ok(())
}
