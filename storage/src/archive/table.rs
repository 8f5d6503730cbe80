//! One Delta table: found or created, its schema kept compatible, its state at a moment.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{
    CommitBuilder, CommitProperties, TableReference, TransactionError,
};
use deltalake::kernel::{Action, LogicalFileView, MetadataExt, StructType, Transaction, Version};
use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_with};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError, Path as StorePath};
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

use super::schema::missing_columns;
use super::store::DurableLocal;
use super::{Open, TableSpec};
use crate::durable;
use crate::error::{Error, Result};

/// How often one commit may lose against other writers. Each loss means that another one won, so
/// only a flood of writers reaches it.
pub(super) const MAX_ATTEMPTS: usize = 64;

/// Commits between two checkpoints of a table's log: opening a table replays at most this many
/// entries.
pub(super) const CHECKPOINT_EVERY: u64 = 32;

/// Delta readers of version 1 know neither deletion vectors nor renamed columns; nor does `read`.
const READER_VERSION: i32 = 1;

const VERSION_PROPERTY: &str = "faultline.schemaVersion";

#[derive(Debug)]
pub(super) struct Table {
    spec: Arc<TableSpec>,
    dir: PathBuf,
    loaded: Mutex<Loaded>,
    /// Writers of one process take turns instead of racing each other through the log.
    turn: Mutex<()>,
}

/// The library's state of the table, brought up to date commit by commit.
#[derive(Debug)]
struct Loaded {
    delta: DeltaTable,
    /// The version at which it was last loaded from a checkpoint. It replays every later log entry
    /// whenever it looks for a commit's number.
    base: Version,
}

impl Loaded {
    fn new(log_store: LogStoreRef) -> Self {
        Self { delta: DeltaTable::new(log_store), base: 0 }
    }

    /// Whether the table exists.
    async fn update(&mut self) -> Result<bool, DeltaTableError> {
        if self.delta.version().is_none() {
            if !self.delta.verify_deltatable_existence().await? {
                return Ok(false);
            }
            self.delta.load().await?;
            self.base = self.delta.version().unwrap_or(0);
            return Ok(true);
        }
        self.delta.update_incremental(None).await?;
        let version = self.delta.version().unwrap_or(0);
        if version - self.base >= CHECKPOINT_EVERY {
            let mut fresh = DeltaTable::new(self.delta.log_store());
            fresh.load().await?;
            self.base = fresh.version().unwrap_or(version);
            self.delta = fresh;
        }
        Ok(true)
    }
}

/// Why a table cannot be read whose log is gone.
pub(super) const NO_LOG: &str = "it is missing, and the table has files";

impl Table {
    pub(super) async fn open(root: &Path, spec: TableSpec, mode: Open) -> Result<Self> {
        let dir = root.join(&spec.name);
        let log_store = log_store(&spec.name, &dir)?;
        let table = Self {
            spec: Arc::new(spec),
            dir,
            loaded: Mutex::new(Loaded::new(log_store)),
            turn: Mutex::new(()),
        };
        match mode {
            Open::ReadWrite => {
                table.ensure_created().await?;
                table.add_missing_columns().await?;
            }
            Open::ReadOnly => match table.refresh().await {
                Err(error) if !error.is_of_one_table() => return Err(error),
                _ => {}
            },
        }
        Ok(table)
    }

    pub(super) fn spec(&self) -> &TableSpec {
        &self.spec
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("_delta_log")
    }

