//! Two engines on one Postgres and on real ports: what reaches the one that does not own the saga is done by the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_core::{Command, Definition, Input, Millis, Operator, SagaId, Shard};
use amends_engine::api::{self, ApiOptions};
use amends_engine::courier::Inlet;
use amends_engine::courier::in_process::InProcess;
use amends_engine::store::Storage;
use amends_engine::store::postgres::{PostgresOptions, PostgresStore};
use amends_engine::{Definitions, Engine, EngineConfig};
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::saga_service_client::SagaServiceClient;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::world::{TRIP, Topics, done, key_id, reply};

const SHARDS: u16 = 4;

/// As in production.
const LEASE: Millis = Millis(6_000);

/// Longer than anything takes that is to happen.
const SOON: Duration = Duration::from_secs(20);

/// A schema of its own on the server of `AMENDS_STORE`; the server's scratch, should a test fail.
struct Place {
    url: String,
    server: String,
    schema: String,
}

impl Place {
    async fn new() -> Self {
        let server = std::env::var("AMENDS_STORE").expect("AMENDS_STORE; `cargo xtask up` starts a server and says it");
        let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
        let place = Self { url: format!("{server}?options[search_path]={schema}"), server, schema };
        place.run("CREATE SCHEMA").await;
        PostgresStore::migrate(&place.url, Some(SHARDS)).await.unwrap();
        place
    }

    async fn drop(self) {
        self.run("DROP SCHEMA").await;
    }

    async fn run(&self, verb: &str) {
        let cascade = if verb.starts_with("DROP") { "CASCADE" } else { "" };
        let sql = format!("SET lock_timeout = '5s'; {verb} {} {cascade}", self.schema);
        let mut server = PgConnection::connect(&self.server).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut server).await.unwrap();
    }
}

/// An engine in what could be a process of its own.
struct Node {
    engine: Engine,
    address: SocketAddr,
    commands: mpsc::Receiver<Command>,
    runtime: Option<Runtime>,
}

impl Node {
    async fn start(place: &Place) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (engine, address, commands) = runtime.spawn(Self::serve(place.url.clone())).await.unwrap();
        Self { engine, address, commands, runtime: Some(runtime) }
    }

    async fn serve(url: String) -> (Engine, SocketAddr, mpsc::Receiver<Command>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = Arc::new(PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap());
        let mut definitions = Definitions::default();
        definitions.add(Arc::new(Definition::parse(TRIP).unwrap())).unwrap();
        let names = ["flight.book", "hotel.book", "mail.send"].map(str::to_owned).to_vec();
        let (courier, commands) = InProcess::new(names, 1_000);
        let config = EngineConfig {
            shards: SHARDS,
            lanes: 2,
            in_flight_max: 100,
            address: address.to_string(),
            lease: Some(LEASE),
        };
        let (storage, topics) = (Storage::new(store), Arc::new(Topics::default()));
        let engine = Engine::start(config, storage, Arc::new(courier), topics, definitions).await.unwrap();
        let shutdown = CancellationToken::new();
        let options =
            ApiOptions { version: "0".into(), store: "postgres".into(), reflection: false, shutdown: shutdown.clone() };
        let router = api::router(engine.clone(), axum::Router::new(), RoutesBuilder::default(), options);
        tokio::spawn(api::serve(listener, router, shutdown));
        (engine, address, commands)
    }

    async fn client(&self) -> SagaServiceClient<Channel> {
        SagaServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    /// Ends it without a word, and returns when its port refuses.
    async fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it in order.
    async fn stop(mut self) {
        self.engine.shutdown().await;
        self.runtime.take().unwrap().shutdown_background();
    }

    /// The saga's next command of a step. Others may come again meanwhile.
    async fn command(&mut self, saga: SagaId, step: &str) -> Command {
        loop {
            let command = tokio::time::timeout(SOON, self.commands.recv()).await.expect("a command").unwrap();
            assert_eq!(command.saga_id, saga);
            if command.step.as_str() == step {
                return command;
            }
        }
    }
}

