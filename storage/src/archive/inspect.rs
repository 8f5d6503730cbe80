//! Whether a file is what the log says, and whose fault it is when it cannot be read.

use std::error::Error as StdError;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use datafusion::common::Statistics;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::DataFusionError;
use futures::FutureExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::file;
use super::table::{ActiveFile, Layout};
use crate::error::{Error, Result};

/// Enough of a file's end to hold the footer of nearly every file in one read.
const FOOTER_HINT_BYTES: usize = 64 * 1024;

/// A file of at most this size is read whole before it is answered from: that takes little longer
/// than to read its footer.
const COMPARED_BYTES: u64 = 1 << 20;

const DIFFERS: &str = "the content is not what was written: its hash differs";

/// A file that can be scanned, with what its footer says about its rows.
#[derive(Debug, Clone)]
pub(super) struct Readable {
    pub(super) file: ActiveFile,
    pub(super) meta: ObjectMeta,
    pub(super) statistics: Arc<Statistics>,
}

pub(super) fn decode(file: &ActiveFile, bytes: Bytes) -> Result<Vec<RecordBatch>, String> {
    if bytes.len() as u64 != file.size {
        return Err(wrong_size(file, bytes.len() as u64));
    }
    // First, as a damaged length inside a page may ask for any amount of memory.
    if file::is_intact(&file.path, &bytes) == Some(false) {
        return Err(DIFFERS.to_owned());
    }
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.build())
        .map_err(|e| e.to_string())?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    let rows: usize = batches.iter().map(|b| b.num_rows()).sum();
    expect_rows(file, rows as u64)?;
    Ok(batches)
}

fn wrong_size(file: &ActiveFile, size: u64) -> String {
    format!("it has {size} bytes, the log says {}; it was cut or replaced", file.size)
}

fn expect_rows(file: &ActiveFile, rows: u64) -> Result<(), String> {
    match file.rows {
        Some(expected) if expected != rows => {
            Err(format!("it has {rows} rows, the log says {expected}"))
        }
        _ => Ok(()),
    }
}

/// Whether a file can be read. A small one is compared with its hash as well, as a flipped bit may
/// be decoded into other values without an error; of a large one that is found by
/// [`verify`](super::Archive::verify) only.
///
/// The outer error is one of the machine, the inner one of the file.
pub(super) async fn check(
    store: Arc<dyn ObjectStore>,
    layout: &Layout,
    file: ActiveFile,
    cached: Option<Arc<Statistics>>,
) -> Result<Result<Readable, (ActiveFile, String)>> {
    let location = file.location(&layout.table)?;
    let meta = match store.head(&location).await {
        Ok(meta) => meta,
        Err(err) => {
            let reason = unreadable(err, location.as_ref())?;
            return Ok(Err((file, reason)));
        }
    };
    if meta.size != file.size {
        let reason = wrong_size(&file, meta.size);
        return Ok(Err((file, reason)));
    }
    if cached.is_none() && meta.size <= COMPARED_BYTES {
        let read = async { store.get(&location).await?.bytes().await };
        let differs = match read.await {
            Ok(bytes) if file::is_intact(&file.path, &bytes) == Some(false) => Some(DIFFERS.into()),
            Ok(_) => None,
            Err(err) => Some(unreadable(err, location.as_ref())?),
        };
        if let Some(reason) = differs {
            return Ok(Err((file, reason)));
        }
    }
    let statistics = match cached {
        Some(statistics) => Ok(statistics),
        None => {
            let schema = Arc::clone(&layout.in_file);
            let (file, meta) = (file.clone(), meta.clone());
            let footer = async move { read_footer(&*store, &schema, &file, &meta).await };
            let read = AssertUnwindSafe(footer).catch_unwind().await;
            match read {
                Ok(read) => read?.map(Arc::new),
                Err(_) => Err("the footer made its decoder panic".to_owned()),
            }
        }
    };
    Ok(match statistics {
        Ok(statistics) => Ok(Readable { file, meta, statistics }),
        Err(reason) => Err((file, reason)),
    })
}

