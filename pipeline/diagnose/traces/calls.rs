//! What kinds of spans and lines stand below which, and in how many traces.

use super::super::telemetry::{CallStats, Counts};
use super::{Forest, Map, Place, SpanTable, bump};

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

/// One kind of parent, and its kinds of children by the number of their operation.
struct Parents {
    own: Holders,
    children: Map<u32, Holders>,
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
    let mut kinds: Map<u64, u32> = Map::default();
    let mut parents: Vec<Parents> = Vec::new();
    for row in rows {
        let Some(p) = period[row as usize] else { continue };
        let trace = table.spans[row as usize].trace;
        let kind = u64::from(number(forest.entry[row as usize])) << 32 | u64::from(number(row));
        let next = parents.len() as u32;
        let kind = *kinds.entry(kind).or_insert(next);
        if kind == next {
            parents.push(Parents { own: Holders::new(row), children: Map::default() });
        }
        let parent = &mut parents[kind as usize];
        parent.own.count(trace, p);
        for child in forest.children(row as usize) {
            let held = parent.children.entry(number(*child)).or_insert(Holders::new(*child));
            held.count(trace, p);
        }
    }
    named(table, forest, parents)
}

fn named(table: &SpanTable, forest: &Forest, parents: Vec<Parents>) -> Vec<CallStats> {
    let place = |row: u32| table.places[table.spans[row as usize].place as usize];
    let mut out = Vec::new();
    for parent in parents {
        let row = parent.own.row;
        let (here, entry) = (place(row), place(forest.entry[row as usize]));
        for held in parent.children.into_values() {
            let child = place(held.row);
            out.push(CallStats {
                caller: table.text(here.service),
                caller_entry: table.text(entry.operation),
                caller_operation: table.text(here.operation),
                callee: table.text(child.service),
                callee_operation: table.text(child.operation),
                parents: parent.own.counts,
                with_child: held.counts,
            });
        }
    }
    out.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
    out
}

fn order(c: &CallStats) -> [&str; 5] {
    [&c.caller, &c.caller_entry, &c.caller_operation, &c.callee, &c.callee_operation]
}
