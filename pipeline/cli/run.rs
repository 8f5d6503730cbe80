//! `faultline run`: the same jobs, live.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{jobs, timeline::Timeline};
use crate::config::Config;
use crate::error::Result;
use crate::model::stable_id;
use crate::run::{self, Options};
use crate::source::Source;
use crate::source::tail::{Tail, TailFile};

/// Follow files that grow and run the jobs on them until stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: faultline run --config faultline.example.toml

Ctrl-C stops: what is open is written to the archive as open.")]
pub struct Args {
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print each signal, not only incidents.
    #[arg(long)]
    signals: bool,
}

pub async fn run(args: Args, stop: Arc<AtomicBool>) -> Result<()> {
    let config = Config::load(&args.config)?;
    let jobs = jobs::load(&config.jobs).await?;
    let mut options = Options::new(&config.cluster, run::now());
    options.live = true;
    options.lateness = config.lateness;
    options.capture_bytes = config.capture_mib << 20;
    options.correlate = config.correlate.clone();
    options.archive = Some(config.archive.clone());
    let hashes: Vec<&str> = jobs.iter().map(|j| j.hash.as_str()).collect();
    options.run_id = format!("run-{}", stable_id(&hashes));
    let partition = |(i, t): (usize, &crate::config::Tail)| (t.stream, i as u32);
    options.partitions = config.tail.iter().enumerate().map(partition).collect();
    let files = config.tail.iter().map(|t| TailFile { path: t.path.clone(), stream: t.stream });
    let tail = Tail::open(files.collect(), options.batch_rows, &config.cluster, None)?;
    let timeline = Timeline::new(0, args.signals);
    let summary = timeline.summary();
    let source = Source::Tail(tail);
    let report = run::run(source, Vec::new(), jobs, options, Box::new(timeline), stop).await?;
    summary.print(&report, Some(&config.archive));
    Ok(())
}
