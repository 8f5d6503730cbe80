//! The crate's one error, its variants usable as metric labels.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use deltalake::DeltaTableError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {path}: {source}; check that the path exists and may be written")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "no space left while writing {path}; free space on that file system: what is complete \
         stays, and the same command goes on from it"
    )]
    Full { path: PathBuf },
    #[error(
        "fsync of {path} failed: {source}; what was written last may be lost, check the disk and \
         restart"
    )]
    Sync { path: PathBuf, source: io::Error },
    #[error("{path} does not exist; name the directory of an archive: `replay` and `run` make one")]
    Missing { path: PathBuf },
    #[error("{path} is no directory; name the directory of an archive")]
    NotDirectory { path: PathBuf },
    #[error("{path} holds no archive; name the directory that `replay` or `run` wrote one to")]
    NoArchive { path: PathBuf },
    #[error("{path} is in use by {holder}; stop that process or choose another directory")]
    Locked { path: PathBuf, holder: String },
    #[error("the archive was opened read only; open it for writing to {action}")]
    ReadOnly { action: &'static str },
    #[error("table {table} is not part of this archive; known tables: {known}")]
    UnknownTable { table: String, known: String },
    #[error("schema of table {table}: {reason}")]
    Schema { table: String, reason: String },
    #[error("rows for table {table} do not fit: {reason}")]
    Batch { table: String, reason: String },
    #[error(
        "table {table} was changed by other writers {attempts} times in a row; try again later"
    )]
    Contended { table: String, attempts: usize },
    #[error("delta table {table}: {source}")]
    Delta { table: String, source: Box<DeltaTableError> },
    #[error("object store at {path}: {source}")]
    ObjectStore { path: String, source: object_store::Error },
    #[error("damaged file {path}: {reason}; restore it from a backup or remove it")]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "the log of table {table} cannot be read: {reason}; restore {path} from a backup or replay \
         into another archive, and leave it where it is: it names the table's files"
    )]
    UnreadableLog { table: String, path: PathBuf, reason: String },
    #[error(
        "checkpoint of epoch {epoch} belongs to plan {found}, this run has plan {wanted}: \
         go on with the jobs and sources that wrote it"
    )]
    PlanMismatch { epoch: u64, found: String, wanted: String },
    #[error("no usable checkpoint in {path}: {reason}; delete the directory to start over")]
    Checkpoint { path: PathBuf, reason: String },
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error("search index: {0}")]
    Search(#[from] tantivy::TantivyError),
    #[error("query: {0}")]
    DataFusion(#[from] datafusion::error::DataFusionError),
    #[error("a reader panicked on damaged or unexpected data: {0}")]
    Panicked(String),
}

impl Error {
    /// That there is no archive at a path, be it because something else is.
    pub fn no_directory(path: &Path) -> Self {
        let path = path.to_path_buf();
        if path.exists() { Self::NotDirectory { path } } else { Self::Missing { path } }
    }

    /// Names the path and the remedy of an I/O error; a full disk is told apart, as it
    /// can be helped.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { action, path, source },
        }
    }

    /// Whether the process must stop: after a failed `fsync` nobody knows what is on disk, and a
    /// second `fsync` may report success for pages that were dropped.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Sync { .. })
    }

    /// Whether the same may be written once somebody has made room for it, or has raised the limit
    /// on the size of this process's files.
    pub fn wants_room(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::FileTooLarge,
            _ => false,
        }
    }

    /// Whether what one table's log says cannot be read, so that the other tables may be sound.
    pub(crate) fn is_of_one_table(&self) -> bool {
        matches!(self, Self::Delta { .. } | Self::Schema { .. } | Self::UnreadableLog { .. })
    }

    /// An error of the Delta library; an error of our own store inside it comes out as itself.
    pub(crate) fn delta(table: &str, source: DeltaTableError) -> Self {
        match recovered(&source) {
            Some(own) => own,
            None => Self::Delta { table: table.to_owned(), source: Box::new(source) },
        }
    }

    /// An error of an object store; an error of our own store inside it comes out as itself.
    pub(crate) fn store(path: impl ToString, source: object_store::Error) -> Self {
        match recovered(&source) {
            Some(own) => own,
            None => Self::ObjectStore { path: path.to_string(), source },
        }
    }
}

/// The [`Error`] that the archive's store raised beneath library errors, or a full disk that a
/// library met by itself.
fn recovered(err: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(err);
    while let Some(err) = next {
        match err.downcast_ref::<Error>() {
            Some(Error::Full { path }) => return Some(Error::Full { path: path.clone() }),
            Some(Error::Sync { path, source }) => {
                return Some(Error::Sync { path: path.clone(), source: copied(source) });
            }
            Some(Error::Io { action, path, source }) => {
                return Some(Error::io(action, path, copied(source)));
            }
            _ => next = err.source(),
        }
    }
    None
}

fn copied(err: &io::Error) -> io::Error {
    match err.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(err.kind(), err.to_string()),
    }
}
