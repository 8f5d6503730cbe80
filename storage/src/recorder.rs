//! The rolling capture: the last raw rows, in memory, so that an incident can keep what led to it.
//!
//! Bounded twice, by event time and by bytes; the oldest rows of all tables go first. Bytes are
//! those of the distinct allocations behind the rows: a dictionary that a thousand batches share,
//! or a buffer that two slices share, counts once.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrayData, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, max, min};
use arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};

use crate::checkpoint::{Checkpoint, Part};
use crate::error::{Error, Result};

/// Names its parts in a checkpoint.
const PART_PREFIX: &str = "recorder-";

/// Rows from which on a segment is not merged with later ones.
const SEGMENT_ROWS: usize = 1 << 18;

#[derive(Debug)]
pub struct Recorder {
    cap_bytes: usize,
    horizon_ns: i64,
    /// A Timestamp(ns) column that every table has.
    ts_column: String,
    tables: BTreeMap<String, Table>,
    memory: Memory,
    /// Greatest event time seen.
    newest: Option<i64>,
    pushed: u64,
    evicted_rows: u64,
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

/// Batches by greatest event time, then by arrival.
type Table = BTreeMap<(i64, u64), Kept>;

#[derive(Debug)]
struct Kept {
    min_ts: i64,
    batch: RecordBatch,
}

impl Recorder {
    /// Keeps rows of the last `horizon_ns` of event time while they take at most `cap_bytes`.
    pub fn new(cap_bytes: usize, horizon_ns: i64, ts_column: &str) -> Self {
        Self {
            cap_bytes,
            horizon_ns,
            ts_column: ts_column.to_owned(),
            tables: BTreeMap::new(),
            memory: Memory::default(),
            newest: None,
            pushed: 0,
            evicted_rows: 0,
            segments: BTreeMap::new(),
        }
    }

    /// Adds a batch whose event times lie in `min_ts..=max_ts`, then evicts what no longer fits: by
    /// age, and the oldest first by bytes. A batch that is too old or too large is evicted itself.
    pub fn push(
        &mut self,
        table: &str,
        min_ts: i64,
        max_ts: i64,
        batch: RecordBatch,
    ) -> Result<()> {
        self.times(table, &batch)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.newest = self.newest.max(Some(max_ts));
        self.memory.add(&batch);
        let kept = Kept { min_ts, batch };
        let key = (max_ts, self.pushed);
        self.pushed += 1;
        match self.tables.get_mut(table) {
            Some(rows) => rows.insert(key, kept),
            None => self.tables.entry(table.to_owned()).or_default().insert(key, kept),
        };
        self.evict();
        Ok(())
    }

    /// The rows of `table` with `from <= ts < to`, in the order of their batches.
    pub fn slice(&self, table: &str, from: i64, to: i64) -> Result<Vec<RecordBatch>> {
        let mut slices = Vec::new();
        let Some(rows) = self.tables.get(table) else {
            return Ok(slices);
        };
        for ((max_ts, _), kept) in rows.range((from, 0)..) {
            if kept.min_ts >= to {
                continue;
            }
            let times = self.times(table, &kept.batch)?;
            if kept.min_ts >= from && *max_ts < to && times.null_count() == 0 {
                slices.push(kept.batch.clone());
                continue;
            }
            let inside: BooleanArray =
                times.iter().map(|ts| Some(ts.is_some_and(|ts| from <= ts && ts < to))).collect();
            let cut = filter_record_batch(&kept.batch, &inside)?;
            if cut.num_rows() > 0 {
                slices.push(cut);
            }
        }
        Ok(slices)
    }

    /// Memory behind the rows kept.
    pub fn bytes(&self) -> usize {
        self.memory.bytes
    }

    /// Rows that made room for newer ones since the recorder was made.
    pub fn evicted_rows(&self) -> u64 {
        self.evicted_rows
    }

