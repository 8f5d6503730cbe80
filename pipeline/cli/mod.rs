//! The commands. Results go to standard output, everything else to standard error.

mod check;
mod completions;
mod demo;
mod diagnose;
mod explain;
mod generate;
mod incident;
mod jobs;
mod knowledge;
mod llm;
mod output;
mod query;
mod replay;
mod run;
mod spark;
mod templates;
mod timeline;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::error::{Error, Result};

/// Bad input or usage.
const BAD_INPUT: u8 = 2;

/// Stopped by Ctrl-C, as shells report it.
const INTERRUPTED: u8 = 130;

/// Streams of metrics, logs and spans in; explained incidents out.
#[derive(Debug, Parser)]
#[command(name = "faultline", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// How the program's own messages are written to standard error.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  faultline demo                                    replay the bundled outage
  faultline replay outage/ --archive archive/       replay an outage directory
  faultline query --archive archive/ \"SELECT * FROM incidents\"
  faultline diagnose outage/ --at 2024-03-12T09:20:00Z
  faultline explain sql/detect/metric_level.sql     show the streaming plan of a job
  faultline knowledge import runbooks/              runbooks, for incidents to come
  faultline knowledge search \"disk is filling up\"  runbooks and past incidents
  faultline check --config faultline.example.toml   validate without starting anything

Exit codes: 0 done, 1 failed, 2 bad input or usage, 130 interrupted.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Replay(replay::Args),
    Query(query::Args),
    Diagnose(diagnose::Args),
    Run(run::Args),
    Check(check::Args),
    Explain(explain::Args),
    Templates(templates::Args),
    Knowledge(knowledge::Args),
    Incident(incident::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Generate(generate::Args),
}

impl Command {
    /// Whether Ctrl-C is left to the command: it brings to an end what it has begun, or is a
    /// prompt, where Ctrl-C ends the statement. The others only read, or write in one step.
    fn stops_itself(&self) -> bool {
        match self {
            Self::Demo(_) | Self::Replay(_) | Self::Run(_) => true,
            Self::Query(args) => args.is_prompt(),
            _ => false,
        }
    }
}

/// Runs the command line until it is done or `shutdown` resolves.
pub fn main(cli: Cli, shutdown: impl Future<Output = ()> + Send + 'static) -> ExitCode {
    start_log(cli.log_format);
    let threads = match &cli.command {
        Command::Replay(args) => args.threads(),
        _ => std::thread::available_parallelism().map_or(2, usize::from),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::io("thread pool")(error)),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, stops_itself) = (Arc::clone(&stop), cli.command.stops_itself());
    // Asked once at first, so that it is heard before the command begins.
    let mut shutdown = Box::pin(shutdown);
    let early = runtime.block_on(async { futures::poll!(&mut shutdown) });
    runtime.spawn(async move {
        if early.is_pending() {
            shutdown.await;
        }
        if !stops_itself {
            std::process::exit(INTERRUPTED.into());
        }
        flag.store(true, Ordering::Relaxed);
    });
    let outcome = runtime.block_on(dispatch(cli.command, Arc::clone(&stop)));
    // Blocking reads must not hold up the end of the program.
    runtime.shutdown_background();
    match outcome {
        Ok(()) if stop.load(Ordering::Relaxed) => ExitCode::from(INTERRUPTED),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn dispatch(command: Command, stop: Arc<AtomicBool>) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(args, stop).await,
        Command::Replay(args) => replay::run(args, stop).await,
        Command::Query(args) => query::run(args).await,
        Command::Diagnose(args) => diagnose::run(&args).await,
        Command::Run(args) => run::run(args, stop).await,
        Command::Check(args) => check::run(&args).await,
        Command::Explain(args) => explain::run(&args).await,
        Command::Templates(args) => templates::run(&args),
        Command::Knowledge(args) => knowledge::run(args).await,
        Command::Incident(args) => incident::run(args).await,
        Command::Completions(args) => completions::run(&args),
        Command::Generate(args) => generate::run(&args),
    }
}

fn fail(error: &Error) -> ExitCode {
    tracing::error!("{}", crate::source::escape::line(&error.to_string()));
    ExitCode::from(if error.is_bad_input() { BAD_INPUT } else { 1 })
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("FAULTLINE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,faultline=info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process, as tests do, keeps the first log.
    let _already_started = match format {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none();
            log.with_ansi(colours).without_time().with_target(false).try_init()
        }
    };
}
