//! `faultline check`: a configuration and its jobs, without starting anything.

use std::path::PathBuf;

use super::{jobs, output};
use crate::config::Config;
use crate::error::Result;

/// Validate a configuration and compile every job, without starting anything.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  faultline check --config faultline.toml
  faultline check --jobs sql/detect")]
pub struct Args {
    #[arg(long, value_name = "FILE", required_unless_present = "jobs")]
    config: Option<PathBuf>,
    /// Job files or folders of them, instead of those that the configuration names.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    jobs: Vec<PathBuf>,
}

pub async fn run(args: &Args) -> Result<()> {
    let config = args.config.as_deref().map(Config::load).transpose()?;
    if let Some(config) = &config {
        config.resolve()?;
    }
    let named = match (&config, args.jobs.is_empty()) {
        (Some(config), true) => config.jobs.clone(),
        _ => args.jobs.clone(),
    };
    let jobs = jobs::load(&named).await?;
    let mut said = String::new();
    if let (Some(path), Some(config)) = (&args.config, &config) {
        said += &format!("{}: ok, follows {} files\n", path.display(), config.tail.len());
    }
    for job in jobs {
        let (file, severity) = (&job.file, job.file.severity.as_str());
        said += &format!("{}: ok, {} ({severity})\n", file.origin, file.name);
    }
    output::say(&said)
}
