//! Column types of the archive, when two schemas fit, and how a batch is brought to a table's
//! schema.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};

use super::TableSpec;
use crate::error::{Error, Result};

/// Refuses a specification that the archive could not keep or other tools could not read.
pub(super) fn check_spec(spec: &TableSpec) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if spec.name.is_empty() || !spec.name.chars().all(plain) {
        return Err(refused(
            &spec.name,
            "the table's name must be lower case letters, digits and _",
        ));
    }
    for field in spec.schema.fields() {
        if !storable(field.data_type()) {
            let reason = format!(
                "column {} has type {}; use Utf8, Int64, Float64, Boolean, List<Utf8>, \
                 List<Float64> or Timestamp(us, UTC)",
                field.name(),
                field.data_type()
            );
            return Err(refused(&spec.name, reason));
        }
    }
    for name in &spec.partition_by {
        let text = spec.schema.field_with_name(name).map(|f| f.data_type());
        if !matches!(text, Ok(DataType::Utf8)) {
            let reason = format!("partition column {name} must be a Utf8 column of the table");
            return Err(refused(&spec.name, reason));
        }
    }
    if spec.partition_by.len() == spec.schema.fields().len() {
        return Err(refused(&spec.name, "at least one column must not be a partition column"));
    }
    Ok(())
}

fn storable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::Int64 | DataType::Float64 | DataType::Boolean => true,
        DataType::List(item) => matches!(item.data_type(), DataType::Utf8 | DataType::Float64),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => is_utc(zone),
        _ => false,
    }
}

fn is_utc(zone: &str) -> bool {
    zone == "UTC" || zone == "+00:00"
}

/// Equal up to what carries no meaning: the name of a list's item and the spelling of UTC.
fn same_type(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => same_type(a.data_type(), b.data_type()),
        (DataType::Timestamp(a, Some(x)), DataType::Timestamp(b, Some(y))) => {
            a == b && is_utc(x) && is_utc(y)
        }
        _ => a == b,
    }
}

/// Compares a specification with the table that is there. Returns the names of the columns that
/// the table still lacks, all of them nullable; columns that only the table has must be nullable
/// too, as this program leaves them empty.
pub(super) fn missing_columns(
    spec: &TableSpec,
    existing: &Schema,
    partitions: &[String],
) -> Result<Vec<String>> {
    if partitions != spec.partition_by {
        let reason = format!(
            "it is partitioned by {partitions:?}, this program wants {:?}; use another archive \
             directory",
            spec.partition_by
        );
        return Err(refused(&spec.name, reason));
    }
    let mut missing = Vec::new();
    for field in spec.schema.fields() {
        match existing.field_with_name(field.name()) {
            Ok(there) if !same_type(there.data_type(), field.data_type()) => {
                let reason = format!(
                    "column {} is {} in the archive and {} in this program; use another archive \
                     directory",
                    field.name(),
                    there.data_type(),
                    field.data_type()
                );
                return Err(refused(&spec.name, reason));
            }
            Ok(there) if !there.is_nullable() && field.is_nullable() => {
                let reason = format!(
                    "column {} must not be null in the archive but may be null in this program",
                    field.name()
                );
                return Err(refused(&spec.name, reason));
            }
            Ok(_) => {}
            Err(_) if field.is_nullable() => missing.push(field.name().clone()),
            Err(_) => {
                let reason = format!(
                    "column {} is new and not nullable, so rows that are there would not fit; \
                     declare it nullable",
                    field.name()
                );
                return Err(refused(&spec.name, reason));
            }
        }
    }
    let required = |name: &str| spec.schema.field_with_name(name).is_err();
    for there in existing.fields() {
        if required(there.name()) && !there.is_nullable() {
            let reason = format!(
                "the archive requires column {}, which this program does not know; use the \
                 version that wrote the archive",
                there.name()
            );
            return Err(refused(&spec.name, reason));
        }
    }
    Ok(missing)
}

/// The batch with the columns of `schema`, in its order; absent nullable columns become null.
pub(super) fn conform(table: &str, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let unfit = |reason: String| Error::Batch { table: table.to_owned(), reason };
    let given = batch.schema();
    if let Some(extra) = given.fields().iter().find(|f| schema.field_with_name(f.name()).is_err()) {
        return Err(unfit(format!("column {} is not part of the table", extra.name())));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let Some(column) = batch.column_by_name(field.name()) else {
            if !field.is_nullable() {
                return Err(unfit(format!("column {} is missing", field.name())));
            }
            columns.push(new_null_array(field.data_type(), batch.num_rows()));
            continue;
        };
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(unfit(format!("column {} must not be null", field.name())));
        }
        if column.data_type() == field.data_type() {
            columns.push(Arc::clone(column));
        } else if convertible(column.data_type(), field.data_type()) {
            columns.push(cast_with_options(column, field.data_type(), &strict)?);
        } else {
            return Err(unfit(format!(
                "column {} is {}, the table has {}",
                field.name(),
                column.data_type(),
                field.data_type()
            )));
        }
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Whether a cast loses nothing: other encodings of the same values.
fn convertible(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Dictionary(_, values), to) => same_type(values, to) || convertible(values, to),
        (DataType::Utf8View | DataType::LargeUtf8, DataType::Utf8) => true,
        (from, to) => same_type(from, to),
    }
}

fn refused(table: &str, reason: impl Into<String>) -> Error {
    Error::Schema { table: table.to_owned(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;

    fn spec(fields: Vec<Field>) -> TableSpec {
        TableSpec {
            name: "t".into(),
            schema: Arc::new(Schema::new(fields)),
            partition_by: vec![],
            version: 1,
        }
    }

    #[test]
    fn only_portable_types_are_stored() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        check_spec(&spec(vec![Field::new("ts", utc, false)])).unwrap();
        let err = check_spec(&spec(vec![Field::new("ts", nanos, false)])).unwrap_err();
        assert!(err.to_string().contains("column ts has type"), "{err}");
    }

    #[test]
    fn columns_are_added_only_where_old_rows_still_fit() {
        let there = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
        let check = |fields| missing_columns(&spec(fields), &there, &[]);
        let a = || Field::new("a", DataType::Int64, false);
        assert_eq!(check(vec![a(), Field::new("b", DataType::Utf8, true)]).unwrap(), ["b"]);
        for (fields, part) in [
            (vec![a(), Field::new("b", DataType::Utf8, false)], "b is new"),
            (vec![Field::new("a", DataType::Utf8, false)], "a is Int64"),
            (vec![Field::new("a", DataType::Int64, true)], "may be null"),
            (vec![Field::new("c", DataType::Int64, true)], "requires column a"),
        ] {
            let err = check(fields).unwrap_err().to_string();
            assert!(err.contains(part), "{err}");
        }
    }
}
