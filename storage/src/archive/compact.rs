//! Merging small files, and removing files that nobody can still be reading.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deltalake::checkpoints;
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::commit::{checkpoint_if_due, write_file};
use super::schema::conform;
use super::table::{ActiveFile, MAX_ATTEMPTS, Snapshot, Table};
use super::{Archive, partition};
use crate::durable;
use crate::error::{Error, Result};

/// How long a file outlives its removal from the table: far longer than any query runs, and the
/// time that Delta itself keeps such files by default.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When to merge, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A partition is left alone while it has fewer small files than this; at least 2.
    pub min_files: usize,
    /// A file of this size is not small, and no merged file gets much larger.
    pub target_bytes: u64,
}

impl Archive {
    /// Merges the small files of each partition, oldest rows first; returns how many files became
    /// part of another. Rows and commit numbers stay what they are, and appends go on meanwhile.
    pub async fn compact(&self, table: &str, policy: Policy) -> Result<usize> {
        let table = self.writable(table, "compact it")?;
        let _turn = table.take_turn().await;
        let base = table.current().await?;
        let mut merged = 0;
        for (key, files) in groups(&base, policy)? {
            merged += self.merge(table, &key, files, policy).await?;
        }
        Ok(merged)
    }

    /// Deletes files that `table` has not referred to for [`RETENTION`] before `now`, and log
    /// entries older than the table's log retention; returns how many data files.
    pub async fn vacuum(&self, table: &str, now: SystemTime) -> Result<usize> {
        let table = self.writable(table, "vacuum it")?;
        let _turn = table.take_turn().await;
        let base = table.current().await?;
        let cutoff = now.checked_sub(RETENTION).unwrap_or(UNIX_EPOCH);
        let cutoff_ms = cutoff
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        durable::remove_leftovers(table.dir(), cutoff)?;
        let kept = kept_paths(&base, cutoff_ms).await?;
        let log_store = base.log_store();
        let store = log_store.object_store(None);
        let listed: Vec<ObjectMeta> = store
            .list(None)
            .try_collect()
            .await
            .map_err(|e| Error::store(table.dir().display(), e))?;
        let mut deleted = 0;
        for found in listed {
            let path = found.location.as_ref();
            let old = found.last_modified.timestamp_millis() < cutoff_ms;
            if path.starts_with("_delta_log/") || !old || kept.contains(path) {
                continue;
            }
            match store.delete(&found.location).await {
                Ok(()) => deleted += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(err) => return Err(Error::store(path, err)),
            }
        }
        checkpoints::cleanup_metadata(base.delta(), None).await.map_err(|e| table.failed(e))?;
        Ok(deleted)
    }

    async fn merge(
        &self,
        table: &Table,
        key: &partition::Key,
        files: Vec<ActiveFile>,
        policy: Policy,
    ) -> Result<usize> {
        let mut base = table.current().await?;
        let layout = base.layout()?;
        let mut sources = Vec::with_capacity(files.len());
        let mut rows = Vec::new();
        for file in files {
            let path = table.dir().join(&file.path);
            if self.quarantine.contains(&path) {
                continue;
            }
            match self.decode(table, &file).await? {
                Ok(batches) => {
                    for batch in &batches {
                        rows.push(conform(&layout.table, batch, &layout.in_file)?);
                    }
                    sources.push(file);
                }
                Err(reason) => {
                    self.quarantine.add(path, reason);
                }
            }
        }
        if sources.len() < 2 {
            return Ok(0);
        }
        let origin: Vec<&[u8]> = sources.iter().map(|f| f.path.as_bytes()).collect();
        let store = base.log_store().object_store(None);
        let mut add = write_file(&store, &layout, key.clone(), &rows, &origin).await?;
        add.data_change = false;
        for _ in 0..MAX_ATTEMPTS {
            let active: BTreeSet<String> = base.files()?.into_iter().map(|f| f.path).collect();
            if !sources.iter().all(|f| active.contains(&f.path)) {
                // Another compaction was first; its result holds the rows of these files.
                return Ok(0);
            }
            let mut actions: Vec<Action> = sources.iter().map(ActiveFile::superseded).collect();
            actions.push(Action::Add(add.clone()));
            let operation = DeltaOperation::Optimize {
                predicate: None,
                target_size: i64::try_from(policy.target_bytes).unwrap_or(i64::MAX),
            };
            let won = table.attempt(&base, actions, None, operation).await?;
            if let Some(version) = won {
                checkpoint_if_due(table, version).await?;
                return Ok(sources.len());
            }
            base = table.current().await?;
        }
        Err(table.contended())
    }
}

