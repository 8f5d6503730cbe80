//! Parses the command line and hands over to the library.

use clap::Parser;

fn main() -> std::process::ExitCode {
    let cli = faultline::cli::Cli::parse();
    faultline::cli::main(cli, async {
        // Without a signal handler the program is stopped the hard way, which loses nothing either.
        let _unavailable = tokio::signal::ctrl_c().await;
    })
}
