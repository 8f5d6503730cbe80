//! The ingest thread: reads the source, restores order, and feeds jobs and collector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use faultline_storage::checkpoint::{Checkpoint, Part};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::Sender;

use super::checkpoint::{Share, from_bytes, meta, to_bytes, unreadable};
use super::report::Accounts;
use super::{Message, Options, Step, letter};
use crate::error::Result;
use crate::knowledge::DeadRow;
use crate::model::{DAY, MINUTE, Nanos, SECOND};
use crate::monitor::calls::Callers;
use crate::monitor::logs::LogStage;
use crate::source::{Chunk, Next, Source};
use crate::stream::ingest::Feed as Fed;
use crate::stream::ingest::{Clocks, Held, Ingest, IngestConfig, JUMP, Refusal, Refused};
use crate::stream::rows::Rows;
use crate::stream::schema::Stream;
use crate::stream::series::{Registries, SERIES_MAX};

/// How long a source that has nothing is left alone.
const POLL: Duration = Duration::from_millis(200);

/// How often partitions are looked at for one that has fallen idle.
const LOOK: Duration = Duration::from_millis(500);

/// Parts of a checkpoint.
const TEMPLATES: &str = "templates";
const TEMPLATE_IDS: &str = "template-ids.json";
const CALLERS: &str = "callers.json";

/// How far the clocks of live senders may run ahead.
const CLOCK_SKEW: Nanos = 5 * MINUTE;

type Jobs = Vec<(Vec<Stream>, Sender<Step>)>;

/// Everything the ingest thread owns.
pub struct Feed {
    source: Source,
    ingest: Ingest,
    registries: Registries,
    logs: LogStage,
    callers: Callers,
    jobs: Jobs,
    out: Sender<(usize, Message)>,
    accounts: Accounts,
    seen: [Vec<bool>; 4],
    services: BTreeSet<String>,
    /// When each partition of a live source last delivered a row that could be used.
    delivered: BTreeMap<(Stream, u32), Instant>,
    /// A partition that delivers nothing for this long stops holding the watermark back.
    idle_after: Duration,
    /// How often a checkpoint is made, and when the last one was.
    checkpoint_every: Option<Duration>,
    checkpoint_at: Instant,
    /// Something has happened since.
    moved: bool,
    /// How far clocks of senders may run ahead of this one, where rows are live.
    skew: Option<Nanos>,
    speed: Option<f64>,
    started: Option<(Instant, Nanos)>,
    /// The day of event time on which series were numbered.
    numbered: Option<i64>,
    /// Rows whose time had not come when a replay that waits for it was stopped.
    early: Option<u64>,
}

/// What ingest notes in a checkpoint beside its rows.
#[derive(Serialize, Deserialize)]
struct FeedState {
    /// Where the source goes on.
    position: Value,
    clocks: Clocks,
    /// Stream of each batch that waits, and its partition where it is a jump not yet believed.
    held: Vec<(String, Option<u32>)>,
    services: BTreeSet<String>,
    accounts: Accounts,
}

/// The place at which the source of a run goes on.
pub fn position(checkpoint: &Checkpoint) -> Result<Value> {
    Ok(meta::<FeedState>(checkpoint, 0)?.position)
}

fn held_part(i: usize) -> String {
    format!("held-{i}.arrows")
}

/// The other side has gone away: the run failed there.
struct Gone;

impl Feed {
    pub fn new(
        source: Source,
        options: &Options,
        jobs: Jobs,
        out: Sender<(usize, Message)>,
    ) -> Result<Self> {
        let config = IngestConfig {
            lateness: options.lateness,
            not_after: options.not_after,
            // Where rows are live, the clock says what cannot be.
            jump: (!options.live).then_some(JUMP),
            batch_rows: options.batch_rows,
            by_second: options.speed.is_some(),
        };
        let now = Instant::now();
        let mut ingest = Ingest::new(config);
        for (stream, partition) in &options.partitions {
            ingest.declare(*stream, *partition);
        }
        let checkpoints = options.checkpoints.as_ref();
        let mut feed = Self {
            source,
            ingest,
            registries: Registries::new(SERIES_MAX),
            logs: LogStage::default(),
            callers: Callers::default(),
            jobs,
            out,
            accounts: Accounts::default(),
            seen: Default::default(),
            services: BTreeSet::new(),
            delivered: options.partitions.iter().map(|p| (*p, now)).collect(),
            idle_after: options.idle,
            checkpoint_every: checkpoints.map(|c| c.every),
            checkpoint_at: now,
            moved: false,
            skew: options.live.then_some(CLOCK_SKEW),
            speed: options.speed,
            started: None,
            numbered: None,
            early: None,
        };
        if let Some(checkpoint) = checkpoints.and_then(|c| c.resumed.as_ref()) {
            feed.restore(checkpoint)?;
        }
        Ok(feed)
    }

