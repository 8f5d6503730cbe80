//! Gives log rows their template, and a severity where the source had none.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray, UInt32Array};
use arrow::datatypes::UInt32Type;
use arrow::record_batch::RecordBatch;

use super::template::header::{self, Severity};
use super::template::history::{History, Known};
use super::template::{Limits, Miner, trace};
use crate::error::Result;
use crate::stream::rows::Rows;
use crate::stream::schema::Stream;
use crate::stream::series::Registry;

/// Column positions in the schema of `logs`.
const SERIES: std::ops::Range<usize> = 1..5;
const SEVERITY: usize = 4;
const BODY: usize = 5;
const TEMPLATE_ID: usize = 6;
const TEMPLATE: usize = 7;

/// Stands for all inner lines of stack traces: a new trace is one new kind of line beside the one
/// that says what happened, and not as many as it has frames. Python's lines of source look like
/// any other line and stay kinds of their own.
const INNER_LINE: &[u8] = b"line of a stack trace";

/// The template miner of one run, and the history of what it has given.
pub struct LogStage {
    miner: Miner,
    history: History,
}

impl Default for LogStage {
    fn default() -> Self {
        Self { miner: Miner::new(Limits::default()), history: History::default() }
    }
}

impl LogStage {
    /// Fills `template_id`, `template` and missing severities; rows come in event time order.
    pub fn annotate(&mut self, rows: Rows, registry: &mut Registry) -> Result<Rows> {
        let n = rows.batch.num_rows();
        let body = rows.batch.column(BODY).as_string::<i32>();
        let severities = rows.batch.column(SEVERITY).as_dictionary::<UInt32Type>();
        let known = severities.values().as_string::<i32>();
        let keys = severities.keys().values();
        let mut series: Vec<u32> = keys.to_vec();
        let (mut ids, mut templates) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for row in 0..n {
            let line = body.value(row).as_bytes();
            let head = header::parse(line);
            let inner = trace::is_inner_line(line);
            let id = self.miner.add(if inner { INNER_LINE } else { head.message });
            self.history.note(&self.miner, id, rows.ts[row]);
            ids.push(id.to_string());
            templates.push(self.miner.template(id).unwrap_or_default());
            let severity = known.value(keys[row] as usize);
            if severity.is_empty()
                && let Some(found) = head.severity.or_else(|| header::severity(line))
            {
                let part = |c: usize| {
                    let column = rows.batch.column(c).as_dictionary::<UInt32Type>();
                    column.values().as_string::<i32>().value(keys[row] as usize)
                };
                let key: Vec<&str> =
                    SERIES.map(|c| if c == SEVERITY { name(found) } else { part(c) }).collect();
                series[row] = registry.intern(&key);
            }
        }
        let mut columns: Vec<ArrayRef> = rows.batch.columns().to_vec();
        columns.splice(SERIES, registry.columns(UInt32Array::from(series)));
        columns[TEMPLATE_ID] = Arc::new(StringArray::from(ids));
        columns[TEMPLATE] = Arc::new(StringArray::from(templates));
        Ok(Rows { ts: rows.ts, batch: RecordBatch::try_new(Stream::Logs.schema(), columns)? })
    }

    /// What has become of the template ids that rows were given.
    pub fn known(&self) -> Vec<Known> {
        self.history.known(&self.miner)
    }

    /// Appends the miner; the history is returned.
    pub fn write(&self, out: &mut Vec<u8>) -> &History {
        self.miner.write(out);
        &self.history
    }

    /// What `write` wrote, or `None` if it is damaged.
    pub fn read(bytes: &[u8], history: History) -> Option<Self> {
        Some(Self { miner: Miner::read(bytes)?, history })
    }
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Trace => "TRACE",
        Severity::Debug => "DEBUG",
        Severity::Info => "INFO",
        Severity::Warn => "WARN",
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    }
}
