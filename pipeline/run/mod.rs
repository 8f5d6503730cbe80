//! The wiring of a run. Live and replay are one code path: a replay is a run whose sources are
//! files.
//!
//! ```text
//! source -> ingest -> templates -+-> job 1 -+
//!                                +-> job 2 -+-> collect: incidents -> diagnosis -> plan -> archive
//!                                +-> rows --+
//! ```
//!
//! Every stage has a thread or task of its own and passes on through bounded channels. The
//! collector advances only when every job and the rows themselves have reached the same watermark,
//! so the result does not depend on how the stages were scheduled.

mod changes;
mod checkpoint;
mod collect;
mod feed;
mod letter;
mod refine;
mod report;
mod room;
mod webhook;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::mpsc;

use checkpoint::Share;

use crate::diagnose::advise::Advisor;
use crate::error::{Error, Result};
use crate::knowledge::{Library, Model, Writer, load};
use crate::model::{Nanos, SECOND};
use crate::monitor::correlate::CorrelateConfig;
use crate::monitor::template::history::Known;
use crate::monitor::topology::Topology;
use crate::source::Source;
use crate::stream::Job;
use crate::stream::driver::Driver;
use crate::stream::rows::Rows;
use crate::stream::schema::Stream;

pub use checkpoint::Checkpoints;
pub use feed::{now, position};
pub use letter::EXPRESSION;
pub use report::{Accounts, Observer, Report, SetAside};
pub use webhook::{Webhook, WebhookConfig};

/// Messages that may wait between two stages.
const CHANNEL: usize = 64;

/// How a run is carried out; none of it changes what comes out.
pub struct Options {
    /// Rows in a batch at most.
    pub batch_rows: usize,
    /// Where a source does not name the cluster.
    pub cluster: String,
    pub lateness: Nanos,
    /// Rows later than this are refused.
    pub not_after: Nanos,
    /// Replays at this multiple of the recorded speed; as fast as possible where `None`.
    pub speed: Option<f64>,
    /// Bytes of raw telemetry kept for diagnosis.
    pub capture_bytes: usize,
    pub correlate: CorrelateConfig,
    /// Identifies input and configuration, so that a second run finds what the first wrote.
    pub run_id: String,
    /// The source has no end: incidents are archived one by one as they close.
    pub live: bool,
    /// Partitions of a live source that the watermark waits for before they deliver.
    pub partitions: Vec<(Stream, u32)>,
    /// How long it waits for one that delivers nothing.
    pub idle: Duration,
    /// A live run goes on from where it was, however it ended.
    pub checkpoints: Option<Checkpoints>,
    pub archive: Option<PathBuf>,
    /// The language model that ranks causes again.
    pub advisor: Option<Arc<Advisor>>,
    /// Who is told of incidents.
    pub webhook: Option<Webhook>,
}

impl Options {
    pub fn new(cluster: &str, not_after: Nanos) -> Self {
        Self {
            batch_rows: 8192,
            cluster: cluster.to_owned(),
            lateness: 5 * SECOND,
            not_after,
            speed: None,
            capture_bytes: 256 << 20,
            correlate: CorrelateConfig::default(),
            run_id: String::new(),
            live: false,
            partitions: Vec::new(),
            idle: Duration::from_secs(30),
            checkpoints: None,
            archive: None,
            advisor: None,
            webhook: None,
        }
    }
}

/// What ingest passes to jobs and collector.
#[derive(Clone)]
enum Step {
    Rows(Stream, Rows),
    Watermark(Nanos),
    /// Series have other ids from here on.
    Renumbered,
    Barrier,
    /// The input is over, and every window with it.
    End,
}

/// Messages to the collector, by origin: 0 is ingest, job `n` is `n + 1`.
enum Message {
    Rows(Stream, Rows),
    Dead(Vec<crate::knowledge::DeadRow>),
    /// Input bytes read.
    Progress(u64),
    Signals(Vec<arrow::record_batch::RecordBatch>),
    Census(Vec<(Nanos, usize)>),
    /// A service was first seen at this event time; how many there are now.
    Services(Nanos, usize),
    Watermark(Nanos),
    /// State as of the last watermark. `last` where the run stops behind it.
    Barrier {
        share: Share,
        last: bool,
    },
    End {
        accounts: Accounts,
        stopped: bool,
        /// What ingest knows of template ids, where its input is over.
        templates: Vec<Known>,
    },
    Failed(Error),
}

