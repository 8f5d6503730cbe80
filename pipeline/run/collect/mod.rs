//! The collector: brings rows and signals to the same event time and turns them into cases.

mod cases;
mod causes;
mod commit;
mod dead;
mod resume;
mod templates;

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use faultline_storage::recorder::Recorder;
use tokio::sync::mpsc;

use self::cases::{DIAGNOSIS_WINDOW, Waiting};
use self::causes::Past;
use self::dead::DeadLetters;
use self::templates::Templates;
use super::checkpoint::{Checkpoints, Share};
use super::refine::Refiner;
use super::report::{Observer, Report};
use super::room::Room;
use super::{Message, Options, Queue, common_mark};
use crate::error::{Error, Result};
use crate::knowledge::load::Edition;
use crate::knowledge::{ClosedCase, DeadRow, Library, Writer};
use crate::model::{DAY, Diagnosis, HOUR, Nanos, SECOND, Severity, Signal};
use crate::monitor::calls::Calls;
use crate::monitor::correlate::{Correlator, Input, Output, Watched};
use crate::monitor::signals::{self, Origin};
use crate::monitor::topology::Topology;
use crate::stream::Job;
use crate::stream::rows::Rows;
use crate::stream::schema::Stream;

/// Step in which incidents are advanced.
const TICK: Nanos = 10 * SECOND;

/// What of a job its signals carry, and how often it makes one of a series.
pub struct JobName {
    name: String,
    hash: String,
    severity: Severity,
    pace: Option<Nanos>,
}

impl JobName {
    pub fn of(job: &Job) -> Self {
        Self {
            name: job.file.name.clone(),
            hash: job.hash.clone(),
            severity: job.file.severity,
            pace: job.pace(),
        }
    }
}

pub struct Collector {
    options: Options,
    jobs: Vec<JobName>,
    correlator: Correlator,
    calls: Calls,
    recorder: Recorder,
    writer: Option<Writer>,
    checkpoints: Option<Checkpoints>,
    room: Room,
    /// Number of the last checkpoint.
    epoch: u64,
    observer: Box<dyn Observer>,
    refiner: Refiner,
    library: Library,
    /// Of what people have brought to the library.
    edition: Edition,
    waiting: BTreeMap<String, Waiting>,
    /// Signals that belong nowhere yet, by id.
    unsettled: BTreeMap<String, Signal>,
    settled: Vec<(Signal, Option<String>)>,
    past: Vec<Past>,
    cases: Vec<ClosedCase>,
    dead: DeadLetters,
    /// Rows that were no signals, by job.
    left_out: Vec<u64>,
    series: Vec<usize>,
    services: usize,
    /// Changes of who is watched since the last tick, by event time.
    census: Vec<(Nanos, usize, usize)>,
    services_seen: Vec<(Nanos, usize)>,
    templates: Templates,
    commits: [i64; 4],
    /// Event time up to which everything is done.
    reached: Nanos,
    report: Report,
}

impl Collector {
    pub fn new(
        mut options: Options,
        jobs: Vec<JobName>,
        topology: Topology,
        writer: Option<Writer>,
        library: Library,
        observer: Box<dyn Observer>,
        room: Room,
    ) -> Result<Self> {
        let correlator = Correlator::new(options.correlate.clone(), topology);
        let recorder = Recorder::new(options.capture_bytes, DAY + HOUR, "ts");
        let (series, left_out) = (vec![0; jobs.len()], vec![0; jobs.len()]);
        let refiner = Refiner::new(options.advisor.clone(), options.live);
        let checkpoints = options.checkpoints.take();
        let mut collector = Self {
            options,
            jobs,
            correlator,
            calls: Calls::default(),
            recorder,
            writer,
            checkpoints,
            room,
            epoch: 0,
            observer,
            refiner,
            library,
            edition: Edition::default(),
            waiting: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            settled: Vec::new(),
            past: Vec::new(),
            cases: Vec::new(),
            dead: DeadLetters::default(),
            left_out,
            series,
            services: 0,
            census: Vec::new(),
            services_seen: Vec::new(),
            templates: Templates::default(),
            commits: [0; 4],
            reached: Nanos::MIN,
            report: Report::default(),
        };
        collector.restore()?;
        let paces = collector.jobs.iter().filter_map(|job| Some((job.name.clone(), job.pace?)));
        collector.correlator.set_paces(paces.collect());
        Ok(collector)
    }

