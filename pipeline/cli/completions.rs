//! `faultline completions`: completion for a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::output;
use crate::error::Result;

/// Print the completion script of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: faultline completions bash > /etc/bash_completion.d/faultline")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "faultline", &mut script);
    output::say(&String::from_utf8_lossy(&script))
}