/// The small files to merge with each other, in the order in which they were committed.
fn groups(base: &Snapshot, policy: Policy) -> Result<Vec<(partition::Key, Vec<ActiveFile>)>> {
    let mut small: BTreeMap<partition::Key, Vec<ActiveFile>> = BTreeMap::new();
    for file in base.files()? {
        let key: Option<partition::Key> = file.partition.iter().cloned().collect();
        if let Some(key) = key.filter(|_| file.size < policy.target_bytes) {
            small.entry(key).or_default().push(file);
        }
    }
    let mut groups = Vec::new();
    for (key, mut files) in small {
        if files.len() < policy.min_files.max(2) {
            continue;
        }
        files.sort_by(|a, b| (a.modified_ms, &a.path).cmp(&(b.modified_ms, &b.path)));
        let mut group: Vec<ActiveFile> = Vec::new();
        let mut bytes = 0;
        for file in files {
            if bytes + file.size > policy.target_bytes && !group.is_empty() {
                groups.push((key.clone(), std::mem::take(&mut group)));
                bytes = 0;
            }
            bytes += file.size;
            group.push(file);
        }
        groups.push((key, group));
    }
    groups.retain(|(_, files)| files.len() >= 2);
    Ok(groups)
}

/// Paths that a current or a recent snapshot refers to.
async fn kept_paths(base: &Snapshot, cutoff_ms: i64) -> Result<BTreeSet<String>> {
    let mut kept: BTreeSet<String> = base.files()?.into_iter().map(|f| f.path).collect();
    let log_store = base.log_store();
    let removed: Vec<_> = base
        .state()?
        .all_tombstones(log_store.as_ref())
        .try_collect()
        .await
        .map_err(|e| base.failed(e))?;
    for file in removed {
        if file.deletion_timestamp().is_none_or(|at| at >= cutoff_ms) {
            kept.insert(file.path().into_owned());
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ask, data_files, open, rows, txn};
    use super::*;

    const ALL: &str = "select cluster, id, value, tags from events order by cluster, id";
    const POLICY: Policy = Policy { min_files: 3, target_bytes: 1 << 20 };

    async fn put(archive: &Archive, cluster: &str, version: i64) {
        let rows = vec![rows(cluster, version * 10..version * 10 + 10)];
        let done = archive.commit("events", rows, txn(cluster, version)).await;
        done.unwrap();
    }

    #[tokio::test]
    async fn merged_files_hold_the_same_rows_and_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        for version in 0..5 {
            put(&archive, "a", version).await;
        }
        for version in 0..2 {
            put(&archive, "b", version).await;
        }
        let before = ask(&archive, ALL).await.unwrap();
        let open_before = archive.provider("events").await.unwrap();
        assert_eq!(archive.compact("events", POLICY).await.unwrap(), 5);
        assert_eq!(archive.compact("events", POLICY).await.unwrap(), 0);
        assert_eq!(ask(&archive, ALL).await.unwrap(), before);
        assert_eq!(archive.last_version("events", "a").await.unwrap(), Some(4));
        assert_eq!(archive.verify("events").await.unwrap(), 0);

        let now = SystemTime::now();
        assert_eq!(archive.vacuum("events", now).await.unwrap(), 0);
        assert_eq!(data_files(dir.path()).len(), 8);
        let context = datafusion::prelude::SessionContext::new();
        let count = context.read_table(open_before).unwrap().count().await;
        assert_eq!(count.unwrap(), 70);

        let later = now + RETENTION + Duration::from_secs(60);
        assert_eq!(archive.vacuum("events", later).await.unwrap(), 5);
        assert_eq!(data_files(dir.path()).len(), 3);
        assert_eq!(ask(&archive, ALL).await.unwrap(), before);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn appends_and_a_second_compaction_may_run_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (open(dir.path()).await, open(dir.path()).await);
        for version in 0..4 {
            put(&one, "a", version).await;
        }
        let appends = tokio::spawn(async move {
            for version in 4..12 {
                put(&two, "a", version).await;
                two.compact("events", POLICY).await.unwrap();
            }
        });
        for _ in 0..4 {
            one.compact("events", POLICY).await.unwrap();
        }
        appends.await.unwrap();
        let sums = "select count(*), count(distinct id), sum(id) from events";
        assert_eq!(ask(&one, sums).await.unwrap(), "120,120,7140");
    }

    #[tokio::test]
    async fn a_damaged_file_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        for version in 0..4 {
            put(&archive, "a", version).await;
        }
        let broken = data_files(dir.path()).remove(1);
        std::fs::write(&broken, "PAR1").unwrap();
        assert_eq!(archive.compact("events", POLICY).await.unwrap(), 3);
        assert_eq!(archive.quarantined().len(), 1);
        let count = ask(&archive, "select count(*) from events").await.unwrap();
        assert_eq!(count, "30");
    }
}
