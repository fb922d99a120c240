//! `amends serve`: an engine of an installation, with API and order gateway.

mod bindings;
mod couriers;

use std::sync::Arc;
use std::time::Duration;

use amends_engine::api::{self, ApiOptions};
use amends_engine::{Engine, EngineConfig};
use amends_proto::orders::v1::order_service_server::OrderServiceServer;
use clap::Args;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;

use self::couriers::{Couriers, Parts};
use crate::args::Global;
use crate::config::{self, ConfigArgs, Flags, Settings};
use crate::engine_store::{self, EngineStore};
use crate::error::{CliError, Exit};
use crate::gateway::Orders;
use crate::gateway::reads::Reads;
use crate::signals::Stop;
use crate::{installed, listen, log};

/// What stopping may take in all: handing over, open requests, what is on its way to the broker.
const STOP_MAX: Duration = Duration::from_millis(9_500);

const EXAMPLE: &str = "\
Example:
  amends serve --store postgres://amends@127.0.0.1/amends --bus 127.0.0.1:9092 --migrate
  amends serve --store ./engine.db --participant order=http://127.0.0.1:7401 --participant payment=http://127.0.0.1:7402 …

Any number of engines may serve one Postgres database: they share its shards. `amends config show` prints all settings.
SIGTERM hands the shards over and ends within 10 seconds; a second signal ends at once.";

/// Arguments of `amends serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct ServeArgs {
    /// The engine's database: postgres://…, or the path of an SQLite file for a single engine
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Reach participants over Kafka: brokers, HOST:PORT,…
    #[arg(long, value_name = "BROKERS")]
    bus: Option<String>,
    /// Where to serve gRPC and HTTP [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where the other engines reach this one [default: where it listens]
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// Make missing tables, shards and topics first
    #[arg(long)]
    migrate: bool,
    /// Reach a participant over gRPC; repeatable
    #[arg(long, value_name = "NAME=URL", value_parser = pair)]
    participant: Vec<(String, String)>,
    /// Where a participant serves its own reads, which the gateway passes on; repeatable
    #[arg(long, value_name = "NAME=URL", value_parser = pair)]
    http_of: Vec<(String, String)>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Reads `NAME=URL`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, url)) if !name.is_empty() && !url.is_empty() => Ok((name.to_owned(), url.to_owned())),
        _ => Err("write NAME=URL, e.g. payment=http://127.0.0.1:7402".to_owned()),
    }
}

impl ServeArgs {
    fn flags(&self) -> Flags {
        let flags = Flags::default()
            .set("store.url", "--store", self.store.as_ref())
            .set("bus.url", "--bus", self.bus.as_ref())
            .set("listen", "--listen", self.listen.as_ref())
            .set("advertise", "--advertise", self.advertise.as_ref());
        let urls = self.participant.iter().fold(flags, |flags, (name, url)| {
            flags.set(&format!("participants.{name}.url"), "--participant", Some(url))
        });
        self.http_of
            .iter()
            .fold(urls, |flags, (name, url)| flags.set(&format!("participants.{name}.http"), "--http-of", Some(url)))
    }
}

/// Runs the command.
pub(crate) async fn run(_global: &Global, args: ServeArgs) -> Result<(), CliError> {
    let mut stop = Stop::listen();
    let settings = config::load(&args.config, args.flags())?.settings;
    log::init(&settings.log)?;
    let mut running = tokio::select! {
        running = Running::start(&args, &settings) => running?,
        // Nothing has been taken over yet, or its lease ends by itself.
        () = stop.requested() => return Ok(()),
    };
    let failed = tokio::select! {
        () = stop.requested() => None,
        failed = running.server_failed() => Some(failed),
    };
    stop.insist();
    tracing::info!("stopping: shards are handed over, open requests are answered");
    if tokio::time::timeout(STOP_MAX, running.stop()).await.is_err() {
        tracing::warn!("not everything has ended in time; the next owners of the shards carry on");
    }
    tracing::info!("stopped");
    failed.map_or(Ok(()), Err)
}

