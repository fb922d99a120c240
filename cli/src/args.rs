//! The command line: the flags that every command shares, and the list of commands.

use std::fmt;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// Where `amends dev` listens.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7400";

/// How long one call may take unless `--timeout` says otherwise: an engine forwards to a shard's owner within seconds.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs business transactions over several services, and makes amends when a step fails.
#[derive(Debug, Parser)]
#[command(name = "amends", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Sagas are named by their id, by an end of it that no other has, or by TYPE/KEY, e.g. order/cart-42.

Exit codes: 0 ok, 1 other failure, 2 usage, 3 not found, 4 refused in this state or conflict, 5 not allowed,
6 unreachable or timed out (safe to retry), 7 the saga ended compensated, 8 the saga is parked, 130 interrupted.

Example:
  amends dev                                  # in one terminal
  amends list --watch                         # in another";

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The engine to talk to; any engine of a group answers for every saga
    #[arg(long, global = true, env = "AMENDS_SERVER", default_value = DEFAULT_SERVER, value_name = "URL")]
    pub(crate) server: String,
    /// How to print: for people, for programs (a documented contract), ids only, or as a diagram
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
    /// When to use colour; `auto` obeys NO_COLOR and leaves pipes plain
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: When,
    /// Print whole ids and long texts whole
    #[arg(long, global = true)]
    pub(crate) no_trunc: bool,
    /// How long to wait, e.g. 30s; 10s for a single call, without end where the command waits for a saga
    #[arg(long, global = true, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
}

impl Global {
    /// How long a single call may take.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }
}

/// The forms of output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns that fit the terminal
    #[default]
    Table,
    /// The same with more columns and whole ids
    Wide,
    /// One JSON value: the message of the API
    Json,
    /// One JSON value a line
    Jsonl,
    /// Whole ids, one a line
    Id,
    /// A flowchart for Markdown (show, types)
    Mermaid,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal
    #[default]
    Auto,
    /// In pipes too
    Always,
    /// Never
    Never,
}

/// What commands that only read take.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReadArgs {
    /// Read again every second
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// What commands that change something take.
#[derive(Debug, Clone, Args)]
pub(crate) struct WriteArgs {
    /// Why; kept in the saga's journal
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in this process, kept in one SQLite file
    Dev(DevArgs),
    /// Run an engine of an installation, with API and order gateway
    Serve(commands::serve::ServeArgs),
    /// Run built-in participants as a process of their own
    Worker(commands::worker::WorkerArgs),
    /// Submit, show and follow orders
    Order(commands::order::OrderArgs),
    /// Start a saga of any type
    Start(commands::start::StartArgs),
    /// List sagas: those that are unfinished, unless told otherwise
    List(commands::list::ListArgs),
    /// Show one saga: what it waits for, its steps, and why it is where it is
    Show(commands::show::ShowArgs),
    /// Print the journal of one saga
    Events(commands::events::EventsArgs),
    /// Wait until a saga has ended
    Wait(commands::wait::WaitArgs),
    /// Undo sagas that are not past their point of no return
    Cancel(commands::cancel::CancelArgs),
    /// Try parked or waiting steps again now
    Retry(commands::retry::RetryArgs),
    /// Hold sagas back: no command is sent until they are resumed
    Pause(commands::pause::PauseArgs),
    /// Let paused sagas go on
    Resume(commands::resume::ResumeArgs),
    /// Pass over a parked step
    Skip(commands::skip::SkipArgs),
    /// Declare a parked saga ended, its matters settled by hand
    Resolve(commands::resolve::ResolveArgs),
    /// Look into dead letters
    Dlq(commands::dlq::DlqArgs),
    /// List the types of saga, or show one
    Types(commands::types::TypesArgs),
    /// Check a saga's definition
    Definition(commands::definition::DefinitionArgs),
    /// List the participants and how they are reached
    Participants(commands::participants::ParticipantsArgs),
    /// List the shards, their owners and epochs
    Shards(commands::shards::ShardsArgs),
    /// Look at the whole installation, and say what to do about what is not well
    Doctor(commands::doctor::DoctorArgs),
    /// Measure rate and latency
    Bench(BenchArgs),
    /// Make tables and shards, or say what is missing
    Migrate(commands::migrate::MigrateArgs),
    /// Make, list and read the topics of the bus
    Bus(commands::bus::BusArgs),
    /// Show and explain the configuration
    Config(commands::config::ConfigCommandArgs),
    /// Print a completion script for a shell
    Completion(commands::completion::CompletionArgs),
    /// Print the version of this program and of the server
    Version,
}

