//! Rows of the `changes` stream as nouns.

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampNanosecondType};

use crate::error::Result;
use crate::model::Change;

/// Reads batches in the columns of the stream.
pub fn read(batches: &[RecordBatch]) -> Result<Vec<Change>> {
    let mut out = Vec::new();
    for batch in batches {
        let ts = batch.column(0).as_primitive::<TimestampNanosecondType>();
        let text = |c: usize| Ok(cast(batch.column(c), &DataType::Utf8)?);
        let columns = (1..7).map(text).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let value = |c: usize| columns[c].as_string::<i32>().value(row).to_owned();
            out.push(Change {
                ts: ts.value(row),
                cluster: value(0),
                service: value(1),
                kind: value(2),
                object: value(3),
                actor: value(4),
                detail: value(5),
            });
        }
    }
    out.sort_by(|a, b| (a.ts, &a.service, &a.object).cmp(&(b.ts, &b.service, &b.object)));
    Ok(out)
}
