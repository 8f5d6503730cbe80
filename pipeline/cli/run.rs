//! `faultline run`: the same jobs, live.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use faultline_storage::checkpoint::CheckpointStore;

use super::{jobs, llm, timeline::Timeline};
use crate::config::{Config, Tail as Followed};
use crate::diagnose::advise::Mode;
use crate::error::{Error, Result};
use crate::model::stable_id;
use crate::run::{self, Checkpoints, Options, Webhook};
use crate::source::Source;
use crate::source::tail::{Tail, TailFile};
use crate::stream::Job;

/// Follow files that grow and run the jobs on them until stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: faultline run --config faultline.example.toml

Ctrl-C or SIGTERM stops: what is open is written to the archive as open. The same command goes on
from there, also after a crash: rows, windows, baselines and incidents are as they were.")]
pub struct Args {
    /// What to follow, where to keep it, and what runs; see faultline.example.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print each signal, not only incidents.
    #[arg(long)]
    signals: bool,
    /// Start over with the files as they are now, whatever an earlier run has learned.
    #[arg(long)]
    fresh: bool,
}

pub async fn run(args: Args, stop: Arc<AtomicBool>) -> Result<()> {
    let config = Config::load(&args.config)?;
    let jobs = jobs::load(&config.jobs).await?;
    let checkpoints = checkpoints(&config, &jobs, args.fresh)?;
    let resumed = checkpoints.resumed.as_ref();
    let position = resumed.map(run::position).transpose()?;
    let mut options = Options::new(&config.cluster, run::now());
    options.live = true;
    options.lateness = config.lateness;
    options.idle = Duration::from_nanos(config.idle.unsigned_abs());
    options.capture_bytes = config.capture_mib << 20;
    options.correlate = config.correlate.clone();
    options.archive = Some(config.archive.clone());
    options.advisor = match &config.llm {
        Some(section) => Some(llm::open(section, Mode::Live)?),
        None => None,
    };
    options.webhook = config.webhook.as_ref().map(Webhook::start).transpose()?;
    // Every start has a name of its own; what it archives is numbered by its checkpoints.
    let start = [run::now().to_string(), std::process::id().to_string()];
    options.run_id = format!("run-{}", stable_id(&start.each_ref().map(String::as_str)));
    options.checkpoints = Some(checkpoints);
    let partition = |(i, t): (usize, &Followed)| (t.stream, i as u32);
    options.partitions = config.tail.iter().enumerate().map(partition).collect();
    for missing in config.tail.iter().filter(|t| !t.path.exists()) {
        let path = missing.path.display();
        tracing::warn!(%path, "no such file yet; it is read from when it appears");
    }
    let files = config.tail.iter().map(|t| TailFile { path: t.path.clone(), stream: t.stream });
    let rows = options.batch_rows;
    let tail = Tail::open(files.collect(), rows, &config.cluster, position.as_ref())?;
    let timeline = Timeline::new(0, args.signals);
    let summary = timeline.summary();
    let source = Source::Tail(tail);
    let report = run::run(source, Vec::new(), jobs, options, Box::new(timeline), stop).await?;
    summary.print(&report, Some(&config.archive))
}

fn checkpoints(config: &Config, jobs: &[Job], fresh: bool) -> Result<Checkpoints> {
    let dir = config.state.clone().unwrap_or_else(|| config.archive.join("_state"));
    let mut store = CheckpointStore::open(&dir)?;
    let plan = plan(config, jobs);
    let resumed = if fresh { None } else { store.latest()? };
    if let Some(checkpoint) = &resumed {
        checkpoint
            .require_plan(&plan)
            .map_err(|e| Error::usage(e.to_string(), "to start over, give --fresh"))?;
    }
    let every = Duration::from_nanos(config.checkpoint.unsigned_abs());
    Ok(Checkpoints { store, resumed, plan, every })
}

/// What the state of a run depends on: this program, its jobs, its files and how their rows are
/// read.
fn plan(config: &Config, jobs: &[Job]) -> String {
    let lateness = config.lateness.to_string();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let mut parts = vec![version, config.cluster.clone(), lateness];
    for tail in &config.tail {
        parts.extend([tail.stream.name().to_owned(), tail.path.display().to_string()]);
    }
    parts.extend(jobs.iter().map(|j| j.hash.clone()));
    stable_id(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}
