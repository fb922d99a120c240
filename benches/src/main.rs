//! Measures the production set-up on this machine: engines, workers, Postgres, Kafka and the load, each a process.
//!
//! Every run begins on fresh databases and topics. What it prints: rate, latencies, CPU per saga by process, and the
//! bytes that Postgres logged per saga. Compare within one invocation only: `--against` alternates two set-ups.

mod cluster;
mod report;
mod topics;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::cluster::{Cluster, Setup};
use crate::report::Measured;

/// The production set-up, measured
#[derive(Parser)]
#[command(name = "amends-benches")]
struct Args {
    /// How participants are reached
    #[arg(long, value_enum, default_value_t = Courier::Kafka)]
    courier: Courier,
    /// Participants with their ledgers and the barrier, or ones that only answer
    #[arg(long, value_enum, default_value_t = Participants::Trivial)]
    participants: Participants,
    /// A second set-up to alternate with, e.g. `grpc,trivial`
    #[arg(long, value_name = "COURIER,PARTICIPANTS")]
    against: Option<String>,
    /// Orders in each run
    #[arg(long, default_value_t = 20_000)]
    orders: u64,
    /// Orders in flight
    #[arg(long, default_value_t = 256)]
    concurrency: u64,
    /// Share of the orders that fail
    #[arg(long, default_value_t = 0.0)]
    fail_rate: f64,
    /// Runs of each set-up; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Engines
    #[arg(long, default_value_t = 1)]
    engines: usize,
    /// Lanes of each engine; the program's own default if not given
    #[arg(long)]
    lanes: Option<usize>,
    /// Shards, and so partitions of the topic of replies; the program's own default if not given
    #[arg(long)]
    shards: Option<u16>,
    /// One worker process for all participants instead of one each
    #[arg(long)]
    one_worker: bool,
    /// The program to measure; built in release mode if not given
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Orders before the first measured one of each run
    #[arg(long, default_value_t = 1_000)]
    warm_up: u64,
    /// One JSON object per run and per median instead of a table
    #[arg(long)]
    json: bool,
}

/// How participants are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Courier {
    Kafka,
    Grpc,
}

impl std::fmt::Display for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kafka => "Kafka",
            Self::Grpc => "gRPC",
        })
    }
}

/// What participants do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Participants {
    Full,
    Trivial,
}

/// What went wrong, and what was being done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Services(#[from] xtask::services::Error),
    #[error("{0}")]
    Process(String),
    #[error("{doing}: {error}")]
    Io { doing: String, error: std::io::Error },
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), BenchError> {
    let services = xtask::services::up()?;
    let program = match &args.program {
        Some(path) => {
            std::path::absolute(path).map_err(|error| BenchError::Io { doing: path.display().to_string(), error })?
        }
        None => cluster::build()?,
    };
    let mut setups = vec![setup(args, args.courier, args.participants)];
    if let Some(text) = &args.against {
        let (courier, participants) = against(text)?;
        setups.push(setup(args, courier, participants));
    }
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); setups.len()];
    for run in 1..=args.runs {
        for (setup, measured) in setups.iter().zip(&mut measured) {
            say(&format!("run {run} of {}: {}", args.runs, setup.name()));
            let mut cluster = Cluster::start(&services, &program, setup)?;
            cluster.load(args.warm_up.max(1), args.concurrency, args.fail_rate)?;
            let one = report::measure(&services, &mut cluster, args.orders, args.concurrency, args.fail_rate)?;
            report::print(&setup.name(), &one, args.json);
            measured.push(one);
        }
    }
    for (setup, measured) in setups.iter().zip(&measured) {
        report::print(&format!("median: {}", setup.name()), &report::median(measured), args.json);
    }
    Ok(())
}

fn setup(args: &Args, courier: Courier, participants: Participants) -> Setup {
    Setup {
        courier,
        participants,
        engines: args.engines.max(1),
        lanes: args.lanes,
        shards: args.shards,
        one_worker: args.one_worker,
    }
}

fn against(text: &str) -> Result<(Courier, Participants), BenchError> {
    let parsed = text.split_once(',').and_then(|(courier, participants)| {
        Some((Courier::from_str(courier, true).ok()?, Participants::from_str(participants, true).ok()?))
    });
    parsed.ok_or_else(|| BenchError::Process(format!("--against {text}: give for example grpc,trivial")))
}

#[allow(clippy::print_stderr, reason = "this is what the bench says on its way")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
