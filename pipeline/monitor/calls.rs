//! The call graph as spans show it: a child span in another service than its parent is a call.

use std::collections::{BTreeMap, HashMap};

use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use serde::{Deserialize, Serialize};

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

/// Spans seen lately, and the edges told.
#[derive(Default, Serialize, Deserialize)]
pub struct Calls {
    service_of: HashMap<String, String>,
    by_time: BTreeMap<Nanos, Vec<String>>,
    /// When each call was told last: caller, then callee.
    told: BTreeMap<String, BTreeMap<String, Nanos>>,
}

impl Calls {
    /// Learns from spans in event time order; returns edges, caller first, and when they were seen.
    pub fn observe(&mut self, rows: &Rows) -> Vec<(Nanos, (String, String))> {
        let services = rows.batch.column(2).as_dictionary::<UInt32Type>();
        let names = services.values().as_string::<i32>();
        let text = |c: usize| rows.batch.column(c).as_string::<i32>();
        let (traces, spans, parents) = (text(6), text(7), text(8));
        let mut out = Vec::new();
        for row in 0..rows.batch.num_rows() {
            let service = names.value(services.keys().value(row) as usize);
            let at = rows.ts[row];
            let id = |span: &str| format!("{}/{span}", traces.value(row));
            if !parents.value(row).is_empty()
                && let Some(caller) = self.service_of.get(&id(parents.value(row)))
                && caller != service
            {
                let told = self.told.get(caller).and_then(|callees| callees.get(service));
                if told.is_none_or(|last| at - last >= REPEAT) {
                    let (caller, callee) = (caller.clone(), service.to_owned());
                    self.told.entry(caller.clone()).or_default().insert(callee.clone(), at);
                    out.push((at, (caller, callee)));
                }
            }
            self.remember(at, id(spans.value(row)), service);
        }
        if let (true, Some(now)) = (self.told.len() > CALLERS_MAX, rows.ts.last()) {
            self.told.retain(|_, callees| {
                callees.retain(|_, last| now - *last < REPEAT);
                !callees.is_empty()
            });
        }
        out
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
