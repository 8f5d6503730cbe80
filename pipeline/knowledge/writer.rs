//! The one place that writes to the archive.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::record_batch::RecordBatch;
use faultline_storage::archive::compact::Policy;
use faultline_storage::archive::{Archive, Committed, Open, Txn};

use super::rows::{ClosedCase, DeadRow, case_rows, dead_rows, signal_rows};
use super::schema::table_specs;
use crate::error::Result;
use crate::model::Signal;

/// Small files are merged once a partition has this many: rarely enough that a row is rewritten
/// only a few times, often enough that a day of incidents stays a handful of files.
const COMPACT: Policy = Policy { min_files: 8, target_bytes: 64 << 20 };

#[derive(Debug)]
pub struct Writer {
    archive: Archive,
}

impl Writer {
    /// Opens the archive in `dir` for writing and creates what is missing. Must be called within a
    /// tokio runtime.
    pub async fn open(dir: &Path) -> Result<Self> {
        let archive = Archive::open(dir, table_specs()?, Open::ReadWrite).await?;
        Ok(Self { archive })
    }

    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Appends `cases` as commit `version` of `app_id`; numbers of one `app_id` must grow.
    ///
    /// `incidents` is committed last, so whoever sees an incident sees all that belongs to it. A
    /// crash in between is made good by appending the same cases under the same number again:
    /// tables that have them recognise the number.
    pub async fn append(
        &self,
        app_id: &str,
        version: i64,
        cases: &[ClosedCase],
    ) -> Result<Committed> {
        let mut tables: BTreeMap<&str, Vec<RecordBatch>> = BTreeMap::new();
        for case in cases {
            for (table, rows) in case_rows(case)? {
                tables.entry(table).or_default().push(rows);
            }
        }
        let incidents = tables.remove("incidents").unwrap_or_default();
        let txn = Txn { app_id: app_id.to_owned(), version };
        for (table, rows) in tables {
            self.archive.commit(table, rows, txn.clone()).await?;
        }
        Ok(self.archive.commit("incidents", incidents, txn).await?)
    }

    /// Appends signals with the incidents that they belong to, as commit `version` of `app_id`.
    /// Must come before the incidents themselves.
    pub async fn signals(
        &self,
        app_id: &str,
        version: i64,
        settled: &[(Signal, Option<String>)],
    ) -> Result<Committed> {
        let rows = vec![signal_rows(settled)?];
        let txn = Txn { app_id: app_id.to_owned(), version };
        Ok(self.archive.commit("signals", rows, txn).await?)
    }

    /// Keeps input rows that could not be used, as commit `version` of `app_id`.
    pub async fn dead_letters(
        &self,
        app_id: &str,
        version: i64,
        cluster: &str,
        dead: &[DeadRow],
    ) -> Result<Committed> {
        let rows = vec![dead_rows(cluster, dead)?];
        let txn = Txn { app_id: app_id.to_owned(), version };
        Ok(self.archive.commit("dead_letters", rows, txn).await?)
    }

    /// The last number under which `app_id` appended incidents.
    pub async fn last_version(&self, app_id: &str) -> Result<Option<i64>> {
        Ok(self.archive.last_version("incidents", app_id).await?)
    }

    /// The last number under which `app_id` appended dead letters.
    pub async fn last_dead_letters(&self, app_id: &str) -> Result<Option<i64>> {
        Ok(self.archive.last_version("dead_letters", app_id).await?)
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
}
