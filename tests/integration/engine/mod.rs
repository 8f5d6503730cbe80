//! The stream engine through the library: its answers against ones computed the plain way.

mod checkpoints;
mod ingest;
mod joins;
mod rows;
mod windows;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use faultline::model::Nanos;
use faultline::stream::compile;
use faultline::stream::driver::Driver;
use faultline::stream::ingest::Feed;

/// A row that a job wrote: service, start and end of its window, score, observed, expected.
#[derive(Clone, Debug, PartialEq)]
struct Written {
    service: String,
    start: Nanos,
    end: Nanos,
    values: [f64; 3],
}

async fn driver(sql: &str) -> Driver {
    let job = compile("job.sql", sql).await.unwrap_or_else(|e| panic!("{e}\n{sql}"));
    Driver::new(job)
}

/// Feeds what ingest passed on.
async fn feed(driver: &mut Driver, fed: Vec<Feed>) -> Vec<Written> {
    let mut out = Vec::new();
    for item in fed {
        let batches = match item {
            Feed::Rows(stream, rows) => driver.rows(stream, &rows).await,
            Feed::Watermark(watermark) => driver.watermark(watermark).await,
            Feed::End => driver.end().await,
            Feed::Refused(refused) => panic!("refused: {refused:?}"),
        };
        out.extend(read(&batches.unwrap()));
    }
    out
}

fn read(batches: &[RecordBatch]) -> Vec<Written> {
    let mut out = Vec::new();
    for batch in batches {
        let column = |i: usize, to: &DataType| cast(batch.column(i), to).unwrap();
        let service = column(1, &DataType::Utf8);
        let times = [4, 5].map(|i| column(i, &DataType::Int64));
        let values = [6, 7, 8].map(|i| column(i, &DataType::Float64));
        for row in 0..batch.num_rows() {
            let time = |i: usize| times[i].as_primitive::<arrow::datatypes::Int64Type>().value(row);
            let value = |c: &arrow::array::ArrayRef| match c.is_null(row) {
                true => f64::NEG_INFINITY,
                false => c.as_primitive::<Float64Type>().value(row),
            };
            out.push(Written {
                service: service.as_string::<i32>().value(row).to_owned(),
                start: time(0),
                end: time(1),
                values: [value(&values[0]), value(&values[1]), value(&values[2])],
            });
        }
    }
    out
}

/// By window and service, for answers whose order means nothing.
fn sorted(mut written: Vec<Written>) -> Vec<Written> {
    written.sort_by(|a, b| (a.end, a.start, &a.service).cmp(&(b.end, b.start, &b.service)));
    written
}

/// Runs the future of one test case.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}
