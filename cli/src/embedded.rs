//! Everything in one process: engine and store, participants and their database, and the queues between them.
//!
//! The engine's file is `PATH`, the participants' is `PATH` with `.participants` before its extension: they are
//! services of their own and share no transaction with the engine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amends_core::{DomainEvent, Reply};
use amends_engine::courier::in_process::InProcess;
use amends_engine::courier::{CourierError, Inlet, Publisher};
use amends_engine::store::Storage;
use amends_engine::store::sqlite::SqliteStore;
use amends_engine::{Definitions, Engine, EngineConfig};
use amends_sdk::{Database, Host, ReplySink, Subscriptions};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args::Participants;
use crate::error::{CliError, Exit};

/// Unfinished sagas per shard.
const IN_FLIGHT_MAX: usize = 4_096;

/// How long domain events gather before their subscribers take them. They share a writer with the steps, whose orders
/// are waited for; nobody waits for these.
const EVENTS_GATHER: Duration = Duration::from_millis(20);

/// An engine with its participants, running.
pub(crate) struct Embedded {
    pub(crate) engine: Engine,
    pub(crate) participants: Database,
    store: SqliteStore,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

/// What an embedded engine is started with.
pub(crate) struct Options<'a> {
    /// The engine's database file, or `:memory:`.
    pub(crate) db: &'a str,
    pub(crate) participants: Participants,
    pub(crate) lanes: usize,
    pub(crate) address: String,
}

impl Embedded {
    /// Opens the databases, takes the shards over and sets unfinished sagas in motion.
    pub(crate) async fn start(options: Options<'_>) -> Result<Self, CliError> {
        let store = SqliteStore::open_as_installed(options.db).await.map_err(|error| unusable(options.db, &error))?;
        let path = participants_path(options.db);
        let participants = amends_participants::open(&path).await.map_err(|error| unusable(&path, &error))?;
        amends_participants::seed(&participants).await.map_err(|error| unusable(&path, &error))?;
        let host = amends_participants::host(participants.clone());
        let (courier, commands) = InProcess::new(host.commands(), usize::from(store.shard_count()) * IN_FLIGHT_MAX);
        let mut definitions = Definitions::default();
        definitions.add(amends_sagas::order::definition()).map_err(|error| unusable(options.db, &error))?;
        let config = EngineConfig {
            shards: store.shard_count(),
            lanes: options.lanes,
            in_flight_max: IN_FLIGHT_MAX,
            address: options.address,
            lease: None,
        };
        let shared = Arc::new(store.clone());
        let publisher = publisher(&participants, options.participants);
        let courier = Arc::new(courier);
        let engine = Engine::start(config, Storage::new(shared), courier.clone(), publisher, definitions)
            .await
            .map_err(|error| unusable(options.db, &error))?;
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        let replies = Arc::new(Replies { engine: engine.clone(), courier });
        tasks.spawn(run_host(host, options.participants, commands, replies, cancel.clone()));
        tasks.close();
        Ok(Self { engine, participants, store, cancel, tasks })
    }

    /// Stops in good order: the engine first, then the participants finish what they have begun. What is unfinished
    /// carries on at the next start.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        // The host still wants to hand its last replies to the engine, which takes none any more: they come again.
        self.engine.shutdown().await;
        self.tasks.wait().await;
        self.participants.close().await;
        self.store.close().await;
    }
}

/// The participants' file beside the engine's.
pub(crate) fn participants_path(db: &str) -> String {
    if db == ":memory:" {
        return db.to_owned();
    }
    let path = Path::new(db);
    let extension = path.extension().map_or_else(|| "db".to_owned(), |found| found.to_string_lossy().into_owned());
    path.with_extension(format!("participants.{extension}")).to_string_lossy().into_owned()
}

fn unusable(path: &str, error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Other, format!("cannot start on the database {path}"))
        .why(error)
        .next("amends dev --db OTHER.db, or amends dev --reset to begin anew")
}

fn publisher(participants: &Database, kind: Participants) -> Arc<dyn Publisher> {
    let database = participants.clone();
    match kind {
        Participants::Full => Arc::new(Subscribers(amends_participants::subscriptions(database))),
        Participants::Trivial => Arc::new(Subscribers(Subscriptions::new(database, Vec::new()))),
    }
}

async fn run_host(
    host: Host,
    kind: Participants,
    commands: tokio::sync::mpsc::Receiver<amends_core::Command>,
    replies: Arc<dyn ReplySink>,
    cancel: CancellationToken,
) {
    match kind {
        Participants::Full => host.run(commands, replies, cancel).await,
        Participants::Trivial => amends_participants::run_trivial(commands, replies, cancel).await,
    }
}

/// The way of replies into the engine.
struct Replies {
    engine: Engine,
    courier: Arc<InProcess>,
}

#[async_trait]
impl ReplySink for Replies {
    async fn send(&self, replies: Vec<Reply>) {
        self.engine.replies(replies).await;
    }

    fn suspended(&self, away: bool) {
        self.courier.suspend(away);
    }
}

/// The way of domain events to the participants that subscribe to them.
struct Subscribers(Subscriptions);

#[async_trait]
impl Publisher for Subscribers {
    async fn publish(&self, events: &[DomainEvent]) -> Result<(), CourierError> {
        tokio::time::sleep(EVENTS_GATHER).await;
        let delivered = self.0.deliver_or_pass_over(events).await;
        delivered.map(drop).map_err(|error| CourierError::Unavailable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use amends_core::{Payload, SagaId, SagaType, Timestamp};
    use amends_sdk::{EventContext, StepError, Subscriber};

    use super::*;

    /// Takes every event but those of one saga.
    #[derive(Default)]
    struct Picky(Mutex<Vec<u128>>);

    #[async_trait]
    impl Subscriber for Picky {
        fn topics(&self) -> &'static [&'static str] {
            &["moved"]
        }

        async fn on_event(&self, _: &mut EventContext<'_>, event: &DomainEvent) -> Result<(), StepError> {
            match event.saga_id.as_uuid().as_u128() {
                2 => Err(StepError::try_again("never")),
                saga => {
                    self.0.lock().unwrap().push(saga);
                    Ok(())
                }
            }
        }
    }

    #[tokio::test]
    async fn an_event_that_cannot_be_taken_holds_up_no_other_i35() {
        let picky = Arc::new(Picky::default());
        let database = Database::open_sqlite(":memory:").await.unwrap();
        let subscribers = Subscribers(Subscriptions::new(database, vec![picky.clone()]));
        let event = |saga: u128| DomainEvent {
            id: SagaId::from_uuid(uuid::Uuid::from_u128(saga)).as_uuid(),
            topic: "moved".to_owned(),
            saga_id: SagaId::from_uuid(uuid::Uuid::from_u128(saga)),
            saga_type: SagaType::new("order").unwrap(),
            at: Timestamp(0),
            payload: Payload::null(),
        };
        subscribers.publish(&[event(1), event(2), event(3)]).await.unwrap();
        // The first comes again with the whole delivery: at least once is the promise.
        assert_eq!(*picky.0.lock().unwrap(), [1, 1, 3]);
    }

    #[test]
    fn the_participants_file_stands_beside_the_engines() {
        assert_eq!(participants_path("./amends.db"), "./amends.participants.db");
        assert_eq!(participants_path("/data/a.b/orders"), "/data/a.b/orders.participants.db");
        assert_eq!(participants_path(":memory:"), ":memory:");
    }
}
