//! `faultline query`: SQL over the archive, once or at a prompt.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::output;
use crate::error::Result;
use crate::query::{self, Limits, Session};

/// Rows of an answer for people, and for programs, where nothing else is said.
const ROWS_SHOWN: usize = 10_000;
const ROWS_WRITTEN: usize = 1_000_000;

/// Ask the archive in SQL; without SQL, at a prompt with history and completion.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  faultline query --archive archive/ \"SELECT opened_at, title, root_service FROM incidents\"
  faultline query --archive archive/ --format csv \"$(cat sql/queries/mttr_by_service.sql)\"
  faultline query --archive archive/            then \\d for tables, \\? for help")]
pub struct Args {
    /// The statement; read from the prompt where it is missing.
    #[arg(allow_hyphen_values = true)]
    sql: Option<String>,
    /// The archive; without it, the one that `faultline demo` writes.
    #[arg(long, value_name = "DIR", default_value = "faultline-demo/archive")]
    archive: PathBuf,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Rows of an answer at most.
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// Seconds after which a statement is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

impl Args {
    pub fn is_prompt(&self) -> bool {
        self.sql.is_none()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Csv,
    #[value(alias = "jsonl")]
    Json,
}

pub async fn run(args: Args) -> Result<()> {
    let (format, rows) = match args.format {
        Format::Table if std::io::stdout().is_terminal() => (query::Format::Screen, ROWS_SHOWN),
        Format::Table => (query::Format::Table, ROWS_SHOWN),
        Format::Csv => (query::Format::Csv, ROWS_WRITTEN),
        Format::Json => (query::Format::Json, ROWS_WRITTEN),
    };
    let limits = Limits {
        rows: args.rows.unwrap_or(rows),
        time: Duration::from_secs(args.timeout),
        ..Limits::default()
    };
    let session = Session::open(&args.archive, limits).await?;
    let Some(sql) = args.sql else {
        return output::unless_gone(query::prompt(&session, format).await);
    };
    let answer = session.run(&sql).await?;
    for warning in answer.warnings.iter().chain(&answer.truncated) {
        tracing::warn!("{warning}");
    }
    let mut out = std::io::stdout().lock();
    output::unless_gone(query::write(&answer, format, &mut out))
}
