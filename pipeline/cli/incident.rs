//! `faultline incident`: what people have to say about incidents.

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand, ValueEnum};

use super::output;
use crate::error::{Error, Result};
use crate::knowledge::{Said, Writer, intake};
use crate::run;
use crate::source::{escape, timestamp};

/// Longest name of a service or a person, and longest note.
const NAME_BYTES_MAX: usize = 256;
const NOTE_BYTES_MAX: usize = 4_096;

/// Say what an incident really was.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Feedback(FeedbackArgs),
}

/// Record the true cause of an incident, and whether its explanation helped.
///
/// Later incidents find the case under the cause that you name, and rank it, and the runbooks that
/// it was told with, by how often its explanation helped. Of one person the last word counts. A run
/// that goes on learns of it with its next diagnosis.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("said").required(true).multiple(true))]
#[command(after_help = "Examples:
  faultline incident feedback edd4ef14fac2fc94 --helpful yes
  faultline incident feedback edd4ef14fac2fc94 --cause vault-db --helpful no --note \"no index\"
  faultline incident feedback edd4ef14fac2fc94 --helpful no --by ada --at 2024-03-14T10:00:00Z")]
struct FeedbackArgs {
    /// The incident's id.
    #[arg(value_name = "ID")]
    incident_id: String,
    /// The service that was the cause.
    #[arg(long, value_name = "SERVICE", group = "said")]
    cause: Option<String>,
    /// Whether the diagnosis and its plan helped.
    #[arg(long, value_enum, group = "said")]
    helpful: Option<Helpful>,
    /// Anything else that others should know.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Who says so.
    #[arg(long, value_name = "NAME", default_value = "")]
    by: String,
    /// When it was said: RFC 3339. Now where it is not given.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[arg(long, value_name = "DIR", default_value = "faultline-demo/archive")]
    archive: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Helpful {
    Yes,
    No,
}

pub async fn run(args: Args) -> Result<()> {
    let Command::Feedback(args) = args.command;
    let cause = args.cause.as_deref();
    if cause.is_some_and(|c| c.trim().is_empty() || c.len() > NAME_BYTES_MAX) {
        return Err(Error::usage("--cause is no name of a service", "write --cause vault-db"));
    }
    if args.note.len() > NOTE_BYTES_MAX {
        let message = format!("--note has more than {NOTE_BYTES_MAX} bytes");
        return Err(Error::usage(message, "say it shorter"));
    }
    if args.by.len() > NAME_BYTES_MAX {
        let message = format!("--by has more than {NAME_BYTES_MAX} bytes");
        return Err(Error::usage(message, "write --by ada"));
    }
    let at = match args.at.as_deref().map(|at| (at, timestamp::read(at))) {
        None => run::now(),
        Some((_, Ok(at))) => at,
        Some((at, Err(problem))) => {
            let message = format!("{at:?}: {problem}");
            return Err(Error::usage(message, "write --at 2024-03-14T10:00:00Z"));
        }
    };
    if !args.archive.is_dir() {
        return Err(faultline_storage::Error::no_directory(&args.archive).into());
    }
    let writer = Writer::open(&args.archive).await?;
    let said = Said {
        cause: args.cause.clone(),
        helpful: args.helpful.map(|h| h == Helpful::Yes),
        note: args.note,
        by: args.by,
        at: Some(at),
    };
    let given = intake::feedback(&writer, &args.incident_id, said).await?;
    let (number, incident) = (given.number, given.incident_id);
    output::say(&format!("recorded as number {number} about incident {incident}\n"))?;
    if let Some(cause) = cause
        && !intake::is_service(&writer, &given.cluster, cause).await?
    {
        tracing::warn!(
            "no signal or cause in the archive is of a service {:?}; if that is a slip, give the \
             feedback again: the last word counts",
            escape::line(cause)
        );
    }
    Ok(())
}