    /// The rows kept, as parts of the next checkpoint of one store.
    ///
    /// What was pushed since the last call is a new segment; the others are unchanged. A segment
    /// at least half as large as the one before is merged with it, so a row is written a
    /// logarithmic number of times and a table has few segments.
    pub fn save(&mut self) -> Vec<(String, Part)> {
        let mut parts = Vec::new();
        self.segments.retain(|table, _| self.tables.contains_key(table));
        for (table, rows) in &self.tables {
            let segments = self.segments.entry(table.clone()).or_default();
            let from = segments.last().map_or(0, |last| last.to);
            segments.push(Segment { from, to: self.pushed, rows: 0, written: false });
            let mut batches: BTreeMap<u64, &RecordBatch> = BTreeMap::new();
            batches.extend(rows.iter().map(|((_, number), kept)| (*number, &kept.batch)));
            for segment in segments.iter_mut() {
                let kept = batches.range(segment.from..segment.to);
                segment.rows = kept.map(|(_, batch)| batch.num_rows()).sum();
            }
            segments.retain(|segment| segment.rows > 0);
            merge(segments);
            for segment in segments {
                let (from, to) = (segment.from, segment.to);
                let name = format!("{PART_PREFIX}{from:020}-{to:020}-{table}.arrows");
                let kept = || batches.range(from..to).map(|(_, batch)| (*batch).clone()).collect();
                let written = std::mem::replace(&mut segment.written, true);
                parts.push((name, if written { Part::Unchanged } else { Part::Batches(kept()) }));
            }
        }
        parts
    }

    /// Pushes what [`Self::save`] put into `checkpoint`.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        for name in checkpoint.names() {
            let table = name
                .strip_prefix(PART_PREFIX)
                .and_then(|rest| rest.strip_suffix(".arrows"))
                .and_then(|rest| rest.splitn(3, '-').nth(2));
            let Some(table) = table else { continue };
            for batch in checkpoint.batches(name)? {
                let times = self.times(table, &batch)?;
                if let (Some(first), Some(last)) = (min(times), max(times)) {
                    self.push(table, first, last, batch)?;
                }
            }
        }
        Ok(())
    }

    fn times<'a>(
        &self,
        table: &str,
        batch: &'a RecordBatch,
    ) -> Result<&'a arrow::array::PrimitiveArray<TimestampNanosecondType>> {
        let column = batch.column_by_name(&self.ts_column);
        match column
            .filter(|c| matches!(c.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)))
        {
            Some(column) => Ok(column.as_primitive()),
            None => Err(Error::Batch {
                table: table.to_owned(),
                reason: format!("column {} must be Timestamp(ns)", self.ts_column),
            }),
        }
    }

    fn evict(&mut self) {
        let horizon = self.newest.map(|t| t.saturating_sub(self.horizon_ns));
        while let Some((oldest, table)) = self.oldest() {
            let expired = horizon.is_some_and(|horizon| oldest < horizon);
            if !expired && self.memory.bytes <= self.cap_bytes {
                return;
            }
            let Some(rows) = self.tables.get_mut(&table) else {
                return;
            };
            if let Some((_, kept)) = rows.pop_first() {
                self.memory.remove(&kept.batch);
                self.evicted_rows += kept.batch.num_rows() as u64;
            }
            if rows.is_empty() {
                self.tables.remove(&table);
            }
        }
    }

    /// The batch that ends first; of equals the first table's, so that eviction does not depend on
    /// the order in which tables were pushed.
    fn oldest(&self) -> Option<(i64, String)> {
        let first = |(table, rows): (&String, &Table)| {
            let ((max_ts, _), _) = rows.first_key_value()?;
            Some((*max_ts, table.clone()))
        };
        self.tables.iter().filter_map(first).min()
    }
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

/// Allocations by address, with the number of references from kept batches.
#[derive(Debug, Default)]
struct Memory {
    allocations: HashMap<usize, (usize, usize)>,
    bytes: usize,
}

impl Memory {
    fn add(&mut self, batch: &RecordBatch) {
        for column in batch.columns() {
            visit(&column.to_data(), &mut |address, size| {
                let (references, _) = self.allocations.entry(address).or_insert_with(|| {
                    self.bytes += size;
                    (0, size)
                });
                *references += 1;
            });
        }
    }