/// Two engines with an even share, and a key of a saga of the second's.
async fn pair(place: &Place) -> (Node, Node, String) {
    let (one, two) = (Node::start(place).await, Node::start(place).await);
    let even = async {
        while [one.engine.owned_shards(), two.engine.owned_shards()] != [2, 2] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, even).await.expect("an even share");
    let shards = one.engine.archive().shards().await.unwrap();
    let address = two.address.to_string();
    let seconds = |shard: Shard| shards[usize::from(shard.0)].owner.as_ref().is_some_and(|at| at.address == address);
    let key = (0..1_000).map(|number| format!("key-{number}")).find(|key| seconds(Shard::of(key_id(key), SHARDS)));
    (one, two, key.unwrap())
}

fn start(key: &str, wait: bool) -> proto::StartSagaRequest {
    proto::StartSagaRequest {
        r#type: "trip".into(),
        idempotency_key: key.into(),
        input: "{}".into(),
        wait,
        ..proto::StartSagaRequest::default()
    }
}

#[tokio::test]
async fn what_reaches_another_engine_is_done_by_the_owner() {
    let place = Place::new().await;
    let (one, mut two, key) = pair(&place).await;
    let id = key_id(&key);
    let mut client = one.client().await;
    let started = client.start_saga(start(&key, false)).await.unwrap().into_inner();
    assert!(!started.existed && started.saga.unwrap().id == id.to_string());
    let flight = two.command(id, "flight").await;
    let operator = || Operator { who: "ann".into(), reason: "a strike".into() };
    one.engine.operate(id, Input::Pause(operator())).await.unwrap();
    one.engine.operate(id, Input::Resume(operator())).await.unwrap();
    let mut rows = one.engine.follow(id).await.unwrap().expect("it is followed where it is");
    let seq = *rows.borrow_and_update();
    assert_eq!(seq, 3, "begun, paused, resumed");
    two.engine.replies(vec![reply(&flight, done())]).await;
    tokio::time::timeout(SOON, rows.wait_for(|now| *now > seq)).await.expect("its rows are told").unwrap();

    // The same again, by a caller that waits for the end of it.
    let waiting = tokio::spawn(async move { client.start_saga(start(&key, true)).await });
    for step in ["hotel", "mail"] {
        let command = two.command(id, step).await;
        two.engine.replies(vec![reply(&command, done())]).await;
    }
    let ended = tokio::time::timeout(SOON, waiting).await.expect("the end is told").unwrap().unwrap().into_inner();
    assert!(ended.existed);
    assert_eq!(ended.saga.unwrap().status, proto::SagaStatus::Completed as i32);
    one.stop().await;
    two.stop().await;
    place.drop().await;
}

#[tokio::test]
async fn a_start_outlasts_the_death_of_the_owner_unless_its_caller_does_not_wait() {
    let place = Place::new().await;
    let (mut one, mut two, key) = pair(&place).await;
    let (mut client, mut hasty) = (one.client().await, one.client().await);
    two.kill().await;
    let killed = Instant::now();
    let request = start(&key, false);
    let started = tokio::spawn(async move { client.start_saga(request).await });

    let mut brief = Request::new(start(&key, false));
    brief.set_timeout(Duration::from_secs(1));
    let refused = hasty.start_saga(brief).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "an answer, not a time-out: {refused:?}");
    assert!(killed.elapsed() < Duration::from_millis(1_500), "{:?}", killed.elapsed());

    let started = started.await.unwrap().unwrap().into_inner();
    assert!(!started.existed);
    let waited = killed.elapsed();
    assert!(waited > Duration::from_millis(LEASE.0 / 2), "the lease had to end first: {waited:?}");
    let flight = one.command(key_id(&key), "flight").await;
    one.engine.replies(vec![reply(&flight, done())]).await;
    one.command(key_id(&key), "hotel").await;
    one.stop().await;
    place.drop().await;
}