/// An engine that serves.
struct Running {
    engine: Engine,
    store: EngineStore,
    couriers: Couriers,
    /// Ends the server.
    cancel: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn start(args: &ServeArgs, settings: &Settings) -> Result<Self, CliError> {
        let (definitions, known) = (installed::definitions(), installed::participants());
        let bound_to = bindings::bind(settings, known.keys())?;
        for name in bindings::unknown(settings, &known) {
            tracing::warn!(participant = name, "no definition knows this participant; its settings are not used");
        }
        let url = engine_store::url(settings, "amends serve")?;
        // Before anything is taken over: a second engine on this port shall fail on the port.
        let listener = listen::bind(&settings.listen, "--listen").await?;
        let bound = listener.local_addr()?;
        let address = listen::advertised(settings.advertise.as_deref(), bound)?;
        if args.migrate {
            crate::commands::migrate::engine(&url, settings.engine.shards).await?;
        }
        let store = EngineStore::open(&url, settings).await?;
        let storage = store.storage();
        let couriers = Couriers::start(Parts {
            settings,
            storage: &storage,
            shards: store.shards(),
            definitions: &definitions,
            participants: &known,
            bindings: &bound_to,
            ensure: args.migrate,
        });
        let couriers = couriers.await?;
        let config = EngineConfig {
            shards: store.shards(),
            lanes: engine_store::lanes(settings),
            in_flight_max: settings.engine.in_flight_max,
            address: address.clone(),
            lease: store.lease(settings),
        };
        let engine = Engine::start(config, storage, couriers.courier(), couriers.publisher(), definitions).await;
        let engine = engine.map_err(|error| unstartable(&error))?;
        couriers.connect(&engine);
        let cancel = CancellationToken::new();
        let router = router(&engine, &store, settings, &cancel)?;
        let server = tokio::spawn(api::serve(listener, router, cancel.clone()));
        let (listen, store_word, shards) = (bound.to_string(), store.word(), engine.owned_shards());
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(listen, advertise = address, store = store_word, shards, version, "ready");
        Ok(Self { engine, store, couriers, cancel, server })
    }

    /// Returns when the server has ended, which it should not.
    async fn server_failed(&mut self) -> CliError {
        let error = CliError::new(Exit::Other, "the server has ended").next("amends serve again; its log says more");
        match (&mut self.server).await {
            Ok(Ok(())) => error,
            Ok(Err(why)) => error.why(why),
            Err(why) => error.why(why),
        }
    }

    /// Not ready from the first moment; the shards go to others while requests are still answered; then the rest.
    async fn stop(self) {
        self.engine.shutdown().await;
        self.cancel.cancel();
        if !self.server.is_finished() {
            let _ = self.server.await;
        }
        self.couriers.close().await;
        self.store.close().await;
    }
}

/// Engine, order gateway and the participants' reads on one port.
fn router(
    engine: &Engine,
    store: &EngineStore,
    settings: &Settings,
    cancel: &CancellationToken,
) -> Result<axum::Router, CliError> {
    let bases = settings.participants.iter().filter_map(|(name, own)| Some((name.clone(), own.http.clone()?)));
    let reads = Reads::new(bases.collect()).map_err(|error| unstartable(&error))?;
    let orders = Orders::new(engine.clone(), Arc::new(reads.clone()));
    let http = reads.routes().merge(orders.clone().routes());
    let mut grpc = RoutesBuilder::default();
    grpc.add_service(OrderServiceServer::new(orders));
    let options = ApiOptions {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: store.word().to_owned(),
        reflection: false,
        shutdown: cancel.clone(),
    };
    Ok(api::router(engine.clone(), http, grpc, options))
}

fn unstartable(error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Other, "the engine cannot start").why(error).next("amends doctor")
}
