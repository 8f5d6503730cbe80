//! Log lines to counts of their templates.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;

use super::super::columns::{Row, Table};
use super::super::telemetry::{Control, Period, TemplateCounts};
use super::wording::Wordings;
use crate::error::Result;
use crate::model::stable_id;
use crate::monitor::template::trace::trace_owner;

/// The body comes first: of the lines of one time the one with the smallest is the first.
const COLUMNS: [&str; 8] =
    ["body", "service", "instance", "severity", "template_id", "template", "trace_id", "span_id"];
const BODY: usize = 0;
pub const SERVICE: usize = 1;
pub const INSTANCE: usize = 2;
pub const SEVERITY: usize = 3;
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

/// Lines per wording of each instance in both periods, and by service and id of a wording the
/// templates that are worded so. What a wording says, how severe it is and who owns it is read from
/// its earliest line.
pub fn count(
    lines: &Table,
    wordings: &Wordings,
    control: &Control,
    window: Period,
) -> (Vec<TemplateCounts>, Worded) {
    let (numbers, earliest) = lines.groups([SERVICE, INSTANCE, TEMPLATE_ID, TEMPLATE]);
    let mut seen = vec![(0, 0, 0, ""); earliest.len()];
    for (index, (row, number)) in lines.rows.iter().zip(numbers).enumerate() {
        let (before, now, wording, text) = &mut seen[number as usize];
        *before += u64::from(control.contains(row.ts));
        *now += u64::from(window.contains(row.ts));
        (*wording, *text) = (wordings.number(index), wordings.text(index));
    }
    // The smallest id stands for all that are worded alike.
    let mut ids: BTreeMap<u32, u64> = BTreeMap::new();
    for (row, (_, _, wording, _)) in earliest.iter().zip(&seen) {
        let id = number(lines.text(*row, TEMPLATE_ID), lines.text(*row, TEMPLATE));
        let known = ids.entry(*wording).or_insert(id);
        *known = id.min(*known);
    }
    let mut counts: BTreeMap<(&str, &str, u64), TemplateCounts> = BTreeMap::new();
    let mut templates = Worded::new();
    for (row, (before, now, wording, text)) in earliest.into_iter().zip(seen) {
        let (service, instance) = (lines.text(row, SERVICE), lines.text(row, INSTANCE));
        let id = ids[&wording];
        let written = [TEMPLATE_ID, TEMPLATE].map(|column| lines.text(row, column).to_owned());
        templates.entry((service.to_owned(), id)).or_default().insert(written);
        let entry = counts.entry((service, instance, id)).or_insert_with(|| TemplateCounts {
            template: text.to_owned(),
            ..first(lines, row, id)
        });
        entry.baseline += before;
        entry.window += now;
    }
    let counts = counts.into_values().filter(|t| t.baseline + t.window > 0).collect();
    (counts, templates)
}

/// Templates by id and text.
pub type Templates = BTreeSet<[String; 2]>;

/// What was counted under the id of a wording, by service and id.
pub type Worded = BTreeMap<(String, u64), Templates>;

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
