//! `amends bus` of a program that was built without Kafka: says so.

use clap::Args;

use crate::args::Global;
use crate::error::CliError;
use crate::features;

/// Arguments of `amends bus`: whatever they are.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cargo install --path cli    # a program with Kafka")]
pub(crate) struct BusArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(_global: &Global, _args: BusArgs) -> Result<(), CliError> {
    Err(features::without_kafka())
}
