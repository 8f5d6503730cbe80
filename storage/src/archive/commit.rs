//! Appending rows exactly once.
//!
//! The producer numbers its commits (`Txn`). The number goes into the same log entry as the rows,
//! so a producer that crashed repeats its last commits and those that had arrived are recognised.

use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use deltalake::checkpoints;
use deltalake::kernel::{Action, Add, Transaction, Version};
use deltalake::protocol::{DeltaOperation, SaveMode};
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, PutMode};

use super::schema::conform;
use super::table::{CHECKPOINT_EVERY, Layout, MAX_ATTEMPTS, Snapshot, Table};
use super::{Archive, file, partition};
use crate::error::{Error, Result};

/// Who commits, and the number of the commit; numbers of one `app_id` must grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    pub app_id: String,
    pub version: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    Written,
    /// A commit of this number or a later one was there; nothing was written.
    AlreadyThere,
}

impl Archive {
    /// Appends `batches` to `table`, one file per partition. When it returns, the rows are on
    /// stable storage; when it fails, no row is visible. A commit without rows records its number.
    ///
    /// # Errors
    /// [`Error::Batch`] for rows that do not fit; [`Error::Full`] when space ran out, after which
    /// the same call may be repeated; [`Error::Sync`] is fatal.
    pub async fn commit(
        &self,
        table: &str,
        batches: Vec<RecordBatch>,
        txn: Txn,
    ) -> Result<Committed> {
        let table = self.writable(table, "commit rows")?;
        let _turn = table.take_turn().await;
        let mut base = table.current().await?;
        if is_committed(&base, &txn).await? {
            return Ok(Committed::AlreadyThere);
        }
        let adds = write_files(&base, batches, &txn).await?;
        for _ in 0..MAX_ATTEMPTS {
            let actions = adds.iter().cloned().map(Action::Add).collect();
            let recorded = Transaction::new_with_last_update(&txn.app_id, txn.version, Some(now()));
            let operation = DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: Some(table.spec().partition_by.clone()),
                predicate: None,
            };
            let won = table.attempt(&base, actions, Some(recorded), operation).await?;
            if let Some(version) = won {
                checkpoint_if_due(table, version).await?;
                return Ok(Committed::Written);
            }
            base = table.current().await?;
            if is_committed(&base, &txn).await? {
                // The files stay for vacuum: a twin of this producer names its files alike, and
                // the log may refer to them.
                return Ok(Committed::AlreadyThere);
            }
        }
        Err(table.contended())
    }

    /// How many commits `table` has had.
    pub async fn commits(&self, table: &str) -> Result<i64> {
        match self.table(table)?.refresh().await? {
            Some(snapshot) => Ok(i64::try_from(snapshot.version()?).unwrap_or(i64::MAX)),
            None => Ok(0),
        }
    }

    /// The number of the last commit of `app_id` to `table`.
    pub async fn last_version(&self, table: &str, app_id: &str) -> Result<Option<i64>> {
        match self.table(table)?.refresh().await? {
            Some(snapshot) => snapshot.last_version(app_id).await,
            None => Ok(None),
        }
    }
}

async fn is_committed(base: &Snapshot, txn: &Txn) -> Result<bool> {
    let last = base.last_version(&txn.app_id).await?;
    Ok(last.is_some_and(|last| last >= txn.version))
}

async fn write_files(base: &Snapshot, batches: Vec<RecordBatch>, txn: &Txn) -> Result<Vec<Add>> {
    let layout = base.layout()?;
    let store = base.log_store().object_store(None);
    let version = txn.version.to_le_bytes();
    let origin = [txn.app_id.as_bytes(), version.as_slice()];
    let mut adds = Vec::new();
    let conformed = batches
        .iter()
        .map(|batch| conform(&layout.table, batch, &layout.schema))
        .collect::<Result<Vec<_>>>()?;
    for (key, rows) in partition::split(&layout, &conformed)? {
        adds.push(write_file(&store, &layout, key, &rows, &origin).await?);
    }
    Ok(adds)
}

