//! What can stop a source. Bad rows never do: they become dead letters.

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no outage directory at {path}: give the path of an existing directory",
        path = path.display()
    )]
    Missing { path: PathBuf },
    #[error(
        "nothing to read in {path}: expected metrics.csv, logs.jsonl, spans.jsonl or changes.jsonl \
         (each may end in .gz), or folders metrics/, logs/, spans/, changes/ with *.parquet",
        path = path.display()
    )]
    Empty { path: PathBuf },
    #[error(
        "{first} and {second} hold the same stream: keep one of them",
        first = first.display(), second = second.display()
    )]
    Ambiguous { first: PathBuf, second: PathBuf },
    #[error("{file}:{line}: {problem}: {remedy}", file = file.display())]
    Header { file: PathBuf, line: u64, problem: String, remedy: String },
    #[error("cannot read {file}: {source}", file = file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error(
        "{file} is not readable as Parquet: {source}: write it again or move it away",
        file = file.display()
    )]
    Parquet { file: PathBuf, source: ParquetError },
    #[error(
        "saved position cannot be used: {problem}: delete it to read the files from their start"
    )]
    Position { problem: String },
    #[error("cannot build a batch from {file}: {source}")]
    Arrow { file: String, source: ArrowError },
}

impl Error {
    pub(super) fn unreadable(file: &Path, source: io::Error) -> Self {
        Self::Unreadable { file: file.to_owned(), source }
    }

    pub(super) fn header(
        file: &Path,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Header {
            file: file.to_owned(),
            line: 1,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
