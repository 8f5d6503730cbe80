//! Columns of a Parquet batch as the streams want them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, StringBuilder,
    TimestampNanosecondArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

use super::super::dead::{DeadReason, Defect};
use super::super::escape;
use super::super::json::duration;
use super::super::keys::KEY_BYTES_MAX;
use super::super::rows::finite;
use super::super::timestamp;
use super::*;

/// Bad rows of a batch; the first defect of a row counts.
pub type Defects = BTreeMap<usize, Defect>;

/// Text columns behind the series columns, `None` for those that are filled in later.
fn texts(stream: Stream) -> &'static [Option<&'static str>] {
    match stream {
        Stream::Metrics => &[],
        Stream::Logs => &[Some("body"), None, None, Some("trace_id"), Some("span_id")],
        Stream::Spans => &[Some("trace_id"), Some("span_id"), Some("parent_span_id"), None],
        Stream::Changes => &[Some("object"), Some("actor"), Some("detail")],
    }
}

fn required(stream: Stream) -> &'static [&'static str] {
    match stream {
        Stream::Metrics => &["ts", "service", "instance", "metric", "value"],
        Stream::Logs => &["ts", "service", "body"],
        Stream::Spans => &["ts", "service", "duration_us"],
        Stream::Changes => &["ts", "service", "kind"],
    }
}

/// True for the columns that are read at all.
pub fn is_read(stream: Stream, name: &str) -> bool {
    required(stream).contains(&name)
        || stream.series_columns().contains(&name)
        || texts(stream).contains(&Some(name))
}

/// Refuses a file whose columns cannot be the stream's.
pub fn check(schema: &Schema, stream: Stream, file: &Path) -> Result<(), Error> {
    let names = required(stream).join(", ");
    let wrong = |problem: String| {
        Err(Error::header(
            file,
            problem,
            format!("a file of {} has the columns {names}", stream.name()),
        ))
    };
    for name in required(stream) {
        if schema.column_with_name(name).is_none() {
            return wrong(format!("column `{name}` is missing"));
        }
    }
    for field in schema.fields() {
        let (name, kind) = (field.name(), field.data_type());
        // Logs, spans and changes may carry columns of their exporter.
        if !is_read(stream, name) {
            if stream == Stream::Metrics {
                return wrong(format!("unknown column `{}`", escape::line(name)));
            }
            continue;
        }
        let text = matches!(kind, DataType::Utf8 | DataType::Binary);
        let fits = match name.as_str() {
            "ts" => text || matches!(kind, DataType::Timestamp(_, _) | DataType::Int64),
            "value" | "duration_us" => kind.is_numeric(),
            _ => text || kind.is_numeric() || matches!(kind, DataType::Boolean | DataType::Null),
        };
        if !fits {
            return wrong(format!("column `{name}` cannot be of type {kind}"));
        }
    }
    Ok(())
}

pub fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))
}

