//! The program `amends`: reads the command line, runs one command, and says with its exit code how that went.

mod args;
mod bulk;
#[cfg(feature = "kafka")]
mod bus;
mod client;
mod commands;
mod config;
mod confirm;
mod embedded;
mod engine_store;
mod error;
mod features;
mod filter;
mod follow;
mod gateway;
mod installed;
mod listen;
mod log;
mod order_body;
mod order_mix;
mod output;
mod participants_store;
mod patience;
mod payload;
mod signals;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command, OutputFormat};
use crate::error::{CliError, Exit};
use crate::output::terminal;

/// Many small, short-lived allocations on several threads are what the engine does all day.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    terminal::choose_colour(cli.global.color);
    let result = run(cli);
    if let Err(error) = &result {
        error.report();
    }
    result.err().map_or(ExitCode::SUCCESS, |error| ExitCode::from(error.exit().code()))
}

/// Runs the command until it ends or the user interrupts it.
fn run(cli: Cli) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        CliError::new(Exit::Other, "the program cannot start its threads").why(error).next("amends version")
    })?;
    // These stop in good order by themselves; everything else holds nothing that an interrupt could harm.
    let stops_itself = matches!(cli.command, Command::Dev(_) | Command::Serve(_) | Command::Worker(_));
    let result = runtime.block_on(async {
        tokio::select! {
            result = dispatch(cli) => result,
            Ok(()) = tokio::signal::ctrl_c(), if !stops_itself => Err(CliError::interrupted()),
        }
    });
    // A read of standard input may still be blocked; nothing waits for it.
    runtime.shutdown_background();
    result
}

/// Hands the command line to its command.
async fn dispatch(cli: Cli) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    if global.output == OutputFormat::Mermaid && !matches!(command, Command::Show(_) | Command::Types(_)) {
        return Err(CliError::new(Exit::Usage, "only `amends show` and `amends types NAME` can draw a diagram")
            .next("amends show ID -o mermaid"));
    }
    let global = &global;
    match command {
        Command::Dev(args) => commands::dev::run(global, args).await,
        Command::Serve(args) => commands::serve::run(global, args).await,
        Command::Worker(args) => commands::worker::run(global, args).await,
        Command::Bench(args) => commands::bench::run(global, args).await,
        Command::Order(args) => commands::order::run(global, args).await,
        Command::Start(args) => commands::start::run(global, args).await,
        Command::List(args) => commands::list::run(global, args).await,
        Command::Show(args) => commands::show::run(global, args).await,
        Command::Events(args) => commands::events::run(global, args).await,
        Command::Wait(args) => commands::wait::run(global, args).await,
        Command::Cancel(args) => commands::cancel::run(global, args).await,
        Command::Retry(args) => commands::retry::run(global, args).await,
        Command::Pause(args) => commands::pause::run(global, args).await,
        Command::Resume(args) => commands::resume::run(global, args).await,
        Command::Skip(args) => commands::skip::run(global, args).await,
        Command::Resolve(args) => commands::resolve::run(global, args).await,
        Command::Dlq(args) => commands::dlq::run(global, args).await,
        Command::Types(args) => commands::types::run(global, args).await,
        Command::Definition(args) => commands::definition::run(global, args),
        Command::Doctor(args) => commands::doctor::run(global, args).await,
        Command::Participants(args) => commands::participants::run(global, args).await,
        Command::Shards(args) => commands::shards::run(global, args).await,
        Command::Migrate(args) => commands::migrate::run(global, args).await,
        Command::Bus(args) => commands::bus::run(global, args).await,
        Command::Config(args) => commands::config::run(global, args),
        Command::Completion(args) => commands::completion::run(&args),
        Command::Version => commands::version::run(global).await,
    }
}