/// Writes one data file and returns the action that would make it part of the table.
pub(super) async fn write_file(
    store: &std::sync::Arc<dyn ObjectStore>,
    layout: &Layout,
    key: partition::Key,
    rows: &[RecordBatch],
    origin: &[&[u8]],
) -> Result<Add> {
    let encoded = file::encode(&layout.in_file, rows)?;
    let path =
        format!("{}{}", partition::directory(layout, &key), file::name(origin, &encoded.bytes));
    let location = StorePath::parse(&path).map_err(|e| Error::store(&path, e.into()))?;
    let size = encoded.bytes.len() as i64;
    store
        .put_opts(&location, encoded.bytes.into(), PutMode::Overwrite.into())
        .await
        .map_err(|e| Error::store(&path, e))?;
    let names = layout.partitions.iter().map(|f| f.name().clone());
    Ok(Add {
        path,
        partition_values: names.zip(key.into_iter().map(Some)).collect(),
        size,
        modification_time: now(),
        data_change: true,
        stats: Some(encoded.stats),
        ..Add::default()
    })
}

/// A checkpoint only makes opening faster, so one that fails is worth a warning; the commit before
/// it stands either way.
pub(super) async fn checkpoint_if_due(table: &Table, version: Version) -> Result<()> {
    if !(version + 1).is_multiple_of(CHECKPOINT_EVERY) {
        return Ok(());
    }
    let written = async {
        let snapshot = table.current().await?;
        checkpoints::create_checkpoint(snapshot.delta(), None).await.map_err(|e| table.failed(e))
    };
    match written.await {
        Err(err) if !err.is_fatal() => {
            tracing::warn!(table = table.spec().name, %err, "log checkpoint not written");
            Ok(())
        }
        done => done,
    }
}

