//! The rolling capture: the last raw rows, in memory, so that an incident can keep what led to it.
//!
//! Bounded twice, by event time and by bytes. Rows are forgotten in slots of event time and as of
//! an event time that the caller names, and a row's bytes are those of its own values. What is kept
//! is therefore decided by the rows before that time alone: not by how they were cut into batches,
//! nor by how many later ones have come already. Where bytes run short, the table that takes most
//! gives up its oldest slot, so one that is chatty does not push out the others.
//!
//! Interned columns count by their keys: their dictionary is bounded elsewhere. It grows with every
//! new series, into another array each time, so that rows kept would keep one copy of it per batch;
//! all of a table therefore share the newest that begins with theirs. A buffer behind several slots
//! goes with the last of them.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};

use crate::checkpoint::{Checkpoint, Part};
use crate::error::{Error, Result};

/// Names its parts in a checkpoint.
const PART_PREFIX: &str = "recorder-";

/// The part that says from which slot on each table is kept.
const FLOORS: &str = "recorder-floors.json";

/// Length of a slot in nanoseconds.
const SLOT: i64 = 60 * 1_000_000_000;

/// Rows from which on a segment is not merged with later ones.
const SEGMENT_ROWS: usize = 1 << 18;

#[derive(Debug)]
pub struct Recorder {
    cap_bytes: usize,
    horizon_ns: i64,
    /// A Timestamp(ns) column that every table has.
    ts_column: String,
    tables: BTreeMap<String, Table>,
    /// Slots before this one are over.
    reached: i64,
    pushed: u64,
    /// What checkpoints already hold of each table, oldest first.
    segments: BTreeMap<String, Vec<Segment>>,
}

/// The batches of a table that were pushed as number `from` to `to`, as one part of a checkpoint.
#[derive(Debug)]
struct Segment {
    from: u64,
    to: u64,
    /// Rows of it that are still kept.
    rows: usize,
    written: bool,
}

#[derive(Debug)]
struct Table {
    /// By their number, event time over [`SLOT`].
    slots: BTreeMap<i64, Slot>,
    /// Of the slots that are over.
    bytes: usize,
    /// Slots before this one have been forgotten.
    floor: i64,
    /// The newest dictionary of each column; `None` for a column that has none.
    dictionaries: Vec<Option<Newest>>,
    /// Batches of slots that are over have older ones.
    outgrown: bool,
}

/// A dictionary, and the number of the first batch whose own one it begins with.
#[derive(Clone, Debug)]
struct Newest {
    values: ArrayRef,
    since: u64,
}

#[derive(Debug, Default)]
struct Slot {
    bytes: usize,
    /// With their number, in the order in which they came.
    batches: Vec<(u64, RecordBatch)>,
}

impl Default for Table {
    fn default() -> Self {
        let (slots, dictionaries) = (BTreeMap::new(), Vec::new());
        Self { slots, bytes: 0, floor: i64::MIN, dictionaries, outgrown: false }
    }
}

impl Table {
    /// Gives a batch, which will be number `number`, and those of the slots from `reached` on, the
    /// newest dictionaries.
    fn share(&mut self, batch: &RecordBatch, number: u64, reached: i64) -> Result<RecordBatch> {
        self.dictionaries.resize(batch.num_columns(), None);
        let mut grown = false;
        for (newest, column) in self.dictionaries.iter_mut().zip(batch.columns()) {
            let Some(column) = column.as_any_dictionary_opt() else { continue };
            let values = column.values();
            match newest {
                Some(newest) if begins_with(&newest.values, values) => {}
                Some(newest) if begins_with(values, &newest.values) => {
                    newest.values = values.clone();
                    grown = true;
                }
                _ => *newest = Some(Newest { values: values.clone(), since: number }),
            }
        }
        if grown {
            self.outgrown = true;
            self.renew(reached)?;
        }
        with_dictionaries(batch, number, &self.dictionaries)
    }

    fn renew(&mut self, from: i64) -> Result<()> {
        for slot in self.slots.range_mut(from..).map(|(_, slot)| slot) {
            for (number, batch) in &mut slot.batches {
                *batch = with_dictionaries(batch, *number, &self.dictionaries)?;
            }
        }
        Ok(())
    }

    fn forget_oldest(&mut self, reached: i64) {
        let Some((number, slot)) = self.slots.pop_first() else { return };
        if number < reached {
            self.bytes -= slot.bytes;
        }
        self.floor = number + 1;
    }
}

impl Recorder {
    /// Keeps rows of the last `horizon_ns` of event time while they take at most `cap_bytes`. Rows
    /// of the slot that is not over yet, and later ones, come on top.
    pub fn new(cap_bytes: usize, horizon_ns: i64, ts_column: &str) -> Self {
        Self {
            cap_bytes,
            horizon_ns,
            ts_column: ts_column.to_owned(),
            tables: BTreeMap::new(),
            reached: i64::MIN,
            pushed: 0,
            segments: BTreeMap::new(),
        }
    }

