//! What kinds of spans and lines stand below which, and in how many traces.

use super::super::telemetry::{CallStats, Counts, Usual};
use super::{Forest, Map, Mixer, Place, SpanTable, bump};
use std::hash::Hasher;

/// Traces that the belief is worth that one variant of a request is answered like the others.
const BELIEF: f64 = 1.0;

/// Places of one service and operation, whatever the instance, have one number.
fn operation_numbers(places: &[Place]) -> Vec<u32> {
    let mut seen: Map<(u32, u32), u32> = Map::default();
    places
        .iter()
        .map(|p| {
            let next = seen.len() as u32;
            *seen.entry((p.service, p.operation)).or_insert(next)
        })
        .collect()
}

/// Traces that hold something, and a row of it to read its names from.
struct Holders {
    row: u32,
    /// The trace counted last.
    trace: u32,
    counts: Counts,
}

impl Holders {
    fn new(row: u32) -> Self {
        Holders { row, trace: u32::MAX, counts: Counts::default() }
    }

    fn count(&mut self, trace: u32, period: usize) {
        if self.trace != trace {
            self.trace = trace;
            bump(&mut self.counts, period);
        }
    }
}

/// One kind of parent, and its kinds of children by the number of their operation, each also by the
/// variant of the request.
struct Parents {
    own: Holders,
    variants: Map<u64, Holders>,
    children: Map<u32, Children>,
}

struct Children {
    all: Holders,
    variants: Map<u64, Holders>,
}

pub(super) fn calls(
    table: &SpanTable,
    forest: &Forest,
    period: &[Option<usize>],
) -> Vec<CallStats> {
    let numbers = operation_numbers(&table.places);
    let number = |row: u32| numbers[table.spans[row as usize].place as usize];
    let mut rows: Vec<u32> = (0..table.spans.len() as u32).collect();
    rows.sort_by_key(|row| table.spans[*row as usize].trace); // stable, and mostly sorted already
    let variants = variants(table, forest, &numbers);
    let mut kinds: Map<u64, u32> = Map::default();
    let mut parents: Vec<Parents> = Vec::new();
    for row in rows {
        let Some(p) = period[row as usize] else { continue };
        let trace = table.spans[row as usize].trace;
        let entry = forest.entry[row as usize];
        let kind = u64::from(number(entry)) << 32 | u64::from(number(row));
        let next = parents.len() as u32;
        let kind = *kinds.entry(kind).or_insert(next);
        if kind == next {
            parents.push(Parents {
                own: Holders::new(row),
                variants: Map::default(),
                children: Map::default(),
            });
        }
        let variant = variants.get(&entry).copied().unwrap_or(0);
        let parent = &mut parents[kind as usize];
        parent.own.count(trace, p);
        parent.variants.entry(variant).or_insert(Holders::new(row)).count(trace, p);
        for child in forest.children(row as usize) {
            let held = parent.children.entry(number(*child)).or_insert_with(|| Children {
                all: Holders::new(*child),
                variants: Map::default(),
            });
            held.all.count(trace, p);
            held.variants.entry(variant).or_insert(Holders::new(*child)).count(trace, p);
        }
    }
    named(table, forest, parents)
}

/// What was asked of a service, by the row at which the trace came into it: which lines its caller
/// had written before, below its own entry. Nothing that comes later can have changed that. 0 where
/// nobody called.
fn variants(table: &SpanTable, forest: &Forest, numbers: &[u32]) -> Map<u32, u64> {
    let spans = &table.spans;
    let mut written: Map<u32, Vec<(i64, u32)>> = Map::default();
    for (row, span) in spans.iter().enumerate().filter(|(_, span)| span.line) {
        let line = (span.start, numbers[span.place as usize]);
        written.entry(forest.entry[row]).or_default().push(line);
    }
    let mut out: Map<u32, u64> = Map::default();
    let mut before: Vec<u32> = Vec::new();
    for (row, _) in spans.iter().enumerate().filter(|(row, _)| forest.entry[*row] == *row as u32) {
        let Some(caller) = forest.parent[row] else { continue };
        let Some(lines) = written.get(&forest.entry[caller as usize]) else { continue };
        let called = spans[caller as usize].start;
        before.clear();
        before.extend(lines.iter().filter(|(ts, _)| *ts <= called).map(|(_, line)| *line));
        before.sort_unstable();
        before.dedup();
        let mut hash = Mixer::default();
        before.iter().for_each(|line| hash.write_u32(*line));
        out.insert(row as u32, hash.finish());
    }
    out
}

fn named(table: &SpanTable, forest: &Forest, parents: Vec<Parents>) -> Vec<CallStats> {
    let place = |row: u32| table.places[table.spans[row as usize].place as usize];
    let mut out = Vec::new();
    for parent in parents {
        let row = parent.own.row;
        let (here, entry) = (place(row), place(forest.entry[row as usize]));
        for held in parent.children.values() {
            let child = place(held.all.row);
            out.push(CallStats {
                caller: table.text(here.service),
                caller_entry: table.text(entry.operation),
                caller_operation: table.text(here.operation),
                callee: table.text(child.service),
                callee_operation: table.text(child.operation),
                parents: parent.own.counts,
                with_child: held.all.counts,
                usual: usual(&parent, held),
            });
        }
    }
    out.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
    out
}

/// The share of the window's parents that would have the child if requests of each variant were
/// answered as in the baseline, by indirect standardisation; a variant of which little is known is
/// taken to be like the others.
fn usual(parent: &Parents, child: &Children) -> Usual {
    let (own, all) = (parent.own.counts, child.all.counts);
    let overall = all.baseline as f64 / own.baseline.max(1) as f64;
    let total: u64 = parent.variants.values().map(|h| h.counts.window).sum();
    let mut variants: Vec<(&u64, &Holders)> =
        parent.variants.iter().filter(|(_, h)| h.counts.window > 0).collect();
    variants.sort_unstable_by_key(|(variant, _)| **variant);
    let (mut share, mut variance) = (0.0, 0.0);
    for (variant, holders) in variants {
        let n = holders.counts.baseline as f64;
        let k = child.variants.get(variant).map_or(0.0, |h| h.counts.baseline as f64);
        let weight = holders.counts.window as f64 / total as f64;
        let known = own.baseline as f64;
        let known = if n > 0.0 { known.min(n + BELIEF) } else { known };
        share += weight * (k + BELIEF * overall) / (n + BELIEF);
        variance += weight * weight / known.max(1.0);
    }
    Usual { share, traces: if variance > 0.0 { 1.0 / variance } else { 0.0 } }
}

fn order(c: &CallStats) -> [&str; 5] {
    [&c.caller, &c.caller_entry, &c.caller_operation, &c.callee, &c.callee_operation]
}