async fn read_footer(
    store: &dyn ObjectStore,
    schema: &SchemaRef,
    file: &ActiveFile,
    meta: &ObjectMeta,
) -> Result<Result<Statistics, String>> {
    let footer = DFParquetMetadata::new(store, meta)
        .with_metadata_size_hint(Some(FOOTER_HINT_BYTES))
        .fetch_metadata()
        .await;
    let footer = match footer {
        Ok(footer) => footer,
        Err(err) => {
            return match err.find_root() {
                DataFusionError::ObjectStore(_) | DataFusionError::IoError(_)
                    if !is_media_failure(&err) =>
                {
                    Err(err.into())
                }
                _ => Ok(Err(err.to_string())),
            };
        }
    };
    let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
    if let Err(reason) = expect_rows(file, rows) {
        return Ok(Err(reason));
    }
    let statistics = DFParquetMetadata::statistics_from_parquet_metadata(&footer, schema);
    Ok(statistics.map(|s| without_float_bounds(s, schema)).map_err(|e| e.to_string()))
}

/// Parquet's bounds ignore NaN, SQL's do not: they may guide pruning but must not answer `max(x)`.
fn without_float_bounds(mut statistics: Statistics, schema: &SchemaRef) -> Statistics {
    for (field, column) in schema.fields().iter().zip(&mut statistics.column_statistics) {
        if field.data_type() == &DataType::Float64 {
            column.min_value = column.min_value.clone().to_inexact();
            column.max_value = column.max_value.clone().to_inexact();
        }
    }
    statistics
}

/// Why a file cannot be had, if that is the file's fault; a passing failure of the machine, such as
/// too many open files, must not make whole tables vanish and is an error.
pub(super) fn unreadable(err: object_store::Error, location: &str) -> Result<String> {
    match err {
        object_store::Error::NotFound { .. } => Ok("the file is missing".to_owned()),
        err if is_media_failure(&err) => Ok(err.to_string()),
        err => Err(Error::store(location, err)),
    }
}

fn is_media_failure(err: &(dyn StdError + 'static)) -> bool {
    /// EIO, for which `io::ErrorKind` has no name.
    const EIO: i32 = 5;
    causes(err).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|io| {
            io.raw_os_error() == Some(EIO)
                || matches!(io.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
        })
    })
}

/// Whether damage could be the cause. Errors of the query itself, such as a division by zero, must
/// not make the archive read all its files.
pub(super) fn is_read_failure(err: &(dyn StdError + 'static)) -> bool {
    causes(err).any(|cause| {
        if let Some(err) = cause.downcast_ref::<DataFusionError>() {
            return matches!(
                err.find_root(),
                DataFusionError::ParquetError(_)
                    | DataFusionError::ObjectStore(_)
                    | DataFusionError::IoError(_)
                    | DataFusionError::ExecutionJoin(_)
            ) || matches!(err.find_root(), DataFusionError::ArrowError(e, _) if is_decode_error(e));
        }
        if let Some(err) = cause.downcast_ref::<ArrowError>() {
            return is_decode_error(err);
        }
        cause.is::<ParquetError>()
            || cause.is::<object_store::Error>()
            || cause.is::<io::Error>()
            || matches!(
                cause.downcast_ref::<Error>(),
                Some(Error::Panicked(_) | Error::Damaged { .. })
            )
    })
}

fn is_decode_error(err: &ArrowError) -> bool {
    matches!(
        err,
        ArrowError::ParquetError(_)
            | ArrowError::IoError(..)
            | ArrowError::IpcError(_)
            | ArrowError::ExternalError(_)
            | ArrowError::InvalidArgumentError(_)
    )
}

fn causes<'a>(
    err: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(err), |err| (*err).source())
}