    /// Adds a batch. Rows of a slot that the table has forgotten are forgotten themselves.
    ///
    /// The dictionary of an interned column grows, or it is another one from here on.
    ///
    /// # Errors
    /// [`Error::Batch`] where there is no event time, or a column of a type that is not recorded:
    /// anything but numbers, times, booleans, text and interned text.
    pub fn push(&mut self, table: &str, batch: RecordBatch) -> Result<()> {
        let times = self.times(table, &batch)?.values().clone();
        let (mut from, reached) = (0, self.reached);
        let kept = match self.tables.get_mut(table) {
            Some(kept) => kept,
            None => self.tables.entry(table.to_owned()).or_default(),
        };
        let batch = kept.share(&batch, self.pushed, reached)?;
        while let Some(first) = times.get(from) {
            let number = first.div_euclid(SLOT);
            let same = |ts: &i64| ts.div_euclid(SLOT) == number;
            let rows = times[from..].iter().take_while(|ts| same(ts)).count();
            let part = batch.slice(from, rows);
            from += rows;
            if number < kept.floor {
                continue;
            }
            let bytes = logical_bytes(table, &part)?;
            let slot = kept.slots.entry(number).or_default();
            slot.bytes += bytes;
            slot.batches.push((self.pushed, part));
            self.pushed += 1;
            if number < reached {
                kept.bytes += bytes;
            }
        }
        Ok(())
    }

    /// Forgets, as of event time `now`, what is too old and what no longer fits. Every row before
    /// `now` has been pushed.
    ///
    /// # Errors
    /// [`Error::Arrow`] where batches of a table are not of one schema.
    pub fn advance(&mut self, now: i64) -> Result<()> {
        let until = now.div_euclid(SLOT);
        while let Some(number) = self.next_over(until) {
            for table in self.tables.values_mut().filter(|table| table.outgrown) {
                table.renew(i64::MIN)?;
                table.outgrown = false;
            }
            self.reached = number + 1;
            for table in self.tables.values_mut() {
                table.bytes += table.slots.get(&number).map_or(0, |slot| slot.bytes);
            }
            self.shrink();
        }
        self.reached = self.reached.max(until);
        self.shrink();
        Ok(())
    }

    /// The next slot with rows that is over by then.
    fn next_over(&self, until: i64) -> Option<i64> {
        let first = |table: &Table| {
            let number = *table.slots.range(self.reached..).next()?.0;
            (number < until).then_some(number)
        };
        self.tables.values().filter_map(first).min()
    }

    fn shrink(&mut self) {
        let oldest = self.reached.saturating_mul(SLOT).saturating_sub(self.horizon_ns);
        let expired = |number: i64| (number + 1).saturating_mul(SLOT) <= oldest;
        for table in self.tables.values_mut() {
            while table.slots.first_key_value().is_some_and(|(number, _)| expired(*number)) {
                table.forget_oldest(self.reached);
            }
        }
        while self.tables.values().map(|table| table.bytes).sum::<usize>() > self.cap_bytes {
            let Some(largest) = self.tables.values_mut().max_by_key(|table| table.bytes) else {
                return;
            };
            largest.forget_oldest(self.reached);
        }
    }

    /// The rows of `table` with `from <= ts < to`, by slot, then in the order in which they came.
    pub fn slice(&self, table: &str, from: i64, to: i64) -> Result<Vec<RecordBatch>> {
        let mut slices = Vec::new();
        let Some(kept) = self.tables.get(table) else {
            return Ok(slices);
        };
        for (number, slot) in kept.slots.range(from.div_euclid(SLOT)..) {
            let (start, end) = (number.saturating_mul(SLOT), (number + 1).saturating_mul(SLOT));
            if start >= to {
                break;
            }
            for (_, batch) in &slot.batches {
                if from <= start && end <= to {
                    slices.push(batch.clone());
                    continue;
                }
                let times = self.times(table, batch)?.values();
                let inside: BooleanArray =
                    times.iter().map(|ts| Some(from <= *ts && *ts < to)).collect();
                let cut = filter_record_batch(batch, &inside)?;
                if cut.num_rows() > 0 {
                    slices.push(cut);
                }
            }
        }
        Ok(slices)
    }

