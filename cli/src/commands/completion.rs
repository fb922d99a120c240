//! `amends completion`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::CliError;
use crate::output::terminal;

/// Arguments of `amends completion`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends completion bash > ~/.local/share/bash-completion/completions/amends")]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &CompletionArgs) -> Result<(), CliError> {
    // Into memory first: clap_complete panics where the reader of a pipe has gone.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "amends", &mut script);
    terminal::out(&String::from_utf8_lossy(&script))
}
