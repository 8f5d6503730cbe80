//! The archive: Delta tables of Parquet that any tool reads as they lie.
//!
//! `table` opens, creates and evolves one table; `commit` appends rows exactly once; `read` serves
//! them to DataFusion; `quarantine` leaves damaged files out and names them; `log` finds what no
//! reader would miss; `compact` merges small files and removes those nobody can still be reading.
//!
//! Invariants: a data file never changes after its name exists; a row is visible if and only if the
//! log names its file; a commit is all or nothing, also over a loss of power; nothing here deletes
//! a file within [`compact::RETENTION`] of its removal from the table.

mod commit;
pub mod compact;
mod file;
mod inspect;
mod log;
mod partition;
mod quarantine;
mod read;
mod schema;
mod store;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::datasource::TableProvider;
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

pub use commit::{Committed, Txn};
pub use quarantine::Damaged;

use crate::durable;
use crate::error::{Error, Result};
use quarantine::Quarantine;
use table::Table;

/// What a table looks like; the caller owns the words.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Lower case letters, digits and `_`; also the name of its directory.
    pub name: String,
    /// Utf8, Int64, Float64, Boolean, List<Utf8>, List<Float64> and Timestamp(us, UTC). Field
    /// metadata `comment` documents a column in the table itself.
    pub schema: SchemaRef,
    /// Utf8 columns, outermost directory first; their values must be neither null nor empty.
    pub partition_by: Vec<String>,
    /// Kept in the table's properties for people and tools; compatibility is decided by columns.
    pub version: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    ReadOnly,
    ReadWrite,
}

/// A directory of Delta tables. Any number of processes may hold it open and write to it.
#[derive(Debug)]
pub struct Archive {
    root: PathBuf,
    mode: Open,
    tables: BTreeMap<String, Table>,
    quarantine: Quarantine,
    /// Sees the archive's directory and nothing else, whatever a query's runtime may reach.
    reader: Arc<dyn ObjectStore>,
    url: ObjectStoreUrl,
}

impl Archive {
    /// Opens the archive in `dir`. For writing, the directory and missing tables are created and
    /// nullable columns that `specs` add are added; read only, a table that is not there is empty,
    /// but one at least must be there.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Read only, [`Error::Missing`] without a directory and [`Error::NoArchive`] without a table
    /// in it; [`Error::Schema`] where a table does not fit its specification.
    pub async fn open(dir: &Path, specs: Vec<TableSpec>, mode: Open) -> Result<Self> {
        match mode {
            _ if dir.is_dir() => {}
            Open::ReadWrite if !dir.exists() => durable::create_dir_all(dir)?,
            _ => return Err(Error::no_directory(dir)),
        }
        let root = dir.canonicalize().map_err(|e| Error::io("open directory", dir, e))?;
        let there = |spec: &TableSpec| root.join(&spec.name).join("_delta_log").is_dir();
        if mode == Open::ReadOnly && !specs.iter().any(there) {
            return Err(Error::NoArchive { path: dir.to_path_buf() });
        }
        let mut tables = BTreeMap::new();
        for spec in specs {
            schema::check_spec(&spec)?;
            let name = spec.name.clone();
            tables.insert(name, Table::open(&root, spec, mode).await?);
        }
        let reader =
            LocalFileSystem::new_with_prefix(&root).map_err(|e| Error::store(root.display(), e))?;
        let host = blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex();
        Ok(Self {
            quarantine: Quarantine::default(),
            reader: Arc::new(reader),
            url: ObjectStoreUrl::parse(format!("archive://{}", &host[..16]))?,
            root,
            mode,
            tables,
        })
    }

    /// The tables by name, in order.
    pub fn tables(&self) -> impl Iterator<Item = &TableSpec> {
        self.tables.values().map(Table::spec)
    }

    /// The rows of `table` as of this call, for a query. Files that are missing or whose footer is
    /// damaged are left out and listed by [`Self::quarantined`]. A table whose log is damaged fails
    /// when it is scanned, so that the others answer.
    pub async fn provider(&self, table: &str) -> Result<Arc<dyn TableProvider>> {
        let table = self.table(table)?;
        let snapshot = match self.snapshot(table).await? {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => return Ok(read::empty(table.spec())),
            Err(reason) => {
                let (schema, log) = (Arc::clone(&table.spec().schema), table.log());
                let table = table.spec().name.clone();
                return Ok(Arc::new(read::Unreadable { schema, table, log, reason }));
            }
        };
        let layout = snapshot.layout()?;
        let files =
            self.quarantine.readable(&self.root, &self.reader, &layout, snapshot.files()?).await?;
        Ok(Arc::new(read::ArchiveTable::new(
            layout,
            files,
            Arc::clone(&self.reader),
            self.url.clone(),
        )))
    }

    fn table(&self, name: &str) -> Result<&Table> {
        self.tables.get(name).ok_or_else(|| Error::UnknownTable {
            table: name.to_owned(),
            known: self.tables.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    fn writable(&self, name: &str, action: &'static str) -> Result<&Table> {
        match self.mode {
            Open::ReadOnly => Err(Error::ReadOnly { action }),
            Open::ReadWrite => self.table(name),
        }
    }
}

#[cfg(test)]
mod fixture;
