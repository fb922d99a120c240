//! `amends worker`: built-in participants as a process of their own.

mod counted;
mod http;
#[cfg(feature = "kafka")]
mod kafka;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use amends_core::Command;
use amends_participants::PARTICIPANTS;
use amends_sdk::grpc::{self, Served};
use amends_sdk::{Database, Host, ReplySink};
use clap::Args;
use clap::builder::PossibleValuesParser;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::counted::{Counted, Counters};
use crate::args::Global;
use crate::config::{self, ConfigArgs, Flags, Settings};
use crate::error::{CliError, Exit};
use crate::signals::Stop;
use crate::{installed, listen, log, participants_store};

/// What a worker that is told to stop may take in all; what is unfinished then comes again elsewhere.
const STOP_MAX: Duration = Duration::from_secs(10);

const EXAMPLE: &str = "\
Example:
  amends worker all --store postgres://amends@127.0.0.1/amends --bus 127.0.0.1:9092 --http 127.0.0.1:8001 --seed
  amends worker payment --store ./payment.db --grpc 127.0.0.1:7402

Tables are brought up to date at start. Any number of workers may run the same participant on one Postgres database.";

/// Arguments of `amends worker`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct WorkerArgs {
    /// order, payment, inventory, notification, or all of them
    #[arg(required = true, value_name = "NAME", hide_possible_values = true, value_parser = names())]
    names: Vec<String>,
    /// The participants' database: postgres://…, or the path of an SQLite file
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Take commands from Kafka: brokers, HOST:PORT,…
    #[arg(long, value_name = "BROKERS", conflicts_with = "grpc")]
    bus: Option<String>,
    /// Take commands over gRPC at this address
    #[arg(long, value_name = "ADDR")]
    grpc: Option<String>,
    /// Serve reads, /livez, /readyz and /metrics at this address
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Fill empty shelves with the demo's stock
    #[arg(long)]
    seed: bool,
    /// Answer at once and store nothing: for benches
    #[arg(long, conflicts_with_all = ["store", "seed"])]
    trivial: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(PARTICIPANTS.into_iter().chain(["all"]))
}

/// Who answers commands.
#[derive(Clone)]
enum Answerer {
    Full(Database),
    Trivial,
}

/// Runs the command.
pub(crate) async fn run(_global: &Global, args: WorkerArgs) -> Result<(), CliError> {
    let mut stop = Stop::listen();
    let flags = Flags::default().set("worker.store", "--store", args.store.as_ref());
    let settings = config::load(&args.config, flags.set("bus.url", "--bus", args.bus.as_ref()))?.settings;
    if args.grpc.is_none() {
        check_bus(&settings)?;
    }
    log::init(&settings.log)?;
    let names = participants(&args.names);
    let grpc = match &args.grpc {
        Some(address) => Some(listen::bind(address, "--grpc").await?),
        None => None,
    };
    let http = match &args.http {
        Some(address) => Some(listen::bind(address, "--http").await?),
        None => None,
    };
    let (answerer, cancel, counters) = (open(&args, &settings).await?, CancellationToken::new(), Counters::new());
    let mut hosts = JoinSet::new();
    let worker = Worker { names: &names, answerer: &answerer, counters: &counters, cancel: &cancel };
    let by = match grpc {
        Some(listener) => {
            worker.over_grpc(listener, &mut hosts)?;
            format!("gRPC at {}", args.grpc.as_deref().unwrap_or_default())
        }
        None => {
            worker.over_bus(&settings, &mut hosts)?;
            format!("Kafka at {}", settings.bus.url.as_deref().unwrap_or_default())
        }
    };
    if let Some(listener) = http {
        let router = http::router(&names, &answerer, counters.clone(), cancel.clone())?;
        let served = amends_engine::api::serve(listener, router, cancel.clone());
        hosts.spawn(async move { served.await.map_err(|error| ended("the HTTP server", &error)) });
    }
    tracing::info!(participants = names.join(","), by, http = args.http, version = env!("CARGO_PKG_VERSION"), "ready");
    let ended_early = tokio::select! {
        () = stop.requested() => None,
        ended = hosts.join_next() => ended,
    };
    stop.insist();
    tracing::info!("stopping: commands in hand are answered, others go to other workers or wait");
    cancel.cancel();
    let result = finish(ended_early, hosts).await;
    if let Answerer::Full(database) = answerer {
        database.close().await;
    }
    tracing::info!("stopped");
    result
}

/// Each name once, in the order in which an order goes through them.
fn participants(names: &[String]) -> Vec<&'static str> {
    let all = names.iter().any(|name| name == "all");
    PARTICIPANTS.into_iter().filter(|known| all || names.iter().any(|name| name == known)).collect()
}

/// Opens the database when it is up, and brings its tables up to date.
async fn open(args: &WorkerArgs, settings: &Settings) -> Result<Answerer, CliError> {
    if args.trivial {
        return Ok(Answerer::Trivial);
    }
    let Some(url) = settings.worker.store.as_ref().or(settings.store.url.as_ref()) else {
        return Err(CliError::new(Exit::Usage, "the worker needs a database of its own")
            .why("neither --store nor worker.store names one")
            .next("amends worker all --store ./participants.db …"));
    };
    let database = participants_store::open(url).await?;
    if args.seed {
        amends_participants::seed(&database).await.map_err(|error| participants_store::unusable(url, &error))?;
    }
    Ok(Answerer::Full(database))
}