    /// Runs until the source ends, `stop` is set or the collector goes away.
    pub fn run(mut self, stop: &AtomicBool) {
        if let Err(error) = self.pump(stop) {
            // A closed channel here means that the collector has its own error to report.
            let _gone = self.out.blocking_send((0, Message::Failed(error)));
        }
    }

    fn pump(&mut self, stop: &AtomicBool) -> Result<()> {
        let mut looked = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if self.abandoned() {
                return Ok(());
            }
            if let Some(skew) = self.skew {
                self.ingest.set_not_after(now().saturating_add(skew));
            }
            let Self { source, registries, ingest, .. } = &mut *self;
            match source.next(registries, |stream, partition| ingest.wants(stream, partition))? {
                Next::Chunk(chunk) => {
                    if self.chunk(chunk, stop)?.is_err() {
                        return Ok(());
                    }
                }
                Next::Idle => {
                    let released = self.ingest.release(&mut self.registries)?;
                    if self.pass(released, stop)?.is_err() {
                        return Ok(());
                    }
                    std::thread::sleep(POLL);
                }
                Next::End => return self.finish(stop),
            }
            if self.skew.is_some() && looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.find_idle();
            }
            if self.skew.is_some() && self.renumber()?.is_err() {
                return Ok(());
            }
            let due = self.checkpoint_every.is_some_and(|e| self.checkpoint_at.elapsed() >= e);
            if due && self.checkpoint(false, stop)?.is_err() {
                return Ok(());
            }
        }
        // What has begun stays unfinished: half a window is no window.
        if self.checkpoint_every.is_some() && self.checkpoint(true, stop)?.is_err() {
            return Ok(());
        }
        self.end(true);
        Ok(())
    }

    /// The collector has failed, so nobody takes what is read: to be asked before every wait.
    fn abandoned(&self) -> bool {
        self.out.is_closed()
    }

    fn finish(&mut self, stop: &AtomicBool) -> Result<()> {
        let last = self.ingest.end(&mut self.registries)?;
        if self.pass(last, stop)?.is_err() {
            return Ok(());
        }
        if self.early.is_some() {
            self.end(true);
            return Ok(());
        }
        for (_, job) in &self.jobs {
            if job.blocking_send(Step::End).is_err() {
                return Ok(());
            }
        }
        self.end(false);
        Ok(())
    }

    fn end(&mut self, stopped: bool) {
        self.accounts.in_flight = self.ingest.in_flight() as u64 + self.early.unwrap_or(0);
        let templates = if stopped { Vec::new() } else { self.logs.known() };
        let end = Message::End { accounts: self.accounts, stopped, templates };
        let _gone = self.out.blocking_send((0, end));
    }

    /// A partition is idle that had nothing when it was last asked. What lies unread because
    /// nobody asked, as stages were behind or the machine slept, is not missing.
    fn find_idle(&mut self) {
        for ((stream, partition), last) in &self.delivered {
            let asked = self.source.polled(*partition);
            if asked.is_some_and(|asked| asked.duration_since(*last) >= self.idle_after) {
                self.ingest.idle(*stream, *partition);
            }
        }
    }

    /// Once a day, all series are numbered anew, so that those that are gone are forgotten. A
    /// replay ends, and its files remember ids.
    fn renumber(&mut self) -> Result<Result<(), Gone>> {
        let day = self.ingest.watermark().div_euclid(DAY);
        if self.ingest.watermark() == Nanos::MIN {
            return Ok(Ok(()));
        }
        if self.numbered.replace(day).is_none_or(|before| before == day) {
            return Ok(Ok(()));
        }
        self.ingest.renumber(&mut self.registries)?;
        self.seen = Default::default();
        for (_, job) in &self.jobs {
            if job.blocking_send(Step::Renumbered).is_err() {
                return Ok(Err(Gone));
            }
        }
        Ok(Ok(()))
    }

    /// Lets a barrier follow the last watermark through every stage. `last` means that the run
    /// stops behind it.
    fn checkpoint(&mut self, last: bool, stop: &AtomicBool) -> Result<Result<(), Gone>> {
        self.checkpoint_at = Instant::now();
        let released = self.ingest.release(&mut self.registries)?;
        if let Err(gone) = self.pass(released, stop)? {
            return Ok(Err(gone));
        }
        if !std::mem::take(&mut self.moved) && !last {
            return Ok(Ok(()));
        }
        for (_, job) in &self.jobs {
            if job.blocking_send(Step::Barrier).is_err() {
                return Ok(Err(Gone));
            }
        }
        let share = self.share()?;
        Ok(self.send(Message::Barrier { share, last }))
    }

    fn share(&self) -> Result<Share> {
        let mut share = Share::default();
        let mut templates = Vec::new();
        let history = self.logs.write(&mut templates);
        share.parts.push((TEMPLATES.to_owned(), Part::Bytes(templates)));
        share.parts.push((TEMPLATE_IDS.to_owned(), to_bytes(history)?));
        share.templates = self.logs.known();
        share.parts.push((CALLERS.to_owned(), to_bytes(&self.callers)?));
        let (clocks, waiting) = self.ingest.save()?;
        let mut held = Vec::new();
        for (i, rows) in waiting.into_iter().enumerate() {
            held.push((rows.stream.name().to_owned(), rows.jump));
            share.parts.push((held_part(i), Part::Batches(vec![rows.batch])));
        }
        let state = FeedState {
            position: self.source.position(),
            clocks,
            held,
            services: self.services.clone(),
            accounts: self.accounts,
        };
        share.meta = serde_json::to_value(state).map_err(unreadable)?;
        Ok(share)
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let state: FeedState = meta(checkpoint, 0)?;
        let history = checkpoint.bytes(TEMPLATE_IDS);
        let history = from_bytes(history.map_err(|_| unreadable("it has no template ids"))?)?;
        let templates = LogStage::read(checkpoint.bytes(TEMPLATES)?, history);
        self.logs = templates.ok_or_else(|| unreadable("the log templates are damaged"))?;
        self.callers = from_bytes(checkpoint.bytes(CALLERS)?)?;
        let mut waiting = Vec::new();
        for (i, (stream, jump)) in state.held.into_iter().enumerate() {
            let stream = Stream::parse(&stream).ok_or_else(|| unreadable("an unknown stream"))?;
            for batch in checkpoint.batches(&held_part(i))? {
                waiting.push(Held { stream, jump, batch });
            }
        }
        self.ingest.restore(state.clocks, waiting, &mut self.registries)?;
        self.services = state.services;
        self.accounts = state.accounts;
        Ok(())
    }

    fn chunk(&mut self, chunk: Chunk, stop: &AtomicBool) -> Result<Result<(), Gone>> {
        self.moved = true;
        self.accounts.received += chunk.received();
        self.accounts.dead += chunk.rejected();
        let progress = Message::Progress(chunk.bytes);
        let dead: Vec<DeadRow> = chunk.dead.iter().map(letter::unreadable).collect();
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
        let before = self.ingest.accepted(chunk.stream, chunk.partition);
        let refused = self.ingest.push(chunk.stream, chunk.partition, chunk.batch)?;
        let heard = self.ingest.accepted(chunk.stream, chunk.partition) > before;
        if let Some(at) = self.delivered.get_mut(&(chunk.stream, chunk.partition)).filter(|_| heard)
        {
            *at = Instant::now();
        }
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
            let (due, rows) = match &item {
                Fed::Rows(_, rows) => (rows.ts.first().copied(), rows.batch.num_rows() as u64),
                Fed::Watermark(watermark) => (Some(*watermark), 0),
                Fed::Refused(_) | Fed::End => (None, 0),
            };
            if due.is_some_and(|due| !self.comes(due, stop)) {
                self.early = Some(self.early.unwrap_or(0) + rows);
                continue;
            }
            let sent = match item {
                Fed::Rows(stream, rows) => {
                    let rows = match stream {
                        Stream::Logs => {
                            self.logs.annotate(rows, self.registries.get_mut(stream))?
                        }
                        Stream::Spans => self.callers.annotate(rows)?,
                        Stream::Metrics | Stream::Changes => rows,
                    };
                    self.accounts.processed += rows.batch.num_rows() as u64;
                    self.rows(stream, rows)
                }
                Fed::Watermark(watermark) => self.watermark(watermark),
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

    fn watermark(&mut self, watermark: Nanos) -> Result<(), Gone> {
        self.moved = true;
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
        let file = self.source.file(refused.partition);
        self.send(Message::Dead(vec![letter::refused(refused, file)]))
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
                let room = self.services.len() < SERIES_MAX;
                if room && self.services.insert(service.to_owned()) {
                    out.push((rows.ts[row], self.services.len()));
                }
            }
        }
        out
    }

    /// Waits until a replay has come to this event time; `false` if it is stopped before.
    fn comes(&mut self, due: Nanos, stop: &AtomicBool) -> bool {
        let Some(speed) = self.speed else { return true };
        if self.early.is_some() {
            return false;
        }
        let (start, first) = *self.started.get_or_insert((Instant::now(), due));
        let recorded = (due - first).max(0) as f64 / SECOND as f64;
        let due = Duration::from_secs_f64(recorded / speed.max(1e-3));
        while let Some(wait) = due.checked_sub(start.elapsed()) {
            if stop.load(Ordering::Relaxed) || self.abandoned() {
                return false;
            }
            std::thread::sleep(wait.min(POLL));
        }
        true
    }
}

/// The clock is read at the source only.
pub fn now() -> Nanos {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |d| Nanos::try_from(d.as_nanos()).unwrap_or(Nanos::MAX))
}
