//! One data file: its bytes, its name, its statistics for the log.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{concat_batches, max, max_boolean, max_string, min, min_boolean, min_string};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::temporal_conversions::timestamp_us_to_datetime;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_json::{Map, Value, json};

use crate::error::Result;

/// Rows of a row group: what a reader can skip at once. Batches of a commit are far smaller;
/// compacted files have several.
const ROW_GROUP_ROWS: usize = 131_072;

/// Characters of a text bound in the log; Delta's own default. Longer bounds only bloat the log.
const STATS_CHARS: usize = 32;

/// Hex digits of a content hash in a name: 128 bits, so equal names mean equal bytes.
const HASH_DIGITS: usize = 32;

/// An encoded file that nobody knows of yet.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    /// Per-file statistics as the Delta log wants them.
    pub(super) stats: String,
}

/// Same rows in the same order give the same bytes, whatever the batches they come in.
pub(super) fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Encoded> {
    let rows = concat_batches(schema, batches)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("faultline".to_owned())
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))?;
    writer.write(&rows)?;
    Ok(Encoded { bytes: writer.into_inner()?, stats: stats(&rows).to_string() })
}

/// A name that carries the hash of the content, so that a change of any bit can be found, and of
/// the origin, so that two commits of equal rows stay two files while a repeated commit writes the
/// same one again.
pub(super) fn name(origin: &[&[u8]], bytes: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in origin {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let origin = hasher.finalize().to_hex();
    let content = blake3::hash(bytes).to_hex();
    format!("part-{}-{}.parquet", &origin[..HASH_DIGITS], &content[..HASH_DIGITS])
}

/// Whether `bytes` are what was written under `path`; `None` for a file of another tool, whose name
/// says nothing.
pub(super) fn is_intact(path: &str, bytes: &[u8]) -> Option<bool> {
    let name = path.rsplit('/').next()?;
    let hashes = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    let (origin, content) = hashes.split_once('-')?;
    let hex = |s: &str| s.len() == HASH_DIGITS && s.bytes().all(|b| b.is_ascii_hexdigit());
    (hex(origin) && hex(content)).then(|| blake3::hash(bytes).to_hex()[..HASH_DIGITS] == *content)
}

fn stats(rows: &RecordBatch) -> Value {
    let mut lowest = Map::new();
    let mut highest = Map::new();
    let mut nulls = Map::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        if matches!(field.data_type(), DataType::List(_)) {
            continue;
        }
        nulls.insert(field.name().clone(), json!(column.null_count()));
        if let Some((low, high)) = bounds(column) {
            lowest.insert(field.name().clone(), low);
            highest.insert(field.name().clone(), high);
        }
    }
    json!({
        "numRecords": rows.num_rows(),
        "minValues": lowest,
        "maxValues": highest,
        "nullCount": nulls,
    })
}

/// Bounds of the values that are not null; none where they could not be written or be trusted.
fn bounds(column: &ArrayRef) -> Option<(Value, Value)> {
    match column.data_type() {
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            Some((
                json!(text_floor(min_string(column)?)),
                json!(text_ceiling(max_string(column)?)?),
            ))
        }
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            Some((json!(min(column)?), json!(max(column)?)))
        }
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            let (low, high) = (min(column)?, max(column)?);
            // NaN sorts above every number, JSON knows neither it nor the infinities.
            (low.is_finite() && high.is_finite()).then(|| (json!(low), json!(high)))
        }
        DataType::Boolean => {
            let column = column.as_boolean();
            Some((json!(min_boolean(column)?), json!(max_boolean(column)?)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let column = column.as_primitive::<TimestampMicrosecondType>();
            Some((instant(min(column)?)?, instant(max(column)?)?))
        }
        _ => None,
    }
}

fn instant(micros: i64) -> Option<Value> {
    let at = timestamp_us_to_datetime(micros)?;
    Some(json!(at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()))
}

fn text_floor(text: &str) -> String {
    text.chars().take(STATS_CHARS).collect()
}

/// A short text that no text beginning like `text` exceeds.
fn text_ceiling(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let mut bound: String = chars.by_ref().take(STATS_CHARS).collect();
    match chars.next() {
        None => Some(bound),
        Some(char::MAX) => None,
        Some(_) => {
            bound.push(char::MAX);
            Some(bound)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, StringArray};

    #[test]
    fn bounds_hold_for_what_they_bound() {
        let long = "ж".repeat(40);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some(&long)]));
        let (low, high) = bounds(&texts).unwrap();
        assert_eq!(low, json!("b"));
        assert!(high.as_str().unwrap() > long.as_str());
        assert_eq!(high.as_str().unwrap().chars().count(), STATS_CHARS + 1);

        let nan: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN]));
        assert_eq!(bounds(&nan), None);
    }

    #[test]
    fn names_tell_content_and_origin_apart() {
        let a = name(&[b"app", b"1"], b"bytes");
        assert_eq!(a, name(&[b"app", b"1"], b"bytes"));
        assert_ne!(a, name(&[b"app", b"2"], b"bytes"));
        assert_ne!(name(&[b"ab", b"c"], b""), name(&[b"a", b"bc"], b""));
        assert_eq!(is_intact(&format!("day=1/{a}"), b"bytes"), Some(true));
        assert_eq!(is_intact(&a, b"bytez"), Some(false));
        assert_eq!(is_intact("part-00000-of-1.parquet", b"bytes"), None);
    }
}
