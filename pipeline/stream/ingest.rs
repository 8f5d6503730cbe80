//! From what sources deliver to what jobs read: event time checked, late rows set aside, order
//! restored.
//!
//! A row is judged by its own partition alone, in arrival order, so the verdict does not depend on
//! batch boundaries or on how partitions interleave. Accepted rows wait until the watermark has
//! passed them and leave sorted by event time, series and content. Everything behind this file
//! therefore sees the same rows in the same order, however they arrived.

use std::collections::BTreeMap;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use arrow::record_batch::RecordBatch;

use super::reorder::Reorder;
use super::rows::Rows;
use super::schema::Stream;
use super::series::Registries;
pub use super::verdict::{JUMP_ROWS, Refusal};
use super::verdict::{Judged, Partition, Rules, Verdict, in_order, time_of};
use crate::error::{Error, Result};
use crate::model::{DAY, Nanos, SECOND};

/// A row this far ahead of its partition is not believed at once, where no clock bounds it.
pub const JUMP: Nanos = DAY;

/// Watermarks move in steps of this length.
const STEP: Nanos = SECOND;

#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// How far a row may lie behind the newest row of its partition.
    pub lateness: Nanos,
    /// Rows later than this are refused; set from the clock at the source, where there is one.
    pub not_after: Nanos,
    /// How far a row may be ahead of its partition before it is held back; `None` where the clock
    /// at the source bounds it well enough. Changes are never held back: they are rare by nature.
    pub jump: Option<Nanos>,
    /// Largest batch that is passed on, and how many rows may wait before a watermark is made.
    pub batch_rows: usize,
    /// A watermark follows each second that has rows, for a reader that waits until it is over.
    pub by_second: bool,
}

/// Waiting rows from which on only the slowest partition is read.
const WAITING_MAX: usize = 1 << 18;

/// A refused row.
#[derive(Clone, Debug)]
pub struct Refused {
    pub stream: Stream,
    pub partition: u32,
    pub reason: Refusal,
    /// One row in the stream's columns.
    pub row: RecordBatch,
}

/// What follows from a step.
#[derive(Debug)]
pub enum Feed {
    Rows(Stream, Rows),
    Watermark(Nanos),
    Refused(Refused),
    End,
}

/// All partitions of all streams.
pub struct Ingest {
    config: IngestConfig,
    partitions: BTreeMap<(Stream, u32), Partition>,
    waiting: BTreeMap<Stream, Reorder>,
    watermark: Nanos,
    /// How far a source that merges its partitions has come.
    merged: Option<Nanos>,
}

impl Ingest {
    pub fn new(config: IngestConfig) -> Self {
        let waiting = Stream::ALL.into_iter().map(|s| (s, Reorder::new(s))).collect();
        Self { config, partitions: BTreeMap::new(), waiting, watermark: Nanos::MIN, merged: None }
    }

    /// Announces a partition, so that the watermark waits for it.
    pub fn declare(&mut self, stream: Stream, partition: u32) {
        self.partitions.entry((stream, partition)).or_default();
    }

    /// Rows later than this are refused from now on; the clock at the source moves it.
    pub fn set_not_after(&mut self, not_after: Nanos) {
        self.config.not_after = not_after;
    }

    /// Event time up to which everything has been passed on.
    pub fn watermark(&self) -> Nanos {
        self.watermark
    }

    /// Rows that wait for the watermark.
    pub fn in_flight(&self) -> usize {
        let jumps: usize = self.partitions.values().map(|p| p.jump.len()).sum();
        self.waiting.values().map(Reorder::len).sum::<usize>() + jumps
    }

    /// Accepts a batch of one partition.
    pub fn push(
        &mut self,
        stream: Stream,
        partition: u32,
        batch: RecordBatch,
    ) -> Result<Vec<Feed>> {
        let rules = self.rules(stream);
        let p = self.partitions.entry((stream, partition)).or_default();
        let before = p.accepted;
        let ts = batch.column(0).as_primitive::<TimestampNanosecondType>().values().clone();
        let mut judged = Judged::default();
        let mut keep: Option<Vec<bool>> = None;
        for (row, t) in ts.iter().enumerate() {
            if p.jump.is_empty() && rules.judge(p, *t) == Verdict::Keep {
                p.accept(*t);
                continue;
            }
            keep.get_or_insert_with(|| vec![true; ts.len()])[row] = false;
            rules.offer(p, batch.slice(row, 1), &mut judged);
        }
        // Who sends nothing that can be used is as good as silent.
        p.silent &= p.accepted == before;
        let batch = match keep {
            None => batch,
            Some(keep) => filter_record_batch(&batch, &BooleanArray::from(keep))?,
        };
        if batch.num_rows() > 0 {
            self.wait(stream, batch);
        }
        Ok(self.settle(stream, partition, judged))
    }