    /// Whether its directory holds anything but a log.
    pub(super) fn holds_data(&self) -> bool {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name() != "_delta_log")
    }

    pub(super) async fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The newest state; `None` while the table does not exist.
    pub(super) async fn refresh(&self) -> Result<Option<Snapshot>> {
        let mut loaded = self.loaded.lock().await;
        if !loaded.update().await.map_err(|e| self.failed(e))? {
            return Ok(None);
        }
        let snapshot = Snapshot { spec: Arc::clone(&self.spec), delta: loaded.delta.clone() };
        drop(loaded);
        snapshot.check()?;
        Ok(Some(snapshot))
    }

    /// As [`Self::refresh`] for a table that was created when the archive was opened.
    pub(super) async fn current(&self) -> Result<Snapshot> {
        self.refresh().await?.ok_or_else(|| Error::Missing { path: self.log() })
    }

    /// Puts `actions` into the log as the version after `base`; `None` if another writer was first,
    /// and then nothing was written. The caller looks at the new state and decides anew: only it
    /// knows whether its work still makes sense.
    pub(super) async fn attempt(
        &self,
        base: &Snapshot,
        actions: Vec<Action>,
        txn: Option<Transaction>,
        operation: DeltaOperation,
    ) -> Result<Option<Version>> {
        let once = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(txn.into_iter().collect());
        let state: &dyn TableReference = base.state()?;
        let prepared = CommitBuilder::from(once)
            .with_actions(actions)
            .build(Some(state), base.log_store(), operation)
            .into_prepared_commit_future()
            .await
            .map_err(|e| self.failed(e))?;
        match prepared.await {
            Ok(done) => Ok(Some(done.version)),
            Err(DeltaTableError::Transaction {
                source: TransactionError::MaxCommitAttempts(_),
            }) => Ok(None),
            Err(err) => Err(self.failed(err)),
        }
    }

    pub(super) fn failed(&self, err: DeltaTableError) -> Error {
        Error::delta(&self.spec.name, err)
    }

    pub(super) fn contended(&self) -> Error {
        Error::Contended { table: self.spec.name.clone(), attempts: MAX_ATTEMPTS }
    }

    /// Creates the table unless it is there. The log entry of version 0 can be created once only,
    /// so of several processes one creates the table and the others find it.
    async fn ensure_created(&self) -> Result<()> {
        let log_store = self.loaded.lock().await.delta.log_store();
        let exists = log_store.is_delta_table_location().await;
        if exists.map_err(|e| self.failed(e))? {
            return Ok(());
        }
        if self.holds_data() {
            // A new log would make orphans of them.
            let (table, reason) = (self.spec.name.clone(), NO_LOG.to_owned());
            return Err(Error::UnreadableLog { table, path: self.log(), reason });
        }
        durable::create_dir_all(&self.dir)?;
        let columns = self.kernel_schema(&self.spec.schema)?;
        let created = CreateBuilder::new()
            .with_log_store(Arc::clone(&log_store))
            .with_table_name(&self.spec.name)
            .with_columns(columns.fields().cloned())
            .with_partition_columns(self.spec.partition_by.clone())
            .with_configuration([(VERSION_PROPERTY, Some(self.spec.version.to_string()))])
            .with_raise_if_key_not_exists(false)
            .with_save_mode(SaveMode::Ignore)
            .with_commit_properties(CommitProperties::default().with_max_retries(0))
            .await;
        let Err(err) = created else { return Ok(()) };
        match log_store.is_delta_table_location().await {
            Ok(true) => Ok(()),
            _ => Err(self.failed(err)),
        }
    }

    async fn add_missing_columns(&self) -> Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            let base = self.current().await?;
            let existing = base.stored_schema()?;
            let missing = missing_columns(&self.spec, &existing, base.partitions()?)?;
            if missing.is_empty() {
                return Ok(());
            }
            let schema = self.kernel_schema(&base.merged_schema()?)?;
            let fields = missing.iter().filter_map(|n| schema.field(n)).cloned();
            let operation = DeltaOperation::AddColumn { fields: fields.collect() };
            let metadata = base.state()?.metadata().clone();
            let metadata = metadata
                .with_schema(&schema)
                .and_then(|m| {
                    let version = self.spec.version.to_string();
                    m.add_config_key(VERSION_PROPERTY.to_owned(), version)
                })
                .map_err(|e| self.failed(e.into()))?;
            let actions = vec![Action::Metadata(metadata)];
            if self.attempt(&base, actions, None, operation).await?.is_some() {
                return Ok(());
            }
        }
        Err(self.contended())
    }

    fn kernel_schema(&self, schema: &Schema) -> Result<StructType> {
        let converted: Result<StructType, _> = schema.try_into_kernel();
        Ok(converted?)
    }
}

fn log_store(table: &str, dir: &Path) -> Result<LogStoreRef> {
    let url =
        Url::from_directory_path(dir).map_err(|()| Error::Missing { path: dir.to_path_buf() })?;
    logstore_with(Arc::new(DurableLocal::new()), &url, StorageConfig::default())
        .map_err(|e| Error::delta(table, e))
}

