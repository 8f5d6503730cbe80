//! The ingest thread: reads the source, restores order, and feeds jobs and collector.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use tokio::sync::mpsc::Sender;

use super::report::Accounts;
use super::{Message, Options, Step};
use crate::error::Result;
use crate::knowledge::DeadRow;
use crate::model::{MINUTE, Nanos, SECOND};
use crate::monitor::logs::LogStage;
use crate::source::{Chunk, Next, Source};
use crate::stream::ingest::{Feed as Fed, Ingest, IngestConfig, Refusal, Refused};
use crate::stream::rows::Rows;
use crate::stream::schema::Stream;
use crate::stream::series::Registries;

/// Series of one stream beyond which new ones share an overflow series.
const SERIES_MAX: usize = 2_000_000;

/// How long a source that has nothing is left alone.
const POLL: Duration = Duration::from_millis(200);

/// A partition that delivers nothing for this long stops holding the watermark back.
const IDLE: Duration = Duration::from_secs(30);

/// How far the clocks of live senders may run ahead.
const CLOCK_SKEW: Nanos = 5 * MINUTE;

type Jobs = Vec<(Vec<Stream>, Sender<Step>)>;

/// Everything the ingest thread owns.
pub struct Feed {
    source: Source,
    ingest: Ingest,
    registries: Registries,
    logs: LogStage,
    jobs: Jobs,
    out: Sender<(usize, Message)>,
    accounts: Accounts,
    seen: [Vec<bool>; 4],
    services: BTreeSet<String>,
    /// Partitions that are waited for from the start.
    expected: Vec<(Stream, u32)>,
    /// How far clocks of senders may run ahead of this one, where rows are live.
    skew: Option<Nanos>,
    speed: Option<f64>,
    started: Option<(Instant, Nanos)>,
}

/// The other side has gone away: the run failed there.
struct Gone;

impl Feed {
    pub fn new(
        source: Source,
        options: &Options,
        jobs: Jobs,
        out: Sender<(usize, Message)>,
    ) -> Self {
        let config = IngestConfig {
            lateness: options.lateness,
            not_after: options.not_after,
            batch_rows: options.batch_rows,
        };
        Self {
            source,
            ingest: Ingest::new(config),
            registries: Registries::new(SERIES_MAX),
            logs: LogStage::default(),
            jobs,
            out,
            accounts: Accounts::default(),
            seen: Default::default(),
            services: BTreeSet::new(),
            expected: options.partitions.clone(),
            skew: options.live.then_some(CLOCK_SKEW),
            speed: options.speed,
            started: None,
        }
    }

    /// Runs until the source ends, `stop` is set or the collector goes away.
    pub fn run(mut self, stop: &AtomicBool) {
        if let Err(error) = self.pump(stop) {
            // A closed channel here means that the collector has its own error to report.
            let _gone = self.out.blocking_send((0, Message::Failed(error)));
        }
    }

    fn pump(&mut self, stop: &AtomicBool) -> Result<()> {
        let mut quiet_since: Option<Instant> = None;
        let mut partitions: BTreeSet<(Stream, u32)> = self.expected.iter().copied().collect();
        for (stream, partition) in &partitions {
            self.ingest.declare(*stream, *partition);
        }
        while !stop.load(Ordering::Relaxed) {
            if let Some(skew) = self.skew {
                self.ingest.set_not_after(now().saturating_add(skew));
            }
            match self.source.next(&mut self.registries)? {
                Next::Chunk(chunk) => {
                    quiet_since = None;
                    partitions.insert((chunk.stream, chunk.partition));
                    if self.chunk(chunk, stop)?.is_err() {
                        return Ok(());
                    }
                }
                Next::Idle => {
                    let since = *quiet_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= IDLE {
                        for (stream, partition) in &partitions {
                            self.ingest.idle(*stream, *partition);
                        }
                    }
                    let released = self.ingest.release(&mut self.registries)?;
                    if self.pass(released, stop)?.is_err() {
                        return Ok(());
                    }
                    std::thread::sleep(POLL);
                }
                Next::End => break,
            }
        }
        let stopped = stop.load(Ordering::Relaxed);
        if !stopped {
            let last = self.ingest.end(&mut self.registries)?;
            if self.pass(last, stop)?.is_err() {
                return Ok(());
            }
        }
        self.accounts.in_flight = self.ingest.in_flight() as u64;
        let end = Message::End { accounts: self.accounts, stopped };
        for (_, job) in &self.jobs {
            if job.blocking_send(Step::End).is_err() {
                return Ok(());
            }
        }
        let _gone = self.out.blocking_send((0, end));
        Ok(())
    }

    fn chunk(&mut self, chunk: Chunk, stop: &AtomicBool) -> Result<Result<(), Gone>> {
        self.accounts.received += chunk.received();
        self.accounts.dead += chunk.rejected();
        let progress = Message::Progress(chunk.bytes);
        let dead: Vec<DeadRow> = chunk.dead.iter().map(dead_letter).collect();
        if !dead.is_empty() && self.out.blocking_send((0, Message::Dead(dead))).is_err() {
            return Ok(Err(Gone));
        }
        if self.out.blocking_send((0, progress)).is_err() {
            return Ok(Err(Gone));
        }
        self.ingest.declare(chunk.stream, chunk.partition);
        if let Some(reached) = chunk.reached {
            self.ingest.merged_to(reached);
        }
        let refused = self.ingest.push(chunk.stream, chunk.partition, chunk.batch)?;
        if let Err(gone) = self.pass(refused, stop)? {
            return Ok(Err(gone));
        }
        if chunk.last {
            self.ingest.idle(chunk.stream, chunk.partition);
        }
        if !self.ingest.full() {
            return Ok(Ok(()));
        }
        let released = self.ingest.release(&mut self.registries)?;
        self.pass(released, stop)
    }