    fn remove(&mut self, batch: &RecordBatch) {
        for column in batch.columns() {
            visit(&column.to_data(), &mut |address, _| {
                let Some((references, size)) = self.allocations.get_mut(&address) else {
                    return;
                };
                *references -= 1;
                if *references == 0 {
                    self.bytes -= *size;
                    self.allocations.remove(&address);
                }
            });
        }
    }
}

/// Calls `each` with address and size of every allocation behind `data`.
fn visit(data: &ArrayData, each: &mut impl FnMut(usize, usize)) {
    let validity = data.nulls().map(|n| n.buffer());
    for buffer in data.buffers().iter().chain(validity) {
        if buffer.capacity() > 0 {
            each(buffer.data_ptr().as_ptr() as usize, buffer.capacity());
        }
    }
    for child in data.child_data() {
        visit(child, each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::TimestampNanosecondArray;
    use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
    use proptest::prelude::*;
    use std::sync::Arc;

    use crate::checkpoint::CheckpointStore;

    fn batch(times: &[i64]) -> RecordBatch {
        let ts = TimestampNanosecondArray::from(times.to_vec()).with_timezone("UTC");
        RecordBatch::try_from_iter([("ts", Arc::new(ts) as ArrayRef)]).unwrap()
    }

    fn push(recorder: &mut Recorder, table: &str, times: &[i64]) {
        let (low, high) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        recorder.push(table, *low, *high, batch(times)).unwrap();
    }

    fn times(slices: &[RecordBatch]) -> Vec<i64> {
        let column =
            |b: &RecordBatch| b.column(0).as_primitive::<TimestampNanosecondType>().clone();
        slices.iter().flat_map(|b| column(b).values().to_vec()).collect()
    }

    #[test]
    fn a_shared_dictionary_counts_once() {
        let values: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100_000)]));
        let mut recorder = Recorder::new(usize::MAX, i64::MAX, "ts");
        for i in 0..10 {
            let keys = DictionaryArray::new(Int32Array::from(vec![0; 8]), Arc::clone(&values));
            let ts = TimestampNanosecondArray::from(vec![i; 8]);
            let batch =
                RecordBatch::try_from_iter([("ts", Arc::new(ts) as _), ("k", Arc::new(keys) as _)]);
            recorder.push("t", i, i, batch.unwrap()).unwrap();
        }
        assert!(recorder.bytes() < 110_000, "{}", recorder.bytes());
        assert!(recorder.bytes() >= 100_000);
    }

    #[test]
    fn the_oldest_of_all_tables_goes_first() {
        let one = {
            let mut recorder = Recorder::new(usize::MAX, i64::MAX, "ts");
            push(&mut recorder, "a", &[1, 2, 3, 4]);
            recorder.bytes()
        };
        let mut recorder = Recorder::new(2 * one, i64::MAX, "ts");
        push(&mut recorder, "b", &[10, 10, 10, 10]);
        push(&mut recorder, "a", &[20, 20, 20, 20]);
        push(&mut recorder, "a", &[5, 5, 5, 5]);
        assert_eq!(recorder.slice("a", 0, 100).unwrap().len(), 1);
        push(&mut recorder, "a", &[30, 30, 30, 30]);
        assert!(recorder.slice("b", 0, 100).unwrap().is_empty());
        assert_eq!(recorder.evicted_rows(), 8);
    }

    #[test]
    fn a_table_without_event_time_is_refused() {
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("ts", ids)]).unwrap();
        let err = Recorder::new(1, 1, "ts").push("t", 0, 0, batch).unwrap_err();
        assert!(err.to_string().contains("must be Timestamp(ns)"), "{err}");
    }

    #[test]
    fn a_checkpoint_restores_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = CheckpointStore::open(dir.path()).unwrap();
        let mut before = Recorder::new(usize::MAX, 100, "ts");
        push(&mut before, "metrics", &[1, 2]);
        push(&mut before, "logs-raw", &[3]);
        push(&mut before, "metrics", &[0, 3]);
        store.write(1, "p", before.save(), serde_json::json!(null)).unwrap();
        let mut after = Recorder::new(usize::MAX, 100, "ts");
        after.load(&store.latest().unwrap().unwrap()).unwrap();
        for table in ["metrics", "logs-raw"] {
            let slice = |r: &Recorder| times(&r.slice(table, 0, 10).unwrap());
            assert_eq!(slice(&after), slice(&before));
        }
    }

    #[test]
    fn a_row_is_written_a_few_times_however_many_checkpoints_there_are() {
        let mut recorder = Recorder::new(usize::MAX, i64::MAX, "ts");
        let (mut written, mut most) = (0, 0);
        for i in 0..1_000 {
            push(&mut recorder, "metrics", &[i]);
            let parts = recorder.save();
            most = most.max(parts.len());
            for (_, part) in parts {
                let Part::Batches(batches) = part else { continue };
                written += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            }
        }
        assert!(written <= 10 * 1_000, "{written}");
        assert!(most <= 10, "{most}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Checkpoints at any time, each of them restored: always the rows that are kept.
        #[test]
        fn every_checkpoint_holds_the_rows_that_are_kept(
            pushes in prop::collection::vec(
                (0..2_usize, prop::collection::vec(0..1_000_i64, 1..6), any::<bool>()), 1..40),
            horizon in 0..1_200_i64,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut store = CheckpointStore::open(dir.path()).unwrap();
            let mut recorder = Recorder::new(usize::MAX, horizon, "ts");
            let names = ["a", "b-c"];
            for (epoch, (table, ts, save)) in pushes.into_iter().enumerate() {
                push(&mut recorder, names[table], &ts);
                if !save {
                    continue;
                }
                store.write(epoch as u64, "p", recorder.save(), serde_json::json!(null)).unwrap();
                let mut restored = Recorder::new(usize::MAX, horizon, "ts");
                restored.load(&store.latest().unwrap().unwrap()).unwrap();
                for name in names {
                    let slice = |r: &Recorder| {
                        let mut rows = times(&r.slice(name, 0, 1_000).unwrap());
                        rows.sort_unstable();
                        rows
                    };
                    prop_assert_eq!(slice(&restored), slice(&recorder));
                }
            }
        }

        /// Against a model that keeps every batch and forgets by the same rules, row for row.
        #[test]
        fn slices_hold_exactly_the_rows_not_yet_evicted(
            pushes in prop::collection::vec(
                (0..3_usize, prop::collection::vec(0..1_000_i64, 1..6)), 1..40),
            horizon in 0..1_200_i64,
            from in 0..1_000_i64,
            width in 0..1_000_i64,
        ) {
            let names = ["a", "b", "c"];
            let mut recorder = Recorder::new(usize::MAX, horizon, "ts");
            let mut model: Vec<(usize, Vec<i64>)> = Vec::new();
            let mut newest = i64::MIN;
            for (table, ts) in pushes {
                push(&mut recorder, names[table], &ts);
                newest = newest.max(*ts.iter().max().unwrap());
                model.push((table, ts));
            }
            model.retain(|(_, ts)| *ts.iter().max().unwrap() >= newest - horizon);
            let to = from + width;
            for (table, name) in names.iter().enumerate() {
                let mut got = times(&recorder.slice(name, from, to).unwrap());
                let mut want: Vec<i64> = model.iter()
                    .filter(|(t, _)| *t == table)
                    .flat_map(|(_, ts)| ts.iter().copied())
                    .filter(|ts| (from..to).contains(ts))
                    .collect();
                got.sort_unstable();
                want.sort_unstable();
                prop_assert_eq!(got, want);
            }
        }

        #[test]
        fn the_cap_holds_after_every_push(
            pushes in prop::collection::vec(
                (0..3_usize, prop::collection::vec(0..1_000_i64, 1..50)), 1..60),
            cap in 0..4_000_usize,
        ) {
            let mut recorder = Recorder::new(cap, i64::MAX, "ts");
            let mut rows = 0;
            for (table, ts) in pushes {
                rows += ts.len() as u64;
                push(&mut recorder, ["a", "b", "c"][table], &ts);
                prop_assert!(recorder.bytes() <= cap);
            }
            let kept: usize = ["a", "b", "c"].iter()
                .map(|t| times(&recorder.slice(t, 0, 1_000).unwrap()).len())
                .sum();
            prop_assert_eq!(kept as u64 + recorder.evicted_rows(), rows);
        }
    }
}