/// A table at one version of its log. Later commits do not change it.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    spec: Arc<TableSpec>,
    delta: DeltaTable,
}

/// The columns of a table, split as its files are.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) table: String,
    /// All columns, in the order in which queries see them.
    pub(super) schema: SchemaRef,
    /// The columns inside the files.
    pub(super) in_file: SchemaRef,
    /// The columns that directories carry.
    pub(super) partitions: Vec<FieldRef>,
}

/// A data file that belongs to a snapshot.
#[derive(Clone)]
pub(super) struct ActiveFile {
    /// Relative to the table's directory.
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) rows: Option<u64>,
    pub(super) modified_ms: i64,
    /// In the order of the table's partition columns.
    pub(super) partition: Vec<Option<String>>,
    view: LogicalFileView,
}

impl fmt::Debug for ActiveFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ActiveFile").field(&self.path).finish()
    }
}

impl ActiveFile {
    /// Its path below the archive's directory.
    pub(super) fn location(&self, table: &str) -> Result<StorePath> {
        let path = format!("{table}/{}", self.path);
        StorePath::parse(&path).map_err(|e| Error::store(path, e.into()))
    }

    /// The action that takes it out of the table while its rows stay, in another file.
    pub(super) fn superseded(&self) -> Action {
        Action::Remove(self.view.remove_action(false))
    }
}

impl Snapshot {
    pub(super) fn state(&self) -> Result<&DeltaTableState> {
        self.delta.snapshot().map_err(|e| self.failed(e))
    }

    pub(super) fn delta(&self) -> &DeltaTable {
        &self.delta
    }

    /// Number of the last commit.
    pub(super) fn version(&self) -> Result<u64> {
        Ok(self.state()?.version())
    }

    pub(super) fn log_store(&self) -> LogStoreRef {
        self.delta.log_store()
    }

    /// The last version that `app_id` committed.
    pub(super) async fn last_version(&self, app_id: &str) -> Result<Option<i64>> {
        let log_store = self.log_store();
        self.state()?
            .transaction_version(log_store.as_ref(), app_id)
            .await
            .map_err(|e| self.failed(e))
    }

