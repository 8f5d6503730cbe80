//! Raw spans to the aggregates that the ranking reads.

mod calls;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::telemetry::{
    Control, Counts, OperationStats, Period, Quantiles, SpanAggregate, SpanStats,
};

/// Spans one incident may bring; what comes later is refused by `SpanTable::push`.
pub const MAX_SPANS: usize = 400_000;
/// A parent chain longer than this is a loop in the data.
const MAX_DEPTH: usize = 128;

/// One span as its source wrote it.
#[derive(Clone, Copy, Debug)]
pub struct SpanRow<'a> {
    pub service: &'a str,
    pub instance: &'a str,
    pub operation: &'a str,
    pub trace_id: &'a str,
    pub span_id: &'a str,
    /// Empty for the first span of a trace.
    pub parent_span_id: &'a str,
    /// Nanoseconds.
    pub start: i64,
    pub duration_us: i64,
    pub error: bool,
}

/// Multiplies and folds eight bytes at a time: the same ids in every run.
pub struct Mixer(u64);

impl Default for Mixer {
    fn default() -> Self {
        Mixer(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length tells a short end from one that is filled up with zeros.
        self.write_u64(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    /// Keys that are hashes or small ids already need mixing, not eight byte steps.
    fn write_u64(&mut self, x: u64) {
        let mixed = (self.0 ^ x).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }

    fn write_u32(&mut self, x: u32) {
        self.write_u64(u64::from(x));
    }
}

/// A map whose order and hashes are the same in every run.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// An operation of one instance, as ids of `SpanTable::names`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    service: u32,
    instance: u32,
    operation: u32,
}

#[derive(Clone, Copy)]
struct Span {
    place: u32,
    /// Number of the trace in order of arrival.
    trace: u32,
    /// Key of the parent span, 0 for none.
    parent: u64,
    start: i64,
    duration_us: i64,
    error: bool,
    /// A log line, which takes no time of its own.
    line: bool,
}

/// Spans with their texts interned.
#[derive(Default)]
pub struct SpanTable {
    names: Vec<String>,
    ids: Map<String, u32>,
    places: Vec<Place>,
    place_ids: Map<Place, u32>,
    traces: Map<u64, u32>,
    /// Row by key of trace and span id.
    rows: Map<u64, u32>,
    spans: Vec<Span>,
}

impl SpanTable {
    /// False, and nothing kept, once `MAX_SPANS` are held.
    pub fn push(&mut self, row: SpanRow<'_>) -> bool {
        self.push_as(row, false)
    }

    fn push_as(&mut self, row: SpanRow<'_>, line: bool) -> bool {
        if self.spans.len() == MAX_SPANS {
            return false;
        }
        let place = Place {
            service: self.name(row.service),
            instance: self.name(row.instance),
            operation: self.name(row.operation),
        };
        let next = self.places.len() as u32;
        let place = *self.place_ids.entry(place).or_insert_with(|| {
            self.places.push(place);
            next
        });
        let trace = key(0, row.trace_id);
        let next = self.traces.len() as u32;
        self.rows.insert(key(trace, row.span_id), self.spans.len() as u32);
        self.spans.push(Span {
            place,
            trace: *self.traces.entry(trace).or_insert(next),
            parent: if row.parent_span_id.is_empty() { 0 } else { key(trace, row.parent_span_id) },
            start: row.start,
            duration_us: row.duration_us.max(0),
            error: row.error,
            line,
        });
        true
    }

    /// Adds a log line that names its span, as an event below it: a line that a span always wrote
    /// and no longer does tells as much as a call that it no longer makes. `row.operation` is the
    /// template, `row.span_id` the span that wrote it, which must have been pushed before; false if
    /// it was not.
    pub fn push_line(&mut self, row: SpanRow<'_>) -> bool {
        let span = key(key(0, row.trace_id), row.span_id);
        if row.span_id.is_empty() || !self.rows.contains_key(&span) {
            return false;
        }
        let id = format!("line {}", self.spans.len());
        let parent_span_id = row.span_id;
        let line = SpanRow { span_id: &id, parent_span_id, duration_us: 0, error: false, ..row };
        self.push_as(line, true)
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    fn name(&mut self, text: &str) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.names.len() as u32;
        self.names.push(text.to_owned());
        self.ids.insert(text.to_owned(), id);
        id
    }

    fn text(&self, id: u32) -> String {
        self.names[id as usize].clone()
    }
}

fn key(seed: u64, text: &str) -> u64 {
    let mut h = Mixer::default();
    h.write_u64(seed);
    h.write(text.as_bytes());
    h.finish().max(1)
}

/// Where the spans of a table hang in their traces.
struct Forest {
    /// Children of row `i` are `children[first[i]..first[i + 1]]`.
    first: Vec<u32>,
    children: Vec<u32>,
    /// Whether the row has no known parent.
    top: Vec<bool>,
    /// Row of the ancestor by which the trace came into the row's service.
    entry: Vec<u32>,
}

/// Aggregates the spans of the traces that begin in either period.
pub fn summarise(table: &SpanTable, baseline: &Control, window: Period) -> SpanStats {
    let forest = Forest::grow(table);
    let period = periods(table, baseline, window);
    let mut traces = Counts::default();
    for (p, _) in period.iter().zip(&forest.top).filter(|(_, top)| **top) {
        p.iter().for_each(|p| bump(&mut traces, *p));
    }
    SpanStats {
        traces,
        operations: operations(table, &forest, &period),
        calls: calls::calls(table, &forest, &period),
    }
}

fn bump(counts: &mut Counts, period: usize) {
    if period == 0 {
        counts.baseline += 1;
    } else {
        counts.window += 1;
    }
}

/// Per row 0 for the baseline, 1 for the window: the period in which the row's trace began, so
/// that a trace is never split.
fn periods(table: &SpanTable, baseline: &Control, window: Period) -> Vec<Option<usize>> {
    let mut begin = vec![i64::MAX; table.traces.len()];
    for s in &table.spans {
        let first = &mut begin[s.trace as usize];
        *first = s.start.min(*first);
    }
    let of = |ts: i64| match (window.contains(ts), baseline.contains(ts)) {
        (true, _) => Some(1),
        (_, true) => Some(0),
        _ => None,
    };
    table.spans.iter().map(|s| of(begin[s.trace as usize])).collect()
}

impl Forest {
    fn grow(table: &SpanTable) -> Forest {
        let spans = &table.spans;
        let parent: Vec<Option<u32>> = spans
            .iter()
            .enumerate()
            .map(|(i, s)| match s.parent {
                0 => None,
                key => table.rows.get(&key).copied().filter(|p| *p as usize != i),
            })
            .collect();
        let mut first = vec![0u32; spans.len() + 1];
        for p in parent.iter().flatten() {
            first[*p as usize + 1] += 1;
        }
        for i in 0..spans.len() {
            first[i + 1] += first[i];
        }
        let mut next = first.clone();
        let mut children = vec![0u32; first[spans.len()] as usize];
        for (i, p) in parent.iter().enumerate() {
            if let Some(p) = p {
                children[next[*p as usize] as usize] = i as u32;
                next[*p as usize] += 1;
            }
        }
        let service = |row: u32| table.places[spans[row as usize].place as usize].service;
        let entry = (0..spans.len() as u32)
            .map(|i| {
                let mut at = i;
                for _ in 0..MAX_DEPTH {
                    match parent[at as usize] {
                        Some(p) if service(p) == service(i) => at = p,
                        _ => break,
                    }
                }
                at
            })
            .collect();
        let top = parent.iter().map(Option::is_none).collect();
        Forest { first, children, top, entry }
    }

    fn children(&self, row: usize) -> &[u32] {
        &self.children[self.first[row] as usize..self.first[row + 1] as usize]
    }

    /// Duration of `row` that no child covers, microseconds.
    fn self_us(&self, spans: &[Span], row: usize, scratch: &mut Vec<(i64, i64)>) -> f64 {
        let span = &spans[row];
        let end = span.start + span.duration_us * 1000;
        scratch.clear();
        scratch.extend(self.children(row).iter().map(|c| {
            let child = &spans[*c as usize];
            let to = (child.start + child.duration_us * 1000).min(end);
            (child.start.max(span.start), to)
        }));
        scratch.sort_unstable();
        let (mut covered, mut reach) = (0, span.start);
        for &(from, to) in scratch.iter() {
            if to > reach {
                covered += to - from.max(reach);
                reach = to;
            }
        }
        span.duration_us as f64 - covered as f64 / 1000.0
    }
}

#[derive(Default)]
struct Samples {
    selves: [Vec<f64>; 2],
    origins: [u64; 2],
}

fn operations(table: &SpanTable, forest: &Forest, period: &[Option<usize>]) -> Vec<OperationStats> {
    let mut samples: Vec<Samples> = table.places.iter().map(|_| Samples::default()).collect();
    let mut scratch = Vec::new();
    for (row, span) in table.spans.iter().enumerate().filter(|(_, span)| !span.line) {
        let Some(p) = period[row] else { continue };
        let s = &mut samples[span.place as usize];
        s.selves[p].push(forest.self_us(&table.spans, row, &mut scratch));
        if span.error {
            let deeper = forest.children(row).iter().any(|c| table.spans[*c as usize].error);
            s.origins[p] += u64::from(!deeper);
        }
    }
    let mut out: Vec<OperationStats> = table
        .places
        .iter()
        .zip(samples)
        .filter(|(_, s)| s.selves.iter().any(|d| !d.is_empty()))
        .map(|(place, mut s)| OperationStats {
            service: table.text(place.service),
            instance: table.text(place.instance),
            operation: table.text(place.operation),
            baseline: s.aggregate(0),
            window: s.aggregate(1),
        })
        .collect();
    out.sort_by(|a, b| {
        (&a.service, &a.operation, &a.instance).cmp(&(&b.service, &b.operation, &b.instance))
    });
    out
}

impl Samples {
    fn aggregate(&mut self, p: usize) -> SpanAggregate {
        SpanAggregate {
            count: self.selves[p].len() as u64,
            origins: self.origins[p],
            self_us: quantiles(&mut self.selves[p]),
        }
    }
}

fn quantiles(values: &mut [f64]) -> Quantiles {
    if values.is_empty() {
        return Quantiles::default();
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let at = |q: f64| (q * (values.len() - 1) as f64).round() as usize;
    let [low, middle, high] = [0.25, 0.5, 0.75].map(at);
    let (below, p50, above) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let nth = |part: &mut [f64], n: usize| *part.select_nth_unstable_by(n, f64::total_cmp).1;
    Quantiles {
        p25: if low < middle { nth(below, low) } else { *p50 },
        p75: if middle < high { nth(above, high - middle - 1) } else { *p50 },
        p50: *p50,
        mean,
    }
}

#[cfg(test)]
mod tests;