/// What a host is given: commands, the way of the replies, and a token for when there is no more time.
type Answer = Box<dyn FnOnce(mpsc::Receiver<Command>, Arc<dyn ReplySink>, CancellationToken) -> Answering + Send>;
type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Answerer {
    /// Answers commands, each counted.
    fn run(self, names: &[&'static str], counters: Counters) -> Result<Answer, CliError> {
        let host: Option<Host> = match &self {
            Self::Full(database) => Some(amends_participants::host_for(names, database).map_err(unknown)?),
            Self::Trivial => None,
        };
        Ok(Box::new(move |commands, replies: Arc<dyn ReplySink>, hurry| {
            let replies: Arc<dyn ReplySink> = Arc::new(Counted::new(replies, counters));
            let answering: Answering = match host {
                Some(host) => Box::pin(async move { host.run(commands, replies, hurry).await }),
                None => Box::pin(amends_participants::run_trivial(commands, replies, hurry)),
            };
            answering
        }))
    }
}

/// What all ways to take commands share.
struct Worker<'a> {
    names: &'a [&'static str],
    answerer: &'a Answerer,
    counters: &'a Counters,
    cancel: &'a CancellationToken,
}

impl Worker<'_> {
    /// One server for all of them: engines ask each participant at the same address.
    fn over_grpc(&self, listener: TcpListener, hosts: &mut JoinSet<Result<(), CliError>>) -> Result<(), CliError> {
        let subscriptions = match self.answerer {
            Answerer::Full(database) => {
                Some(amends_participants::subscriptions_for(self.names, database).map_err(unknown)?)
            }
            Answerer::Trivial => None,
        };
        let served = Served { commands: commands_of(self.names), subscriptions };
        let answer = self.answerer.clone().run(self.names, self.counters.clone())?;
        let cancel = self.cancel.clone();
        hosts.spawn(async move {
            grpc::serve(listener, served, cancel, answer).await.map_err(|error| ended("the gRPC server", &error))
        });
        Ok(())
    }

    #[cfg(not(feature = "kafka"))]
    fn over_bus(&self, settings: &Settings, _: &mut JoinSet<Result<(), CliError>>) -> Result<(), CliError> {
        check_bus(settings)
    }
}

/// Whether commands can come from a bus, before anything is opened.
fn check_bus(settings: &Settings) -> Result<(), CliError> {
    match settings.bus.url {
        None => Err(CliError::new(Exit::Usage, "the worker does not know where commands come from")
            .why("neither --bus nor --grpc says so, nor the configuration")
            .next("amends worker all --grpc 127.0.0.1:7401")),
        #[cfg(feature = "kafka")]
        Some(_) => Ok(()),
        #[cfg(not(feature = "kafka"))]
        Some(_) => Err(crate::features::without_kafka()),
    }
}

/// The commands of these participants, as the order saga has them.
fn commands_of(names: &[&'static str]) -> Vec<String> {
    let own = installed::participants().into_iter().filter(|(name, _)| names.contains(&name.as_str()));
    own.flat_map(|(_, commands)| commands).collect()
}

fn unknown(error: amends_participants::UnknownParticipant) -> CliError {
    CliError::new(Exit::Usage, "the worker cannot be put together").why(error).next("amends worker --help")
}

fn ended(what: &str, error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Other, format!("{what} has failed"))
        .why(error)
        .next("start the worker again; its log says more")
}

type Joined = Result<Result<(), CliError>, tokio::task::JoinError>;

/// Waits for the hosts to end, but not for ever; the first failure is the worker's.
async fn finish(early: Option<Joined>, mut hosts: JoinSet<Result<(), CliError>>) -> Result<(), CliError> {
    let mut result = Ok(());
    let mut note = |joined: Joined| {
        let one = joined.unwrap_or_else(|error| Err(ended("a part of the worker", &error)));
        if result.is_ok() {
            result = one;
        }
    };
    early.into_iter().for_each(&mut note);
    let rest = async {
        while let Some(joined) = hosts.join_next().await {
            note(joined);
        }
    };
    if tokio::time::timeout(STOP_MAX, rest).await.is_err() {
        tracing::warn!("not everything has ended in time; commands in hand come again");
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_once_and_in_order() {
        let named = |names: &[&str]| participants(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(named(&["all"]), PARTICIPANTS);
        assert_eq!(named(&["payment", "order", "payment"]), ["order", "payment"]);
        assert_eq!(named(&["payment", "all"]), PARTICIPANTS);
    }

    #[test]
    fn every_participant_of_the_order_saga_has_its_commands() {
        assert_eq!(commands_of(&["payment"]), ["payment.charge"]);
        assert_eq!(commands_of(&PARTICIPANTS).len(), 4);
    }
}
