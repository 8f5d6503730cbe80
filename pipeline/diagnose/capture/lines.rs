//! Log lines to counts of their templates.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use super::super::columns::{Row, Table};
use super::super::telemetry::{Control, Period, TemplateCounts};
use crate::error::Result;
use crate::model::stable_id;
use crate::monitor::template::trace::trace_owner;

/// The body comes first: of the lines of one time the one with the smallest is the first.
const COLUMNS: [&str; 8] =
    ["body", "service", "instance", "severity", "template_id", "template", "trace_id", "span_id"];
const BODY: usize = 0;
pub const SERVICE: usize = 1;
pub const INSTANCE: usize = 2;
const SEVERITY: usize = 3;
const TEMPLATE_ID: usize = 4;
pub const TEMPLATE: usize = 5;
pub const TRACE: usize = 6;
pub const SPAN: usize = 7;

/// Lines in order.
pub fn read(batches: &[RecordBatch], cluster: &str, period: Period) -> Result<Table> {
    let mut table = Table::read(batches, cluster, period, &COLUMNS, None)?;
    table.sort();
    Ok(table)
}

/// Lines per template of each instance in both periods, and the ids as written. What a template
/// says, how severe it is and who owns it is read from its earliest line.
pub fn count(
    lines: &Table,
    control: &Control,
    window: Period,
) -> (Vec<TemplateCounts>, BTreeMap<u64, String>) {
    let (numbers, earliest) = lines.groups([SERVICE, INSTANCE, TEMPLATE_ID, TEMPLATE]);
    let mut seen = vec![(0, 0); earliest.len()];
    for (row, number) in lines.rows.iter().zip(numbers) {
        let (before, now) = &mut seen[number as usize];
        *before += u64::from(control.contains(row.ts));
        *now += u64::from(window.contains(row.ts));
    }
    let mut counts: BTreeMap<(&str, &str, u64), TemplateCounts> = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for (row, (before, now)) in earliest.into_iter().zip(seen) {
        let written = lines.text(row, TEMPLATE_ID);
        let id = number(written, lines.text(row, TEMPLATE));
        let key = (lines.text(row, SERVICE), lines.text(row, INSTANCE), id);
        let entry = counts.entry(key).or_insert_with(|| {
            ids.entry(id).or_insert_with(|| written.to_owned());
            first(lines, row, id)
        });
        entry.baseline += before;
        entry.window += now;
    }
    let counts = counts.into_values().filter(|t| t.baseline + t.window > 0).collect();
    (counts, ids)
}

fn first(lines: &Table, row: Row, template_id: u64) -> TemplateCounts {
    TemplateCounts {
        service: lines.text(row, SERVICE).to_owned(),
        instance: lines.text(row, INSTANCE).to_owned(),
        template_id,
        template: lines.text(row, TEMPLATE).to_owned(),
        severity: lines.text(row, SEVERITY).to_owned(),
        owner: trace_owner(lines.text(row, BODY).as_bytes()).map(str::to_owned),
        baseline: 0,
        window: 0,
        first_seen: row.ts,
    }
}

/// Ids are hexadecimal; lines without one are told apart by their template.
fn number(id: &str, template: &str) -> u64 {
    let hex = |text: &str| u64::from_str_radix(text, 16);
    hex(id).or_else(|_| hex(&stable_id(&[id, template]))).unwrap_or_default()
}