/// Runs jobs over a source until it ends or `stop` is set.
///
/// # Errors
/// The first error of any stage. What was archived before stays, and the same call goes on from it.
pub async fn run(
    source: Source,
    topology: Vec<(String, String)>,
    jobs: Vec<Job>,
    options: Options,
    observer: Box<dyn Observer>,
    stop: Arc<AtomicBool>,
) -> Result<Report> {
    let writer = match &options.archive {
        Some(dir) => Some(Writer::open(dir).await?),
        None => None,
    };
    let library = match &writer {
        Some(writer) => load::load(writer.archive(), Model::built_in()).await?,
        None => Library::new(Model::built_in())?,
    };
    let lateness = jobs.iter().filter_map(|j| j.lateness).max().unwrap_or(0);
    let options = Options { lateness: options.lateness.max(lateness), ..options };
    let (out, inbox) = mpsc::channel(CHANNEL * (jobs.len() + 1));
    let mut feeds = Vec::new();
    let mut names = Vec::new();
    for (n, job) in jobs.into_iter().enumerate() {
        let (feed, work) = mpsc::channel(CHANNEL);
        names.push(collect::JobName::of(&job));
        let text = job.file.origin.clone();
        let stream = job.streams.first().copied().unwrap_or(Stream::Metrics);
        feeds.push((job.streams.clone(), feed));
        let mut driver = Driver::new(job);
        if let Some(checkpoint) = options.checkpoints.as_ref().and_then(|c| c.resumed.as_ref()) {
            driver.restore(&checkpoint::job_state(n + 1, checkpoint)?)?;
        }
        tokio::spawn(drive(n + 1, (text, stream), driver, work, out.clone()));
    }
    let room = room::Room::new(Arc::clone(&stop));
    let ingest = feed::Feed::new(source, &options, feeds, out)?;
    let thread = std::thread::Builder::new().name("ingest".into()).spawn(move || ingest.run(&stop));
    let thread = thread.map_err(Error::io("ingest thread"))?;
    let topology = Topology::of_static(topology);
    let collector =
        collect::Collector::new(options, names, topology, writer, library, observer, room)?;
    let report = collector.run(inbox).await;
    if thread.join().is_err() {
        return Err(Error::StageStopped { stage: "ingest".into() });
    }
    report
}

/// One job: steps in, signals out. Its SQL came from `text`, for messages, and reads `stream`.
async fn drive(
    origin: usize,
    (text, stream): (String, Stream),
    mut driver: Driver,
    mut work: mpsc::Receiver<Step>,
    out: mpsc::Sender<(usize, Message)>,
) {
    while let Some(step) = work.recv().await {
        let (signals, after) = match &step {
            Step::Rows(stream, rows) => (driver.rows(*stream, rows).await, None),
            Step::Watermark(w) => (driver.watermark(*w).await, Some(Message::Watermark(*w))),
            Step::Renumbered => (driver.renumber().await.map(|()| Vec::new()), None),
            Step::Barrier => (Ok(Vec::new()), Some(barrier(origin, &mut driver))),
            Step::End => (driver.end().await, None),
        };
        let mut messages = Vec::new();
        match signals {
            Ok(signals) if signals.is_empty() => {}
            Ok(signals) => messages.push(Message::Signals(signals)),
            Err(error) => messages.push(Message::Failed(error)),
        }
        let faults = driver.take_faults();
        if !faults.is_empty() {
            let failed = |fault| letter::failed(stream, &text, fault);
            messages.push(Message::Dead(faults.iter().map(failed).collect()));
        }
        let census = driver.take_census();
        if !census.is_empty() {
            messages.push(Message::Census(census));
        }
        for message in messages.into_iter().chain(after) {
            // The collector is gone when the run has failed elsewhere.
            if out.send((origin, message)).await.is_err() {
                return;
            }
        }
    }
    let (accounts, templates) = (Accounts::default(), Vec::new());
    let end = Message::End { accounts, stopped: false, templates };
    let _gone = out.send((origin, end)).await;
}

fn barrier(origin: usize, driver: &mut Driver) -> Message {
    match driver.save() {
        Ok(saved) => Message::Barrier { share: checkpoint::of_job(origin, saved), last: false },
        Err(error) => Message::Failed(error),
    }
}

/// What one origin has said and is not taken yet.
#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    /// The watermarks and, as `None`, the barriers among them.
    marks: VecDeque<Option<Nanos>>,
}

impl Queue {
    fn push(&mut self, message: Message) {
        self.marks.extend(mark(&message));
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        if mark(&message).is_some() {
            self.marks.pop_front();
        }
        Some(message)
    }
}

fn mark(message: &Message) -> Option<Option<Nanos>> {
    match message {
        Message::Watermark(watermark) => Some(Some(*watermark)),
        Message::Barrier { .. } => Some(None),
        _ => None,
    }
}

/// What every origin comes to next: `Some(Some(_))` is a watermark that all of them have reached,
/// `Some(None)` a barrier. All of them pass the same ones.
fn common_mark(queues: &[Queue]) -> Option<Option<Nanos>> {
    let mut common = Some(Nanos::MIN);
    for queue in queues {
        common = match (common, *queue.marks.front()?) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        };
    }
    Some(common)
}