    /// The rows kept, as parts of the next checkpoint of one store.
    ///
    /// What was pushed since the last call is a new segment; the others are unchanged, though some
    /// of their rows may be forgotten. A segment at least half as large as the one before is merged
    /// with it, so a row is written a logarithmic number of times and a table has few segments.
    pub fn save(&mut self) -> Result<Vec<(String, Part)>> {
        let floors: BTreeMap<&str, i64> =
            self.tables.iter().map(|(name, table)| (name.as_str(), table.floor)).collect();
        let floors = serde_json::to_vec(&floors).map_err(unreadable)?;
        let mut parts = vec![(FLOORS.to_owned(), Part::Bytes(floors))];
        for (name, table) in &self.tables {
            let segments = self.segments.entry(name.clone()).or_default();
            let from = segments.last().map_or(0, |last| last.to);
            segments.push(Segment { from, to: self.pushed, rows: 0, written: false });
            let kept = table.slots.values().flat_map(|slot| &slot.batches);
            let batches: BTreeMap<u64, &RecordBatch> = kept.map(|(n, batch)| (*n, batch)).collect();
            for segment in segments.iter_mut() {
                let kept = batches.range(segment.from..segment.to);
                segment.rows = kept.map(|(_, batch)| batch.num_rows()).sum();
            }
            segments.retain(|segment| segment.rows > 0);
            merge(segments);
            for segment in segments {
                let (from, to) = (segment.from, segment.to);
                let part = format!("{PART_PREFIX}{from:020}-{to:020}-{name}.arrows");
                let kept = || batches.range(from..to).map(|(_, batch)| (*batch).clone()).collect();
                let written = std::mem::replace(&mut segment.written, true);
                parts.push((part, if written { Part::Unchanged } else { Part::Batches(kept()) }));
            }
        }
        Ok(parts)
    }

    /// Goes on with what [`Self::save`] put into `checkpoint`.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        if checkpoint.names().any(|name| name == FLOORS) {
            let floors = serde_json::from_slice(checkpoint.bytes(FLOORS)?);
            let floors: BTreeMap<String, i64> = floors.map_err(unreadable)?;
            for (name, floor) in floors {
                self.tables.entry(name).or_default().floor = floor;
            }
        }
        for name in checkpoint.names() {
            let table = name
                .strip_prefix(PART_PREFIX)
                .and_then(|rest| rest.strip_suffix(".arrows"))
                .and_then(|rest| rest.splitn(3, '-').nth(2));
            let Some(table) = table else { continue };
            for batch in checkpoint.batches(name)? {
                self.push(table, batch)?;
            }
        }
        Ok(())
    }

    fn times<'a>(
        &self,
        table: &str,
        batch: &'a RecordBatch,
    ) -> Result<&'a arrow::array::PrimitiveArray<TimestampNanosecondType>> {
        let timed = |c: &&arrow::array::ArrayRef| {
            let timestamp = matches!(c.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _));
            timestamp && c.null_count() == 0
        };
        match batch.column_by_name(&self.ts_column).filter(timed) {
            Some(column) => Ok(column.as_primitive()),
            None => Err(Error::Batch {
                table: table.to_owned(),
                reason: format!("column {} must be Timestamp(ns) without nulls", self.ts_column),
            }),
        }
    }
}

/// True if the texts of `long` are, at first, those of `short`.
fn begins_with(long: &ArrayRef, short: &ArrayRef) -> bool {
    let same = || long.to_data().ptr_eq(&short.to_data());
    let begins = || long.slice(0, short.len()).as_ref() == short.as_ref();
    long.len() >= short.len() && (same() || begins())
}

fn with_dictionaries(
    batch: &RecordBatch,
    number: u64,
    newest: &[Option<Newest>],
) -> Result<RecordBatch> {
    let column = |(column, newest): (&ArrayRef, &Option<Newest>)| match (
        column.as_any_dictionary_opt(),
        newest,
    ) {
        (Some(old), Some(newest)) if number >= newest.since => {
            old.with_values(newest.values.clone())
        }
        _ => column.clone(),
    };
    let columns = batch.columns().iter().zip(newest).map(column).collect();
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// Bytes of the values, the same however rows are cut into batches.
fn logical_bytes(table: &str, batch: &RecordBatch) -> Result<usize> {
    let rows = batch.num_rows();
    let mut bytes = 0;
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let fixed = match column.data_type() {
            DataType::Boolean => Some(1),
            DataType::Utf8 => {
                let offsets = column.as_string::<i32>().value_offsets();
                let ends = offsets.first().zip(offsets.last());
                bytes += ends.map_or(0, |(first, last)| (last - first) as usize);
                Some(size_of::<i32>())
            }
            DataType::Dictionary(key, _) => key.primitive_width(),
            other => other.primitive_width(),
        };
        let Some(width) = fixed else {
            let (name, kind) = (field.name(), column.data_type());
            let reason = format!("column {name} is {kind}, which is not recorded");
            return Err(Error::Batch { table: table.to_owned(), reason });
        };
        bytes += rows * width;
    }
    Ok(bytes)
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::Damaged { path: FLOORS.into(), reason: error.to_string() }
}

/// Merges the last segments until each is less than half as large as the one before.
fn merge(segments: &mut Vec<Segment>) {
    while let [.., before, last] = segments.as_mut_slice() {
        if before.rows >= SEGMENT_ROWS || 2 * last.rows < before.rows {
            return;
        }
        before.to = last.to;
        before.rows += last.rows;
        before.written = false;
        segments.pop();
    }
}

#[cfg(test)]
mod tests;
