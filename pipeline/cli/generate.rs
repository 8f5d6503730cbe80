//! `faultline generate`: the synthetic outage that the demo bundles, and bulk data for benchmarks.

use std::path::PathBuf;

use crate::error::Result;
use crate::generate::{self, Format, Scenario};

/// Write a synthetic outage directory.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where it is written.
    dir: PathBuf,
    #[arg(long)]
    seed: Option<u64>,
    /// CSV and JSON lines instead of Parquet.
    #[arg(long)]
    text: bool,
    /// Days on which a few faults come back, this many in all.
    #[arg(long, value_name = "FAULTS", conflicts_with = "bulk",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    recurring: Option<u16>,
    /// This many days without a fault.
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["bulk", "recurring"],
          value_parser = clap::value_parser!(u16).range(1..=100))]
    calm: Option<u16>,
    /// Only metrics: this many rows of 4,000 series.
    #[arg(long, value_name = "ROWS")]
    bulk: Option<usize>,
}

pub fn run(args: &Args) -> Result<()> {
    let mut scenario = Scenario::demo();
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    if let Some(count) = args.recurring {
        scenario = Scenario::recurring(scenario.seed, usize::from(count));
    }
    if let Some(days) = args.calm {
        scenario = Scenario::calm(scenario.seed, days);
    }
    if let Some(rows) = args.bulk {
        let path = args.dir.join("metrics").join("part-0.parquet");
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(crate::error::Error::io(parent))?;
        }
        return Ok(generate::write_bulk(rows, 4000, scenario.seed, &path)?);
    }
    if args.text {
        scenario.format = Format::Text;
    }
    Ok(generate::write(&scenario, &args.dir)?)
}