    fn pass(&mut self, fed: Vec<Fed>, stop: &AtomicBool) -> Result<Result<(), Gone>> {
        for item in fed {
            let sent = match item {
                Fed::Rows(stream, rows) => {
                    let rows = match stream {
                        Stream::Logs => {
                            self.logs.annotate(rows, self.registries.get_mut(stream))?
                        }
                        Stream::Metrics | Stream::Spans | Stream::Changes => rows,
                    };
                    self.accounts.processed += rows.batch.num_rows() as u64;
                    self.rows(stream, rows)
                }
                Fed::Watermark(watermark) => self.watermark(watermark, stop),
                Fed::Refused(refused) => self.refuse(&refused),
                Fed::End => Ok(()),
            };
            if sent.is_err() {
                return Ok(Err(Gone));
            }
        }
        Ok(Ok(()))
    }

    fn rows(&mut self, stream: Stream, rows: Rows) -> Result<(), Gone> {
        for (at, count) in self.new_services(stream, &rows) {
            self.send(Message::Services(at, count))?;
        }
        for (streams, job) in &self.jobs {
            if streams.contains(&stream) {
                job.blocking_send(Step::Rows(stream, rows.clone())).map_err(|_| Gone)?;
            }
        }
        self.send(Message::Rows(stream, rows))
    }

    fn watermark(&mut self, watermark: Nanos, stop: &AtomicBool) -> Result<(), Gone> {
        self.pace(watermark, stop);
        for (_, job) in &self.jobs {
            job.blocking_send(Step::Watermark(watermark)).map_err(|_| Gone)?;
        }
        self.send(Message::Watermark(watermark))
    }

    fn refuse(&mut self, refused: &Refused) -> Result<(), Gone> {
        match refused.reason {
            Refusal::Late => self.accounts.late += 1,
            Refusal::Future => self.accounts.rejected += 1,
        }
        self.send(Message::Dead(vec![refused_letter(refused)]))
    }

    fn send(&self, message: Message) -> Result<(), Gone> {
        self.out.blocking_send((0, message)).map_err(|_| Gone)
    }

    /// Services of these rows that were never seen before, and how many there are then.
    fn new_services(&mut self, stream: Stream, rows: &Rows) -> Vec<(Nanos, usize)> {
        let keys = rows.batch.column(1).as_dictionary::<UInt32Type>().keys();
        let seen = &mut self.seen[stream as usize];
        let mut out = Vec::new();
        for (row, key) in keys.values().iter().enumerate() {
            let at = *key as usize;
            if at >= seen.len() {
                seen.resize(at + 1, false);
            }
            if !std::mem::replace(&mut seen[at], true) {
                let service = self.registries.get(stream).text(1, *key);
                if self.services.insert(service.to_owned()) {
                    out.push((rows.ts[row], self.services.len()));
                }
            }
        }
        out
    }

    /// Holds a replay back to its speed.
    fn pace(&mut self, watermark: Nanos, stop: &AtomicBool) {
        let Some(speed) = self.speed else { return };
        let (start, first) = *self.started.get_or_insert((Instant::now(), watermark));
        let recorded = (watermark - first).max(0) as f64 / SECOND as f64;
        let due = Duration::from_secs_f64(recorded / speed.max(1e-3));
        while let Some(wait) = due.checked_sub(start.elapsed()) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(wait.min(POLL));
        }
    }
}

/// The clock is read at the source only.
pub fn now() -> Nanos {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |d| Nanos::try_from(d.as_nanos()).unwrap_or(Nanos::MAX))
}

fn dead_letter(letter: &crate::source::DeadLetter) -> DeadRow {
    DeadRow {
        stream: letter.stream,
        file: letter.file.clone(),
        line: letter.line,
        rows: letter.rows,
        reason: letter.reason.as_str().to_owned(),
        detail: letter.detail.to_string(),
        text: letter.text.clone(),
    }
}

/// A row that was read but came too late or too early; its file position is no longer known.
fn refused_letter(refused: &Refused) -> DeadRow {
    let mut text = String::new();
    for (field, column) in refused.row.schema().fields().iter().zip(refused.row.columns()) {
        let value = arrow::util::display::array_value_to_string(column, 0).unwrap_or_default();
        if !value.is_empty() && text.len() < crate::source::DEAD_TEXT_BYTES_MAX {
            text += &format!("{}={value} ", field.name());
        }
    }
    let end = crate::source::escape::boundary(&text, crate::source::DEAD_TEXT_BYTES_MAX);
    text.truncate(end);
    let detail = match refused.reason {
        Refusal::Late => "older than the watermark; raise `lateness` if such rows are usual",
        Refusal::Future => "too far in the future; check the clock of the sender",
    };
    DeadRow {
        stream: refused.stream,
        file: format!("partition {}", refused.partition),
        line: 0,
        rows: 1,
        reason: refused.reason.as_str().to_owned(),
        detail: detail.to_owned(),
        text: text.trim_end().to_owned(),
    }
}
