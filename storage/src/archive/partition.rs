//! Rows by the directory they belong to.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take_record_batch;

use super::table::Layout;
use crate::error::{Error, Result};

/// The values of the partition columns, outermost first.
pub(super) type Key = Vec<String>;

/// The batches by partition, without the partition columns, rows in the order given.
pub(super) fn split(
    layout: &Layout,
    batches: &[RecordBatch],
) -> Result<BTreeMap<Key, Vec<RecordBatch>>> {
    let mut parts: BTreeMap<Key, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches.iter().filter(|b| b.num_rows() > 0) {
        let keys = key_columns(layout, batch)?;
        let inside: Vec<usize> = layout
            .in_file
            .fields()
            .iter()
            .map(|f| batch.schema().index_of(f.name()))
            .collect::<Result<_, _>>()?;
        let body = batch.project(&inside)?;
        let mut rows: BTreeMap<Vec<&str>, Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let key = keys.iter().map(|column| column.value(row)).collect();
            let at = u32::try_from(row).map_err(|_| unfit(layout, "a batch has 2^32 rows"))?;
            rows.entry(key).or_default().push(at);
        }
        let whole = rows.len() == 1;
        for (key, at) in rows {
            let key = key.into_iter().map(str::to_owned).collect();
            let part = if whole {
                body.clone()
            } else {
                take_record_batch(&body, &UInt32Array::from(at))?
            };
            parts.entry(key).or_default().push(part);
        }
    }
    Ok(parts)
}

/// Delta cannot tell an empty value from none, and no reader could tell which it was.
fn key_columns<'a>(layout: &Layout, batch: &'a RecordBatch) -> Result<Vec<&'a StringArray>> {
    let mut columns = Vec::with_capacity(layout.partitions.len());
    for field in &layout.partitions {
        let column = batch
            .column_by_name(field.name())
            .and_then(|c| c.as_any().downcast_ref::<StringArray>());
        let Some(column) = column else {
            let reason = format!("partition column {} is missing", field.name());
            return Err(unfit(layout, reason));
        };
        if column.null_count() > 0 || column.iter().any(|v| v == Some("")) {
            let reason = format!(
                "partition column {} is empty or null in some row; give it a name",
                field.name()
            );
            return Err(unfit(layout, reason));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// `cluster=a/day=2026-01-31/` as Hive writes it, for readers that take columns from directories.
pub(super) fn directory(layout: &Layout, key: &[String]) -> String {
    let mut path = String::new();
    for (field, value) in layout.partitions.iter().zip(key) {
        path.push_str(field.name());
        path.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
        path.push('/');
    }
    path
}

fn unfit(layout: &Layout, reason: impl Into<String>) -> Error {
    Error::Batch { table: layout.table.clone(), reason: reason.into() }
}
