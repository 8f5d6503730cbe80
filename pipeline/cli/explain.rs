//! `faultline explain`: the streaming plan of a job.

use std::path::PathBuf;

use super::{jobs, output};
use crate::error::Result;
use crate::stream;

/// Print the streaming plan of a job: its windows, state and how its keys are grouped.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job file.
    job: PathBuf,
}

pub async fn run(args: &Args) -> Result<()> {
    let job = jobs::compile(&args.job).await?;
    output::say(&stream::explain(&job))
}
