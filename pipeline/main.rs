//! Parses the command line and hands over to the library.

use clap::Parser;
use tokio::signal;
use tokio::signal::unix::SignalKind;

fn main() -> std::process::ExitCode {
    faultline::cli::main(faultline::cli::Cli::parse(), interrupted(), terminated())
}

/// Resolves at Ctrl-C. Without a signal handler the program is stopped the hard way, which loses
/// nothing either.
async fn interrupted() {
    if signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Resolves at SIGTERM, in the same way.
async fn terminated() {
    match signal::unix::signal(SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}