    /// Takes messages until every origin has ended.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<(usize, Message)>) -> Result<Report> {
        self.deliver_resumed().await?;
        let mut queues: Vec<Queue> = Vec::new();
        queues.resize_with(self.jobs.len() + 1, Queue::default);
        let mut known = Vec::new();
        let mut ended = vec![false; queues.len()];
        while let Some((origin, message)) = inbox.recv().await {
            match message {
                Message::Failed(error) => return Err(error),
                Message::Progress(bytes) => {
                    self.observer.progress(bytes, self.reached);
                }
                Message::End { accounts, stopped, templates } => {
                    ended[origin] = true;
                    if origin == 0 {
                        known = templates;
                        self.report.accounts = accounts;
                        self.report.stopped = stopped;
                    }
                }
                // Rows that cannot be read move no watermark: they must not pile up before one.
                Message::Dead(letters) if origin == 0 && queues[0].marks.is_empty() => {
                    self.bury(letters);
                }
                other => queues[origin].push(other),
            }
            while let Some(mark) = common_mark(&queues) {
                let upto = mark.unwrap_or(Nanos::MAX);
                let mut barriers = Vec::new();
                for (origin, queue) in queues.iter_mut().enumerate() {
                    barriers.extend(self.take(origin, queue, upto)?);
                }
                match mark {
                    Some(watermark) => self.advance(watermark).await?,
                    None => self.checkpoint(barriers).await?,
                }
            }
            if ended.iter().all(|e| *e) {
                for (origin, queue) in queues.iter_mut().enumerate() {
                    self.take(origin, queue, Nanos::MAX)?;
                }
                return self.finish(&known).await;
            }
        }
        Err(Error::StageStopped { stage: "a job".into() })
    }

    /// Takes what one origin has said up to a watermark or its next barrier, which is returned.
    fn take(
        &mut self,
        origin: usize,
        queue: &mut Queue,
        upto: Nanos,
    ) -> Result<Option<(Share, bool)>> {
        while let Some(message) = queue.pop() {
            match message {
                Message::Rows(stream, rows) => self.rows(stream, &rows)?,
                Message::Signals(batches) => self.signals(origin - 1, &batches),
                Message::Census(counts) => {
                    self.census.extend(counts.into_iter().map(|(at, n)| (at, origin - 1, n)));
                }
                Message::Services(at, count) => self.services_seen.push((at, count)),
                Message::Dead(letters) => self.bury(letters),
                Message::Watermark(w) if w >= upto => return Ok(None),
                Message::Barrier { share, last } => return Ok(Some((share, last))),
                Message::Watermark(_) | Message::Progress(_) => {}
                Message::End { .. } | Message::Failed(_) => {}
            }
        }
        Ok(None)
    }

    fn rows(&mut self, stream: Stream, rows: &Rows) -> Result<()> {
        self.recorder.push(stream.name(), rows.batch.clone())?;
        if stream == Stream::Spans {
            for (at, edge) in self.calls.observe(rows) {
                self.correlator.step(Input::Edges { at, edges: vec![edge] });
            }
        }
        Ok(())
    }

    fn signals(&mut self, job: usize, batches: &[RecordBatch]) {
        let name = &self.jobs[job];
        let origin = Origin { job: &name.name, hash: &name.hash, severity: name.severity };
        let found: Vec<_> = batches.iter().flat_map(|b| signals::read(&origin, b)).collect();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        self.leave_out(job, (rows - found.len()) as u64);
        for found in found {
            let signals::Found { ongoing, signal } = found;
            if ongoing {
                self.correlator.step(Input::Ongoing(signal));
                continue;
            }
            self.report.signals += 1;
            self.observer.signal(&signal);
            self.unsettled.insert(signal.id.clone(), signal.clone());
            for output in self.correlator.step(Input::Signal(signal)) {
                self.settle_one(output);
            }
        }
    }

    /// Rows of a job that are no signals are counted, and told of whenever they have doubled.
    fn leave_out(&mut self, job: usize, rows: u64) {
        let before = self.left_out[job];
        let rows = before + rows;
        self.left_out[job] = rows;
        if rows > 0 && before.checked_ilog2() < rows.checked_ilog2() {
            tracing::warn!(
                job = self.jobs[job].name,
                rows,
                "rows for signals whose window ends before it begins, or is longer than any, are \
                 left out; let the job write window.start and window.end"
            );
        }
    }

    /// Event time has reached `watermark` everywhere. Time moves on in even ticks, so that what
    /// follows does not depend on how often a watermark comes.
    async fn advance(&mut self, watermark: Nanos) -> Result<()> {
        self.tell_watched();
        if self.reached == Nanos::MIN {
            // All of a small input may come with its first watermark.
            let first = self.next_due().map_or(watermark, |due| due.min(watermark));
            self.reached = (first.div_euclid(TICK) - 1) * TICK;
        }
        let last = watermark.div_euclid(TICK) * TICK;
        while self.reached < last {
            // What lies between would find nothing to do.
            let due = self.next_due().filter(|at| *at <= last).unwrap_or(last);
            let next = due.saturating_sub(1).div_euclid(TICK) * TICK + TICK;
            self.tick(next.max(self.reached + TICK)).await?;
        }
        self.observer.progress(0, self.reached);
        self.commit().await
    }

    /// When something is to be done next, if nothing more comes.
    fn next_due(&self) -> Option<Nanos> {
        let diagnoses = self.waiting.values().filter_map(|w| w.due);
        diagnoses.chain(self.correlator.next_at()).min()
    }

    async fn tick(&mut self, now: Nanos) -> Result<()> {
        self.reached = now;
        self.recorder.advance(now)?;
        for output in self.correlator.step(Input::Watermark(now)) {
            self.output(output).await?;
        }
        let due = self.waiting.iter().filter_map(|(id, w)| Some((id.clone(), w.due?)));
        for (id, due) in due.filter(|(_, due)| *due <= now).collect::<Vec<_>>() {
            self.diagnose(&id, due).await?;
        }
        Ok(())
    }

    /// Who is watched, as of the event times at which that changed.
    fn tell_watched(&mut self) {
        let mut changes: Vec<(Nanos, Option<usize>, usize)> =
            self.census.drain(..).map(|(at, job, n)| (at, Some(job), n)).collect();
        changes.extend(self.services_seen.drain(..).map(|(at, n)| (at, None, n)));
        changes.sort_unstable();
        for (at, job, n) in changes {
            match job {
                Some(job) => self.series[job] = n,
                None => self.services = n,
            }
            let series = self.series.iter().sum::<usize>() as u64;
            let watched = Watched { services: self.services.max(1) as u64, series: series.max(1) };
            self.correlator.step(Input::Watched { at, watched });
        }
    }

    async fn output(&mut self, output: Output) -> Result<()> {
        match output {
            Output::Opened(incident) => {
                let sampled = Input::Sampled {
                    incident_id: incident.id.clone(),
                    step: self.sampling(&incident)?,
                };
                self.correlator.step(sampled);
                if self.options.live {
                    let title = self.title(&incident, &Diagnosis::default());
                    self.observer.opened(&incident, &title, incident.opened_at + DIAGNOSIS_WINDOW);
                }
                let waiting = Waiting::new(incident);
                self.waiting.insert(waiting.incident.id.clone(), waiting);
            }
            Output::Grew { incident_id, signal } => {
                if let Some(w) = self.waiting.get_mut(&incident_id) {
                    w.incident.signals.push(signal);
                }
            }
            Output::Raised { incident_id, signal } => {
                self.report.signals += 1;
                self.observer.signal(&signal);
                self.settled.push((signal, Some(incident_id)));
            }
            settled @ Output::Settled { .. } => self.settle_one(settled),
            Output::Merged { incident, signal_count, .. }
            | Output::Closed { incident, signal_count } => {
                self.close(incident, signal_count).await?;
            }
            Output::Notify(notification) => {
                if let Some(webhook) = &self.options.webhook {
                    webhook.send(notification);
                }
            }
        }
        Ok(())
    }

    fn settle_one(&mut self, output: Output) {
        if let Output::Settled { signal_id, incident_id } = output
            && let Some(signal) = self.unsettled.remove(&signal_id)
        {
            self.settled.push((signal, incident_id));
        }
    }

    fn bury(&mut self, letters: Vec<DeadRow>) {
        if self.options.live {
            self.dead.warn(&letters);
        }
        self.dead.bury(letters);
    }
}
