//! `faultline replay`: an outage directory through the whole pipeline.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::ValueEnum;

use super::llm::LlmArgs;
use super::{jobs, timeline::Timeline};
use crate::config::Config;
use crate::error::Result;
use crate::model::{DAY, stable_id};
use crate::run::{self, Options};
use crate::source::{Outage, Source};
use crate::stream::Job;

/// Replay an outage directory: streams, signals, incidents, ranked causes, plans, archive.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  faultline replay outage/
  faultline replay outage/ --jobs sql/detect/metric_level.sql --jobs my_jobs/ --archive archive/
  faultline replay outage/ --speed 10x --threads 1
  faultline replay outage/ --config faultline.toml")]
pub struct Args {
    /// The outage directory.
    pub dir: PathBuf,
    /// Job files or folders of them. Where none is named, all that are shipped but `metric_shift`
    /// and `silent_series`, which only some systems want.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub jobs: Vec<PathBuf>,
    /// Where incidents are kept; created where it is missing.
    #[arg(long, value_name = "DIR")]
    pub archive: Option<PathBuf>,
    /// How fast event time passes.
    #[arg(long, value_enum, default_value = "max")]
    pub speed: Speed,
    /// Worker threads for the jobs; all cores where it is not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Rows in a batch at most. It does not change what comes out.
    #[arg(long, value_name = "N", default_value_t = 8192, hide = true,
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub batch_rows: u32,
    /// Cluster of rows that do not name one.
    #[arg(long, default_value = "default")]
    pub cluster: String,
    /// Print each signal, not only incidents.
    #[arg(long)]
    pub signals: bool,
    #[command(flatten)]
    pub llm: LlmArgs,
    /// The configuration of a run: incidents open and close as its [correlate] section says.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Speed {
    Max,
    #[value(name = "1x")]
    Recorded,
    #[value(name = "10x")]
    Tenfold,
}

impl Args {
    pub fn threads(&self) -> usize {
        let all = std::thread::available_parallelism().map_or(2, usize::from);
        self.threads.map_or(all, usize::from)
    }
}

pub async fn run(args: Args, stop: Arc<AtomicBool>) -> Result<()> {
    let jobs = jobs::load(&args.jobs).await?;
    let batch_rows = args.batch_rows as usize;
    let outage = Outage::open(&args.dir, batch_rows, &args.cluster)?;
    let topology = outage.topology().to_vec();
    let mut options = Options::new(&args.cluster, run::now() + DAY);
    options.batch_rows = batch_rows;
    options.archive.clone_from(&args.archive);
    options.speed = match args.speed {
        Speed::Max => None,
        Speed::Recorded => Some(1.0),
        Speed::Tenfold => Some(10.0),
    };
    let config = args.config.as_deref().map(Config::load).transpose()?;
    options.advisor = args.llm.advisor(args.config.as_deref().zip(config.as_ref()))?;
    if let Some(config) = config {
        options.correlate = config.correlate;
    }
    options.run_id = run_id(&args, &jobs, &outage.digest()?, &options);
    let timeline = Timeline::new(outage.total_bytes(), args.signals);
    let summary = timeline.summary();
    let report =
        run::run(Source::Outage(outage), topology, jobs, options, Box::new(timeline), stop).await?;
    summary.print(&report, args.archive.as_deref())
}

/// The same input, jobs and rules give the same id, so that a repeated replay adds nothing.
fn run_id(args: &Args, jobs: &[Job], digest: &str, options: &Options) -> String {
    let dir = args.dir.canonicalize().unwrap_or_else(|_| args.dir.clone());
    let dir = dir.display().to_string();
    let version = env!("CARGO_PKG_VERSION");
    let rules = format!("{:?}", options.correlate);
    let mut parts = vec!["replay", version, dir.as_str(), digest, args.cluster.as_str(), &rules];
    parts.extend(jobs.iter().flat_map(|j| [j.hash.as_str(), j.file.severity.as_str()]));
    if let Some(advisor) = &options.advisor {
        parts.extend(["llm", advisor.model()]);
    }
    format!("replay-{}", stable_id(&parts))
}
