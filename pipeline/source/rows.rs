//! Rows of one stream on their way into a batch.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, StringBuilder, TimestampNanosecondArray, UInt32Array,
};
use arrow::record_batch::RecordBatch;

use super::dead::{DeadLetter, DeadReason, Defect};
use super::error::Error;
use crate::model::Nanos;
use crate::stream::schema::Stream;
use crate::stream::series::Registry;

/// A batch closes when its texts have this size, whatever its number of rows.
pub const BATCH_TEXT_BYTES_MAX: usize = 8 << 20;

pub struct Rows {
    stream: Stream,
    file: String,
    ts: Vec<Nanos>,
    ids: Vec<u32>,
    values: Vec<f64>,
    durations: Vec<i64>,
    texts: Vec<StringBuilder>,
    text_bytes: usize,
    dead: Vec<DeadLetter>,
}

impl Rows {
    pub fn new(stream: Stream, file: String) -> Self {
        let texts = match stream {
            Stream::Metrics => 0,
            Stream::Logs => 5,
            Stream::Spans => 4,
            Stream::Changes => 3,
        };
        Self {
            stream,
            file,
            ts: Vec::new(),
            ids: Vec::new(),
            values: Vec::new(),
            durations: Vec::new(),
            texts: (0..texts).map(|_| StringBuilder::new()).collect(),
            text_bytes: 0,
            dead: Vec::new(),
        }
    }

    pub fn is_full(&self, batch_rows: usize) -> bool {
        self.ts.len() + self.dead.len() >= batch_rows || self.text_bytes >= BATCH_TEXT_BYTES_MAX
    }

    pub fn metric(&mut self, ts: Nanos, id: u32, value: f64) {
        self.ts.push(ts);
        self.ids.push(id);
        self.values.push(value);
    }

    pub fn span(&mut self, ts: Nanos, id: u32, texts: [Cow<'_, str>; 4], duration_us: i64) {
        self.durations.push(duration_us);
        self.text(ts, id, &texts);
    }

    /// A row of logs or changes: its text columns in the order of the schema.
    pub fn text(&mut self, ts: Nanos, id: u32, texts: &[Cow<'_, str>]) {
        debug_assert_eq!(texts.len(), self.texts.len());
        self.ts.push(ts);
        self.ids.push(id);
        for (builder, text) in self.texts.iter_mut().zip(texts) {
            builder.append_value(text);
            self.text_bytes += text.len();
        }
    }

    pub fn dead(&mut self, line: u64, defect: Defect, row: &[u8]) {
        self.dead.push(DeadLetter::new(self.stream, &self.file, line, defect, row));
    }

    /// The rows so far; empties the builder.
    pub fn finish(
        &mut self,
        registry: &mut Registry,
    ) -> Result<(RecordBatch, Vec<DeadLetter>), Error> {
        let mut rest: Vec<ArrayRef> =
            self.texts.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef).collect();
        match self.stream {
            Stream::Metrics => {
                rest.push(Arc::new(Float64Array::from(std::mem::take(&mut self.values))));
            }
            Stream::Spans => {
                rest.push(Arc::new(Int64Array::from(std::mem::take(&mut self.durations))));
            }
            Stream::Logs | Stream::Changes => {}
        }
        self.text_bytes = 0;
        let ts = TimestampNanosecondArray::from(std::mem::take(&mut self.ts));
        let ids = UInt32Array::from(std::mem::take(&mut self.ids));
        let batch = assemble(registry, ts, ids, rest)
            .map_err(|source| Error::Arrow { file: self.file.clone(), source })?;
        Ok((batch, std::mem::take(&mut self.dead)))
    }
}

/// A batch in the stream's schema; `rest` are the columns behind the series columns.
pub fn assemble(
    registry: &mut Registry,
    ts: TimestampNanosecondArray,
    ids: UInt32Array,
    rest: Vec<ArrayRef>,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ts)];
    columns.extend(registry.columns(ids));
    columns.extend(rest);
    RecordBatch::try_new(registry.stream().schema(), columns)
}

/// Metric values are finite; NaN, infinities and stale markers say that there is no value.
pub fn finite(value: f64) -> Result<f64, Defect> {
    if value.is_finite() {
        return Ok(value);
    }
    let detail = "NaN, infinity or a stale marker: no value, so the row is left out";
    Err(Defect::new(DeadReason::BadValue, detail))
}
