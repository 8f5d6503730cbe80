//! `faultline check`: a configuration, its jobs and an archive, without starting anything.

use std::path::{Path, PathBuf};

use clap::ArgGroup;
use faultline_storage::archive::{Archive, Damaged, Open};

use super::{jobs, output};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::knowledge::table_specs;

/// Validate a configuration, compile every job, or read a whole archive, without starting anything.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
#[command(after_help = "Examples:
  faultline check --config faultline.toml
  faultline check --jobs sql/detect
  faultline check --archive archive/")]
pub struct Args {
    /// The configuration of `faultline run`.
    #[arg(long, value_name = "FILE", group = "what")]
    config: Option<PathBuf>,
    /// Job files or folders of them, instead of those that the configuration names.
    #[arg(long, value_name = "PATH", num_args = 1.., group = "what")]
    jobs: Vec<PathBuf>,
    /// An archive, of which every file is read and compared with its checksum.
    #[arg(long, value_name = "DIR", group = "what")]
    archive: Option<PathBuf>,
}

pub async fn run(args: &Args) -> Result<()> {
    if let Some(dir) = &args.archive {
        archive(dir).await?;
        if args.config.is_none() && args.jobs.is_empty() {
            return Ok(());
        }
    }
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
        let files = output::number(config.tail.len() as u64, "file");
        said += &format!("{}: ok, follows {files}\n", path.display());
    }
    for job in jobs {
        let (file, severity) = (&job.file, job.file.severity.as_str());
        said += &format!("{}: ok, {} ({severity})\n", file.origin, file.name);
    }
    output::say(&said)
}

async fn archive(dir: &Path) -> Result<()> {
    let archive = Archive::open(dir, table_specs()?, Open::ReadOnly).await?;
    for spec in table_specs()? {
        archive.audit(&spec.name).await?;
    }
    let damaged = archive.quarantined();
    let named = |d: &Damaged| format!("{}: {}\n", d.path.display(), d.reason);
    output::say(&damaged.iter().map(named).collect::<String>())?;
    match damaged.len() {
        0 => output::say(&format!("{}: ok\n", dir.display())),
        files => Err(Error::DamagedArchive { path: dir.to_owned(), files }),
    }
}