    fn rules(&self, stream: Stream) -> Rules {
        let IngestConfig { lateness, not_after, jump, .. } = self.config;
        let jump = jump.filter(|_| stream != Stream::Changes);
        Rules { lateness, not_after, jump, released: self.watermark }
    }

    fn wait(&mut self, stream: Stream, batch: RecordBatch) {
        self.waiting.entry(stream).or_insert_with(|| Reorder::new(stream)).push(batch);
    }

    /// Lets accepted rows wait for the watermark; returns the refused ones.
    fn settle(&mut self, stream: Stream, partition: u32, judged: Judged) -> Vec<Feed> {
        for row in judged.kept {
            self.wait(stream, row);
        }
        let refused = |(reason, row)| Feed::Refused(Refused { stream, partition, reason, row });
        judged.refused.into_iter().map(refused).collect()
    }

    /// Believes jumps to before `until`: event time has come to them.
    fn believe_before(&mut self, until: Nanos) -> Vec<Feed> {
        let mut out = Vec::new();
        let held = self.partitions.iter().filter(|(_, p)| !p.jump.is_empty());
        for (stream, partition) in held.map(|(key, _)| *key).collect::<Vec<_>>() {
            let rules = self.rules(stream);
            let p = self.partitions.entry((stream, partition)).or_default();
            let mut judged = Judged::default();
            let due = |p: &Partition| match p.begun() {
                true => p.jump.first().is_some_and(|row| time_of(row) < until),
                false => p.jump.iter().any(|row| time_of(row) < until),
            };
            while due(p) {
                rules.believe(p, &mut judged);
            }
            out.extend(self.settle(stream, partition, judged));
        }
        out
    }

    /// Believes the first rows of partitions that have no more than these.
    fn begin_all(&mut self) -> Vec<Feed> {
        let mut out = Vec::new();
        let short = self.partitions.iter().filter(|(_, p)| !p.begun() && !p.jump.is_empty());
        for (stream, partition) in short.map(|(key, _)| *key).collect::<Vec<_>>() {
            let rules = self.rules(stream);
            let p = self.partitions.entry((stream, partition)).or_default();
            let mut judged = Judged::default();
            rules.believe(p, &mut judged);
            out.extend(self.settle(stream, partition, judged));
        }
        out
    }

    /// The source delivers partitions merged by event time and has come to `ts`: but for the
    /// lateness nothing older follows on any of them, also on those not seen yet.
    pub fn merged_to(&mut self, ts: Nanos) {
        if ts <= self.config.not_after {
            self.merged = Some(self.merged.map_or(ts, |m| m.max(ts)));
        }
    }

    /// A partition delivers nothing for now; it stops holding the watermark back.
    pub fn idle(&mut self, stream: Stream, partition: u32) {
        self.partitions.entry((stream, partition)).or_default().silent = true;
    }

    /// Rows of a partition that were accepted so far: only these are a sign of life.
    pub fn accepted(&self, stream: Stream, partition: u32) -> u64 {
        self.partitions.get(&(stream, partition)).map_or(0, |p| p.accepted)
    }

    /// Whether rows of a partition are wanted. Where very many wait, only those that hold the
    /// watermark back are: the others would but add to them.
    pub fn wants(&self, stream: Stream, partition: u32) -> bool {
        let waiting: usize = self.waiting.values().map(Reorder::len).sum();
        if waiting < WAITING_MAX {
            return true;
        }
        let slowest = self.partitions.values().filter(|p| !p.silent).map(|p| p.newest).min();
        let own = self.partitions.get(&(stream, partition));
        own.is_none_or(|own| slowest.is_none_or(|slowest| own.newest <= slowest))
    }

    /// True when enough rows wait for it to be worth moving the watermark.
    pub fn full(&self) -> bool {
        self.waiting.values().map(Reorder::len).sum::<usize>() >= self.config.batch_rows
    }

    /// Moves the watermark as far as the partitions allow and passes on the rows behind it.
    pub fn release(&mut self, registries: &mut Registries) -> Result<Vec<Feed>> {
        let lateness = self.config.lateness;
        let open = self.partitions.values().filter(|p| !p.silent);
        let combined = self.merged.or_else(|| open.map(|p| p.newest).min());
        let combined = combined.map(|newest| newest.saturating_sub(lateness));
        let watermark =
            combined.map_or(self.watermark, |w| w.div_euclid(STEP).saturating_mul(STEP));
        self.release_to(watermark, registries)
    }