/// Arguments of `amends dev`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  amends dev --demo=5 --fail-rate 0.2")]
pub(crate) struct DevArgs {
    /// The database file; `:memory:` keeps nothing
    #[arg(long, default_value = "./amends.db", value_name = "PATH")]
    pub(crate) db: String,
    /// The port for console, API and gRPC
    #[arg(long, env = "AMENDS_PORT", default_value_t = 7400, value_name = "N")]
    pub(crate) port: u16,
    /// Submit orders by itself, so many a second
    #[arg(
        long,
        value_name = "RATE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = rate
    )]
    pub(crate) demo: Option<f64>,
    /// The share of orders that are made to fail, 0 to 1
    #[arg(long, value_parser = share, value_name = "P")]
    pub(crate) fail_rate: Option<f64>,
    /// Begin with an empty database
    #[arg(long)]
    pub(crate) reset: bool,
}

/// Arguments of `amends bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  amends bench --orders 20000 --concurrency 256 --fail-rate 0.05")]
pub(crate) struct BenchArgs {
    /// How many orders
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub(crate) orders: u64,
    /// How many at the same time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..), value_name = "C")]
    pub(crate) concurrency: u64,
    /// The share of orders that are made to fail, 0 to 1
    #[arg(long, value_parser = share, value_name = "P")]
    pub(crate) fail_rate: Option<f64>,
    /// The engine to measure; without it one is run in this process
    #[arg(long, value_name = "URL")]
    pub(crate) target: Option<String>,
    /// Put so many pieces of each product that is ordered on the target's shelves first
    #[arg(long, value_name = "N", requires = "target", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) stock: Option<i64>,
    /// Who does the work
    #[arg(long, value_enum, default_value_t)]
    pub(crate) participants: Participants,
    /// Lanes of the engine in this process
    #[arg(long, default_value_t = 1, value_parser = positive, value_name = "N")]
    pub(crate) lanes: usize,
}

/// Which participants run in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Participants {
    /// The built-in participants, with their tables
    #[default]
    Full,
    /// Participants that answer at once and store nothing
    Trivial,
}

impl fmt::Display for Participants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Trivial => "trivial",
        })
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("write a number from 0 to 1, e.g. 0.05".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("write orders per second, e.g. 2 or 0.5".to_owned()),
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("write a whole number from 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_leaf_command_has_an_example() {
        fn visit(command: &clap::Command, missing: &mut Vec<String>) {
            let example = command.get_after_help().is_some_and(|help| help.to_string().contains("Example"));
            if !example && !command.has_subcommands() && command.get_name() != "help" {
                missing.push(command.get_name().to_owned());
            }
            command.get_subcommands().for_each(|inner| visit(inner, missing));
        }
        let mut missing = Vec::new();
        visit(&Cli::command(), &mut missing);
        assert_eq!(missing, ["version"]);
    }

    #[test]
    fn demo_takes_an_optional_rate() {
        let demo = |words: &[&str]| match Cli::try_parse_from(words).expect("a good command line").command {
            Command::Dev(args) => args.demo,
            other => panic!("{other:?}"),
        };
        assert_eq!(demo(&["amends", "dev"]), None);
        assert_eq!(demo(&["amends", "dev", "--demo"]), Some(2.0));
        assert_eq!(demo(&["amends", "dev", "--demo=7.5"]), Some(7.5));
    }

    #[test]
    fn global_flags_go_before_and_after_the_command() {
        for words in [["amends", "-o", "json", "list"], ["amends", "list", "-o", "json"]] {
            let cli = Cli::try_parse_from(words).expect("a good command line");
            assert_eq!(cli.global.output, OutputFormat::Json);
        }
    }
}