/// Event times in nanoseconds, checked. Bad rows hold an arbitrary time.
pub fn times(
    column: &ArrayRef,
    defects: &mut Defects,
) -> Result<TimestampNanosecondArray, ArrowError> {
    let values: ScalarBuffer<Nanos> = match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().values().clone(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            column.as_primitive::<TimestampNanosecondType>().values().clone()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            scaled(column.as_primitive::<TimestampMicrosecondType>().values(), 1_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            scaled(column.as_primitive::<TimestampMillisecondType>().values(), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(column.as_primitive::<TimestampSecondType>().values(), 1_000_000_000)
        }
        _ => return parsed(column, defects),
    };
    for row in nulls(column) {
        defects.entry(row).or_insert_with(|| Defect::missing("ts"));
    }
    if values.iter().any(|ts| *ts < timestamp::EARLIEST) {
        for (row, ts) in values.iter().enumerate() {
            if let Err(defect) = timestamp::checked(*ts) {
                defects.entry(row).or_insert(defect);
            }
        }
    }
    Ok(TimestampNanosecondArray::new(values, None))
}

/// A filtered array of times, back in its type.
pub fn times_of(array: &ArrayRef) -> TimestampNanosecondArray {
    array.as_primitive::<TimestampNanosecondType>().clone()
}

/// Times too large for nanoseconds saturate below the earliest, so that they are refused.
fn scaled(values: &[i64], scale: i64) -> ScalarBuffer<Nanos> {
    values.iter().map(|v| v.checked_mul(scale).unwrap_or(i64::MIN)).collect()
}

fn parsed(
    column: &ArrayRef,
    defects: &mut Defects,
) -> Result<TimestampNanosecondArray, ArrowError> {
    let texts = cast(column, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let mut last: (&str, Nanos) = ("", 0);
    let mut times = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let text = text.unwrap_or_default();
        if text != last.0 || text.is_empty() {
            match timestamp::parse(text.as_bytes()) {
                Ok(ts) => last = (text, ts),
                Err(defect) => {
                    defects.entry(row).or_insert(defect);
                }
            }
        }
        times.push(last.1);
    }
    Ok(TimestampNanosecondArray::from(times))
}

/// The columns behind the series columns.
pub fn rest(
    stream: Stream,
    batch: &RecordBatch,
    defects: &mut Defects,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    for name in texts(stream) {
        let found = name.and_then(|n| Some((n, batch.column_by_name(n)?)));
        columns.push(match found {
            Some((name, column)) => Arc::new(text(name, column, defects)?),
            None => Arc::new(StringArray::new_repeated("", batch.num_rows())),
        });
    }
    match stream {
        Stream::Metrics => columns.push(Arc::new(values(column(batch, "value")?, defects)?)),
        Stream::Spans => columns.push(Arc::new(durations(column(batch, "duration_us")?, defects)?)),
        Stream::Logs | Stream::Changes => {}
    }
    Ok(columns)
}

fn values(column: &ArrayRef, defects: &mut Defects) -> Result<Float64Array, ArrowError> {
    let column = cast(column, &DataType::Float64)?;
    for row in nulls(&column) {
        defects.entry(row).or_insert_with(|| Defect::missing("value"));
    }
    let values = column.as_primitive::<Float64Type>().values().clone();
    if values.iter().any(|v| !v.is_finite()) {
        for (row, value) in values.iter().enumerate() {
            if let Err(defect) = finite(*value) {
                defects.entry(row).or_insert(defect);
            }
        }
    }
    Ok(Float64Array::new(values, None))
}

fn durations(column: &ArrayRef, defects: &mut Defects) -> Result<Int64Array, ArrowError> {
    let column = cast(column, &DataType::Float64)?;
    let mut out = Vec::with_capacity(column.len());
    for (row, number) in column.as_primitive::<Float64Type>().iter().enumerate() {
        let number = number.ok_or_else(|| Defect::missing("duration_us")).and_then(duration);
        out.push(number.unwrap_or_else(|defect| {
            defects.entry(row).or_insert(defect);
            0
        }));
    }
    Ok(Int64Array::from(out))
}

/// A text column without nulls, escaped and bounded. It is not copied where nothing is to be done.
fn text(name: &str, column: &ArrayRef, defects: &mut Defects) -> Result<StringArray, ArrowError> {
    let is_body = name == "body";
    if is_body {
        for row in nulls(column) {
            defects.entry(row).or_insert_with(|| Defect::missing(name));
        }
    }
    let limit = if name.ends_with("_id") { KEY_BYTES_MAX } else { escape::BODY_BYTES_MAX };
    let binary = *column.data_type() == DataType::Binary;
    let column = if binary { column.clone() } else { cast(column, &DataType::Utf8)? };
    if let Some(texts) = column.as_string_opt::<i32>()
        && texts.null_count() == 0
        && texts.offsets().lengths().all(|len| len <= limit)
        && escape::is_clean(texts.value_data())
    {
        return Ok(texts.clone());
    }
    let mut out = StringBuilder::with_capacity(column.len(), 0);
    for row in 0..column.len() {
        let raw: Cow<'_, str> = if column.is_null(row) {
            Cow::Borrowed("")
        } else if binary {
            escape::utf8(column.as_binary::<i32>().value(row))
        } else {
            Cow::Borrowed(column.as_string::<i32>().value(row))
        };
        let clean = escape::body(&raw);
        if limit == KEY_BYTES_MAX && clean.len() > limit {
            let detail = format!("field `{name}` has {} bytes, more than {limit}", clean.len());
            defects.entry(row).or_insert(Defect::new(DeadReason::TooLong, detail));
            out.append_value("");
        } else {
            out.append_value(escape::bounded(clean, 0));
        }
    }
    Ok(out.finish())
}

fn nulls(column: &ArrayRef) -> Vec<usize> {
    if column.null_count() == 0 {
        return Vec::new();
    }
    (0..column.len()).filter(|row| column.is_null(*row)).collect()
}
