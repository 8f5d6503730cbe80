//! A small archive for the tests of this folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::{Archive, Open, TableSpec, Txn};

pub(super) fn spec() -> TableSpec {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let texts = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    TableSpec {
        name: "events".into(),
        schema: Arc::new(Schema::new(vec![
            Field::new("cluster", DataType::Utf8, false),
            Field::new("day", DataType::Utf8, false),
            Field::new("at", utc, false),
            Field::new("id", DataType::Int64, false),
            Field::new("value", DataType::Float64, true),
            Field::new("tags", texts, true),
        ])),
        partition_by: vec!["cluster".into(), "day".into()],
        version: 1,
    }
}

/// One row per id, all in the partition of `cluster` on one day.
pub(super) fn rows(cluster: &str, ids: std::ops::Range<i64>) -> RecordBatch {
    let n = ids.clone().count();
    let mut tags = ListBuilder::new(StringBuilder::new());
    for id in ids.clone() {
        tags.values().append_value(format!("t{}", id % 3));
        tags.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![cluster; n])),
        Arc::new(StringArray::from(vec!["2026-01-31"; n])),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(ids.clone().map(|id| id * 1_000_000))
                .with_timezone("UTC"),
        ),
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(Float64Array::from_iter_values(ids.map(|id| (id as f64).sin()))),
        Arc::new(tags.finish()),
    ];
    RecordBatch::try_new(spec().schema, columns).unwrap()
}

pub(super) fn txn(app_id: &str, version: i64) -> Txn {
    Txn { app_id: app_id.into(), version }
}

pub(super) async fn open(dir: &Path) -> Archive {
    Archive::open(dir, vec![spec()], Open::ReadWrite).await.unwrap()
}

/// The answer as one text, `;` between rows and `,` between columns.
pub(super) async fn ask(archive: &Archive, sql: &str) -> crate::Result<String> {
    // The default dialect takes `cluster` after a comma for a keyword.
    let config = SessionConfig::new().set_str("datafusion.sql_parser.dialect", "postgresql");
    let context = SessionContext::new_with_config(config);
    for spec in archive.tables() {
        let provider = archive.provider(&spec.name).await?;
        context.register_table(spec.name.as_str(), provider)?;
    }
    let batches = context.sql(sql).await?.collect().await?;
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter();
            let cells = cells.map(|c| arrow::util::display::array_value_to_string(c, row));
            lines.push(cells.collect::<Result<Vec<_>, _>>()?.join(","));
        }
    }
    Ok(lines.join(";"))
}

/// The data files below `dir`, in order.
pub(super) fn data_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(data_files(&path));
        } else if path.extension().is_some_and(|e| e == "parquet")
            && !path.to_string_lossy().contains("_delta_log")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}
