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

/// Stopped by Ctrl-C or SIGTERM, as shells report the former.
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
    /// Whether it brings to an end what it has begun once `stop` is set. The others only read, or
    /// write in one step, and may end anywhere.
    fn winds_up(&self) -> bool {
        matches!(self, Self::Demo(_) | Self::Replay(_) | Self::Run(_))
    }

    /// Whether Ctrl-C ends a statement instead of the program.
    fn is_prompt(&self) -> bool {
        matches!(self, Self::Query(args) if args.is_prompt())
    }
}

/// Runs the command line until it is done, or is stopped: `interrupted` resolves at Ctrl-C,
/// `terminated` when the system asks the program to end.
pub fn main(
    cli: Cli,
    interrupted: impl Future<Output = ()> + Send + 'static,
    terminated: impl Future<Output = ()> + Send + 'static,
) -> ExitCode {
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
    let (winds_up, is_prompt) = (cli.command.winds_up(), cli.command.is_prompt());
    heed(&runtime, interrupted, (winds_up || is_prompt).then(|| Arc::clone(&stop)));
    heed(&runtime, terminated, winds_up.then(|| Arc::clone(&stop)));
    let outcome = runtime.block_on(dispatch(cli.command, Arc::clone(&stop)));
    // Blocking reads must not hold up the end of the program.
    runtime.shutdown_background();
    match outcome {
        Ok(()) if stop.load(Ordering::Relaxed) => ExitCode::from(INTERRUPTED),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Sets `stop` once `signal` resolves; ends the program where there is none.
fn heed(
    runtime: &tokio::runtime::Runtime,
    signal: impl Future<Output = ()> + Send + 'static,
    stop: Option<Arc<AtomicBool>>,
) {
    // Asked once at first, so that it is heard before the command begins.
    let mut signal = Box::pin(signal);
    let early = runtime.block_on(async { futures::poll!(&mut signal) });
    runtime.spawn(async move {
        if early.is_pending() {
            signal.await;
        }
        match stop {
            Some(stop) => stop.store(true, Ordering::Relaxed),
            None => std::process::exit(INTERRUPTED.into()),
        }
    });
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

/// Deltalake logs a commit that met another one as an error, also where it is made once more.
const LOGGED: &str = "warn,faultline=info,deltalake_core::kernel::transaction=off";

fn start_log(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("FAULTLINE_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    // A message that nobody can read must not end the program, which telling so there would.
    let log = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let log = log.with_writer(std::io::stderr);
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
