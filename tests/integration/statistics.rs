//! Every `tests/slt/udfs/*.slt` through DataFusion with the product's functions registered.

use std::fs;
use std::path::PathBuf;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};

use crate::program::block_on;

struct Session(SessionContext);

impl Session {
    fn new() -> Self {
        let context = SessionContext::new();
        faultline_udfs::register(&context);
        Self(context)
    }
}

impl DB for Session {
    type Error = DataFusionError;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, DataFusionError> {
        let (types, batches) = block_on(async {
            let frame = self.0.sql(sql).await?;
            let types = frame.schema().fields().iter().map(|f| kind(f.data_type())).collect();
            Ok::<_, DataFusionError>((types, frame.collect().await?))
        })?;
        Ok(DBOutput::Rows { types, rows: batches.iter().flat_map(rows).collect() })
    }
}

fn kind(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        t if t.is_integer() => DefaultColumnType::Integer,
        t if t.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let cell = |column: &datafusion::arrow::array::ArrayRef, row| match column.is_null(row) {
        true => "NULL".to_owned(),
        false => array_value_to_string(column, row).unwrap(),
    };
    let row = |row| batch.columns().iter().map(|c| cell(c, row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn functions_give_what_their_files_say() {
    let folder = fs::read_dir("tests/slt/udfs").unwrap();
    let mut files: Vec<PathBuf> = folder.map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let mut runner = Runner::new(|| async { Ok(Session::new()) });
        runner.run_file(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}