    /// The files of this snapshot by path.
    pub(super) fn files(&self) -> Result<Vec<ActiveFile>> {
        let state = self.state()?;
        let log = state.snapshot().try_log_data().map_err(|e| self.failed(e))?;
        let columns = self.partitions()?;
        let mut files: Vec<ActiveFile> = log
            .iter()
            .map(|view| {
                let mut values = view.partition_values_map();
                ActiveFile {
                    path: view.path().into_owned(),
                    size: u64::try_from(view.size()).unwrap_or(0),
                    rows: view.num_records().and_then(|n| u64::try_from(n).ok()),
                    modified_ms: view.modification_time(),
                    partition: columns.iter().map(|c| values.remove(c).flatten()).collect(),
                    view,
                }
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    pub(super) fn partitions(&self) -> Result<&[String]> {
        Ok(self.state()?.metadata().partition_columns())
    }

    pub(super) fn layout(&self) -> Result<Layout> {
        let schema = Arc::new(self.merged_schema()?);
        let names = self.partitions()?;
        let (partitions, in_file): (Vec<FieldRef>, Vec<FieldRef>) =
            schema.fields().iter().cloned().partition(|f| names.contains(f.name()));
        let by_depth = |f: &FieldRef| names.iter().position(|n| n == f.name());
        let mut partitions = partitions;
        partitions.sort_by_key(by_depth);
        Ok(Layout {
            table: self.spec.name.clone(),
            in_file: Arc::new(Schema::new(in_file)),
            schema,
            partitions,
        })
    }

    /// The columns of the table, then those that this program adds to them.
    fn merged_schema(&self) -> Result<Schema> {
        let existing = self.stored_schema()?;
        let missing = missing_columns(&self.spec, &existing, self.partitions()?)?;
        let added = self.spec.schema.fields().iter();
        let added = added.filter(|f| missing.contains(f.name()));
        let fields: Vec<FieldRef> = existing.fields().iter().chain(added).cloned().collect();
        Ok(Schema::new(fields))
    }

    fn stored_schema(&self) -> Result<SchemaRef> {
        Ok(self.state()?.snapshot().arrow_schema())
    }

    /// Refuses a table that this program would misread.
    fn check(&self) -> Result<()> {
        let needed = self.state()?.protocol().min_reader_version();
        if needed > READER_VERSION {
            return Err(Error::Schema {
                table: self.spec.name.clone(),
                reason: format!(
                    "it needs a Delta reader of version {needed}, this program reads version \
                     {READER_VERSION}; another tool enabled a table feature such as deletion \
                      vectors"
                ),
            });
        }
        let existing = self.stored_schema()?;
        missing_columns(&self.spec, &existing, self.partitions()?).map(|_| ())
    }

    pub(super) fn failed(&self, err: DeltaTableError) -> Error {
        Error::delta(&self.spec.name, err)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ask, open, rows, spec, txn};
    use super::super::{Archive, Open};
    use super::*;
    use arrow::datatypes::{DataType, Field};

    fn with_column(name: &str, data_type: DataType, nullable: bool) -> TableSpec {
        let mut wider = spec();
        let mut fields: Vec<FieldRef> = wider.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(name, data_type, nullable)));
        wider.schema = Arc::new(Schema::new(fields));
        wider.version = 2;
        wider
    }

    #[tokio::test]
    async fn a_nullable_column_may_be_added_and_older_programs_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let old = open(dir.path()).await;
        let put = async |archive: &Archive, version| {
            let rows = vec![rows("a", version..version + 1)];
            archive.commit("events", rows, txn("app", version)).await.unwrap();
        };
        put(&old, 1).await;
        let wider = || vec![with_column("note", DataType::Utf8, true)];
        let reader = Archive::open(dir.path(), wider(), Open::ReadOnly).await.unwrap();
        let notes = "select count(*), count(note) from events";
        assert_eq!(ask(&reader, notes).await.unwrap(), "1,0");

        let new = Archive::open(dir.path(), wider(), Open::ReadWrite).await.unwrap();
        put(&new, 2).await;
        put(&old, 3).await;
        assert_eq!(ask(&new, notes).await.unwrap(), "3,0");
        assert_eq!(ask(&old, notes).await.unwrap(), "3,0");
        let first = "select note, id from events order by id limit 1";
        assert_eq!(ask(&reader, first).await.unwrap(), ",1");
    }

    #[tokio::test]
    async fn a_table_that_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).await;
        let mut flat = spec();
        flat.partition_by.pop();
        let required = with_column("note", DataType::Utf8, false);
        for (spec, part) in [(flat, "partitioned by"), (required, "column note is new")] {
            let refused = Archive::open(dir.path(), vec![spec], Open::ReadWrite).await;
            let err = refused.unwrap_err().to_string();
            assert!(err.starts_with("schema of table events: ") && err.contains(part), "{err}");
        }
    }

    #[tokio::test]
    async fn read_only_creates_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("archive");
        let err = Archive::open(&missing, vec![spec()], Open::ReadOnly).await;
        assert!(matches!(err, Err(Error::Missing { .. })), "{err:?}");

        let err = Archive::open(dir.path(), vec![spec()], Open::ReadOnly).await;
        assert!(matches!(err, Err(Error::NoArchive { .. })), "{err:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        Archive::open(dir.path(), vec![spec()], Open::ReadWrite).await.unwrap();
        let archive = Archive::open(dir.path(), vec![spec()], Open::ReadOnly).await.unwrap();
        assert_eq!(ask(&archive, "select count(*) from events").await.unwrap(), "0");
        let err = archive.commit("events", vec![], txn("app", 1)).await;
        assert!(matches!(err, Err(Error::ReadOnly { .. })), "{err:?}");

        let writer = open(dir.path()).await;
        writer.commit("events", vec![rows("a", 0..3)], txn("app", 1)).await.unwrap();
        assert_eq!(ask(&archive, "select count(*) from events").await.unwrap(), "3");
    }

    #[tokio::test]
    async fn an_unknown_table_is_named_with_the_known_ones() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        let err = archive.provider("nope").await.unwrap_err().to_string();
        assert_eq!(err, "table nope is not part of this archive; known tables: events");
    }
}
