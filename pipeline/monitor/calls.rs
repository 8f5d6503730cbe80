//! The call graph as spans show it: a child span in another service than its parent is a call.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{AsArray, StringBuilder};
use arrow::datatypes::UInt32Type;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{MINUTE, Nanos};
use crate::stream::rows::Rows;

/// Children that come later than this after their parent are not attributed.
const SPAN_MEMORY: Nanos = 2 * MINUTE;

/// Spans remembered at most; beyond it the oldest are forgotten.
const SPANS_MAX: usize = 200_000;

/// An edge is told again after this long, so that what is no longer called can age.
const REPEAT: Nanos = MINUTE;

/// Callers remembered before those that are told again anyway are forgotten.
const CALLERS_MAX: usize = 10_000;

/// Column positions in the schema of `spans`.
const SERVICE: usize = 2;
const TRACE: usize = 6;
const SPAN: usize = 7;
const PARENT: usize = 8;
const CALLER: usize = 9;

/// Says of each span which other service called: spans seen lately, by their ids.
#[derive(Default, Serialize, Deserialize)]
pub struct Callers {
    service_of: HashMap<String, String>,
    by_time: BTreeMap<Nanos, Vec<String>>,
}

impl Callers {
    /// Fills `caller`: the service of the parent span where that is another one. Rows come in
    /// event time order, those of one moment together; a parent must not begin after its child.
    pub fn annotate(&mut self, rows: Rows) -> Result<Rows> {
        let (services, names) = interned(&rows, SERVICE);
        let text = |c: usize| rows.batch.column(c).as_string::<i32>();
        let (traces, spans, parents) = (text(TRACE), text(SPAN), text(PARENT));
        let mut callers = StringBuilder::new();
        let service = |row: usize| names.value(services[row] as usize);
        let id = |row: usize, span: &str| format!("{}/{span}", traces.value(row));
        let mut from = 0;
        while let Some(at) = rows.ts.get(from) {
            let moment = from..from + rows.ts[from..].iter().take_while(|ts| *ts == at).count();
            for row in moment.clone() {
                self.remember(*at, id(row, spans.value(row)), service(row));
            }
            for row in moment.clone() {
                let parent = Some(parents.value(row)).filter(|parent| !parent.is_empty());
                let caller = parent.and_then(|parent| self.service_of.get(&id(row, parent)));
                let caller = caller.filter(|caller| *caller != service(row));
                callers.append_value(caller.map_or("", String::as_str));
            }
            from = moment.end;
        }
        let mut columns = rows.batch.columns().to_vec();
        columns[CALLER] = Arc::new(callers.finish());
        Ok(Rows { batch: RecordBatch::try_new(rows.batch.schema(), columns)?, ts: rows.ts })
    }

    fn remember(&mut self, at: Nanos, span: String, service: &str) {
        self.service_of.insert(span.clone(), service.to_owned());
        self.by_time.entry(at).or_default().push(span);
        while let Some(entry) = self.by_time.first_entry() {
            let old = at - entry.key() > SPAN_MEMORY;
            if !old && self.service_of.len() <= SPANS_MAX {
                break;
            }
            for span in entry.remove() {
                self.service_of.remove(&span);
            }
        }
    }
}

/// When each call was told last: caller, then callee.
#[derive(Default, Serialize, Deserialize)]
pub struct Calls {
    told: BTreeMap<String, BTreeMap<String, Nanos>>,
}

impl Calls {
    /// Learns from spans that have their caller, in event time order; returns edges, caller first,
    /// and when they were seen.
    pub fn observe(&mut self, rows: &Rows) -> Vec<(Nanos, (String, String))> {
        let (services, names) = interned(rows, SERVICE);
        let callers = rows.batch.column(CALLER).as_string::<i32>();
        let mut out = Vec::new();
        for (row, at) in rows.ts.iter().enumerate() {
            let (caller, service) = (callers.value(row), names.value(services[row] as usize));
            if caller.is_empty() {
                continue;
            }
            let told = self.told.get(caller).and_then(|callees| callees.get(service));
            if told.is_none_or(|last| at - last >= REPEAT) {
                let (caller, callee) = (caller.to_owned(), service.to_owned());
                self.told.entry(caller.clone()).or_default().insert(callee.clone(), *at);
                out.push((*at, (caller, callee)));
            }
        }
        if let (true, Some(now)) = (self.told.len() > CALLERS_MAX, rows.ts.last()) {
            self.told.retain(|_, callees| {
                callees.retain(|_, last| now - *last < REPEAT);
                !callees.is_empty()
            });
        }
        out
    }
}

/// Keys and values of an interned column.
fn interned(rows: &Rows, column: usize) -> (&[u32], &arrow::array::StringArray) {
    let column = rows.batch.column(column).as_dictionary::<UInt32Type>();
    (column.keys().values(), column.values().as_string::<i32>())
}