    /// Passes on everything that waits: nothing will follow.
    pub fn end(&mut self, registries: &mut Registries) -> Result<Vec<Feed>> {
        let mut out = self.begin_all();
        let newest = |p: &BTreeMap<_, Partition>| p.values().map(|p| p.newest).max();
        let ahead = newest(&self.partitions).unwrap_or(Nanos::MIN).saturating_add(JUMP);
        // Nothing can follow on these any more, and they are not far from the others.
        out.extend(self.believe_before(ahead.saturating_add(1)));
        for ((stream, partition), p) in &mut self.partitions {
            if in_order(&p.jump, self.config.lateness) {
                let waiting = self.waiting.entry(*stream).or_insert_with(|| Reorder::new(*stream));
                for row in std::mem::take(&mut p.jump) {
                    p.accept(time_of(&row));
                    waiting.push(row);
                }
            }
            for row in std::mem::take(&mut p.jump) {
                let (stream, partition, reason) = (*stream, *partition, Refusal::Future);
                out.push(Feed::Refused(Refused { stream, partition, reason, row }));
            }
        }
        let newest = newest(&self.partitions).unwrap_or(Nanos::MIN);
        if newest > Nanos::MIN {
            out.extend(self.release_to((newest.div_euclid(STEP) + 1) * STEP, registries)?);
        }
        out.push(Feed::End);
        Ok(out)
    }

    fn release_to(&mut self, watermark: Nanos, registries: &mut Registries) -> Result<Vec<Feed>> {
        if watermark <= self.watermark {
            return Ok(Vec::new());
        }
        let mut out = self.believe_before(watermark);
        while self.watermark < watermark {
            let next = if self.config.by_second { self.next_second() } else { None };
            self.watermark = next.map_or(watermark, |next| next.min(watermark));
            for (stream, waiting) in &mut self.waiting {
                let registry = registries.get_mut(*stream);
                for rows in waiting.release(self.watermark, registry, self.config.batch_rows)? {
                    out.push(Feed::Rows(*stream, rows));
                }
            }
            out.push(Feed::Watermark(self.watermark));
        }
        Ok(out)
    }

    /// The end of the second of the first row that waits.
    fn next_second(&self) -> Option<Nanos> {
        let first = self.waiting.values().filter_map(Reorder::first).min()?;
        Some(first.div_euclid(STEP).saturating_add(1).saturating_mul(STEP))
    }

    /// Clocks and waiting rows for a checkpoint; with these no other series than theirs.
    pub fn save(&self) -> Result<(Clocks, Vec<Held>)> {
        let partition = |((stream, partition), p): (&(Stream, u32), &Partition)| PartitionClock {
            stream: stream.name().to_owned(),
            partition: *partition,
            newest: p.newest,
            silent: p.silent,
        };
        let clocks = Clocks {
            watermark: self.watermark,
            merged: self.merged,
            partitions: self.partitions.iter().map(partition).collect(),
        };
        let mut own = Registries::new(usize::MAX);
        let mut held = |stream, jump, batch: &RecordBatch| {
            let batch = own.get_mut(stream).adopt(batch)?;
            Ok::<_, Error>(Held { stream, jump, batch })
        };
        let mut out = Vec::new();
        for (stream, waiting) in &self.waiting {
            for batch in waiting.batches() {
                out.push(held(*stream, None, batch)?);
            }
        }
        for ((stream, partition), p) in &self.partitions {
            for row in &p.jump {
                out.push(held(*stream, Some(*partition), row)?);
            }
        }
        Ok((clocks, out))
    }

    /// Numbers series anew, so that those are forgotten of which no row waits.
    pub fn renumber(&mut self, registries: &mut Registries) -> Result<()> {
        registries.clear();
        for (stream, waiting) in &mut self.waiting {
            waiting.adopt(registries.get_mut(*stream))?;
        }
        for ((stream, _), p) in &mut self.partitions {
            for row in &mut p.jump {
                *row = registries.get_mut(*stream).adopt(row)?;
            }
        }
        Ok(())
    }

    /// Goes on where [`Self::save`] was called.
    pub fn restore(
        &mut self,
        clocks: Clocks,
        waiting: Vec<Held>,
        registries: &mut Registries,
    ) -> Result<()> {
        self.watermark = clocks.watermark;
        self.merged = clocks.merged;
        for clock in clocks.partitions {
            let Some(stream) = Stream::parse(&clock.stream) else { continue };
            let p = self.partitions.entry((stream, clock.partition)).or_default();
            (p.newest, p.silent) = (clock.newest, clock.silent);
        }
        for Held { stream, jump, batch } in waiting {
            let batch = registries.get_mut(stream).adopt(&batch)?;
            match jump {
                Some(partition) => {
                    self.partitions.entry((stream, partition)).or_default().jump.push(batch);
                }
                None => self.wait(stream, batch),
            }
        }
        Ok(())
    }
}

/// Rows that had not been passed on at a checkpoint.
#[derive(Clone, Debug)]
pub struct Held {
    pub stream: Stream,
    /// The partition, where the rows are part of a jump in time that is not yet believed.
    pub jump: Option<u32>,
    pub batch: RecordBatch,
}

/// How far every partition, and all of them together, have come.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Clocks {
    watermark: Nanos,
    merged: Option<Nanos>,
    partitions: Vec<PartitionClock>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct PartitionClock {
    stream: String,
    partition: u32,
    newest: Nanos,
    silent: bool,
}