/// Milliseconds since the epoch, for the log's own book-keeping.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ask, data_files, open, rows, spec, txn};
    use super::*;
    use crate::archive::Open;
    use Committed::{AlreadyThere, Written};

    const SUM: &str = "select count(*), sum(id) from events";

    #[tokio::test]
    async fn a_repeated_commit_is_recognised_also_by_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        let put = async |archive: &Archive, app: &str, version: i64| {
            let rows = vec![rows("a", version * 10..version * 10 + 10)];
            archive.commit("events", rows, txn(app, version)).await.unwrap()
        };
        assert_eq!(put(&archive, "app", 3).await, Written);
        assert_eq!(put(&archive, "app", 3).await, AlreadyThere);
        assert_eq!(put(&archive, "app", 2).await, AlreadyThere);
        assert_eq!(put(&archive, "other", 3).await, Written);
        drop(archive);

        let archive = open(dir.path()).await;
        assert_eq!(put(&archive, "app", 3).await, AlreadyThere);
        assert_eq!(put(&archive, "app", 4).await, Written);
        assert_eq!(archive.last_version("events", "app").await.unwrap(), Some(4));
        assert_eq!(archive.last_version("events", "none").await.unwrap(), None);
        assert_eq!(ask(&archive, SUM).await.unwrap(), "30,1135");
    }

    #[tokio::test]
    async fn a_crash_between_two_tables_is_made_good_by_repeating_both() {
        let dir = tempfile::tempdir().unwrap();
        let mut second = spec();
        second.name = "notes".into();
        let specs = vec![spec(), second];
        let archive = Archive::open(dir.path(), specs.clone(), Open::ReadWrite);
        let archive = archive.await.unwrap();
        let rows = || vec![rows("a", 0..5)];
        archive.commit("events", rows(), txn("app", 1)).await.unwrap();
        drop(archive);

        let archive = Archive::open(dir.path(), specs, Open::ReadWrite);
        let archive = archive.await.unwrap();
        let again = archive.commit("events", rows(), txn("app", 1)).await;
        assert_eq!(again.unwrap(), AlreadyThere);
        let late = archive.commit("notes", rows(), txn("app", 1)).await;
        assert_eq!(late.unwrap(), Written);
        let both = "select (select count(*) from events) e, (select count(*) from notes) n";
        assert_eq!(ask(&archive, both).await.unwrap(), "5,5");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn writers_that_race_lose_nothing_and_repeat_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let (one, two) = tokio::join!(open(path), open(path));
        let write = async |archive: Archive, app: &'static str| {
            let mut written = 0;
            for version in 1..=8 {
                let own = archive.commit("events", vec![rows("a", 0..2)], txn(app, version));
                assert_eq!(own.await.unwrap(), Written);
                let shared = archive.commit("events", vec![rows("b", 0..1)], txn("s", version));
                written += usize::from(shared.await.unwrap() == Written);
            }
            written
        };
        let two = tokio::spawn(write(two, "two"));
        let written = write(one, "one").await + two.await.unwrap();
        assert_eq!(written, 8);
        let archive = open(path).await;
        let counts = "select cluster, count(*) from events group by 1 order by 1";
        assert_eq!(ask(&archive, counts).await.unwrap(), "a,32;b,8");
    }

    #[tokio::test]
    async fn the_log_is_checkpointed_and_numbers_survive_it() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        for version in 0..CHECKPOINT_EVERY as i64 + 2 {
            let done = archive.commit("events", vec![], txn("app", version)).await;
            assert_eq!(done.unwrap(), Written);
        }
        assert!(dir.path().join("events/_delta_log/_last_checkpoint").exists());
        let again = open(dir.path()).await;
        let last = again.last_version("events", "app").await.unwrap();
        assert_eq!(last, Some(CHECKPOINT_EVERY as i64 + 1));
    }

    #[tokio::test]
    async fn a_commit_that_cannot_be_written_leaves_no_row() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        let in_the_way = dir.path().join("events/cluster=b");
        std::fs::write(&in_the_way, "").unwrap();
        let both = || vec![rows("a", 0..3), rows("b", 0..3)];
        let err = archive.commit("events", both(), txn("app", 1)).await;
        assert!(matches!(err, Err(Error::Io { .. })), "{err:?}");
        assert_eq!(ask(&archive, SUM).await.unwrap(), "0,");

        std::fs::remove_file(in_the_way).unwrap();
        let done = archive.commit("events", both(), txn("app", 1)).await;
        assert_eq!(done.unwrap(), Written);
        assert_eq!(ask(&archive, SUM).await.unwrap(), "6,6");
        assert_eq!(data_files(dir.path()).len(), 2);
    }

    #[tokio::test]
    async fn equal_rows_give_equal_bytes_in_one_file_per_partition() {
        let content = async |batches: Vec<RecordBatch>| {
            let dir = tempfile::tempdir().unwrap();
            let archive = open(dir.path()).await;
            archive.commit("events", batches, txn("app", 1)).await.unwrap();
            let files = data_files(dir.path());
            let read = |f: &std::path::PathBuf| {
                let name = f.strip_prefix(dir.path()).unwrap().to_owned();
                (name, std::fs::read(f).unwrap())
            };
            files.iter().map(read).collect::<Vec<_>>()
        };
        let whole = content(vec![rows("a", 0..10), rows("b", 0..4)]).await;
        let pieces = vec![rows("a", 0..3), rows("b", 0..4), rows("a", 3..10)];
        assert_eq!(whole.len(), 2);
        assert_eq!(whole, content(pieces).await);
    }

    #[tokio::test]
    async fn partition_values_may_hold_any_text_but_none() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        let name = "a/b é=%2F.. '\"";
        let done = archive.commit("events", vec![rows(name, 0..2)], txn("app", 1)).await;
        assert_eq!(done.unwrap(), Written);
        let clusters = "select distinct cluster from events";
        assert_eq!(ask(&archive, clusters).await.unwrap(), name);
        let err = archive.commit("events", vec![rows("", 0..2)], txn("app", 2)).await;
        assert!(matches!(err, Err(Error::Batch { .. })), "{err:?}");
    }
}
