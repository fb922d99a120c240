//! An engine on SQLite in memory, participants that do as the test says, and a store that can be made to fail.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends_core::{Command, Definition, DomainEvent, Failure, Millis, Outcome, Payload, Reply, SagaId, Shard, Status};
use amends_engine::courier::in_process::InProcess;
use amends_engine::courier::{Courier, CourierError, Inlet, Publisher};
use amends_engine::service::ServiceError;
use amends_engine::service::start::{StartSaga, Started};
use amends_engine::store::sqlite::SqliteStore;
use amends_engine::store::{
    Archive, Batch, JournalRow, Leases, Owner, ShardMark, Storage, Store, StoreError, StoredSaga,
};
use amends_engine::{Definitions, Engine, EngineConfig};
use async_trait::async_trait;
use tokio::sync::mpsc;

pub const TRIP: &str = r#"
saga = "trip"
version = 1
[[step]]
name = "flight"
command = "flight.book"
kind = "compensatable"
timeout = "300ms"
retry = { attempts = 3, initial = "10ms", max = "20ms" }
[[step]]
name = "hotel"
command = "hotel.book"
kind = "pivot"
retry = { attempts = 3, initial = "10ms", max = "20ms" }
[[step]]
name = "mail"
command = "mail.send"
kind = "retriable"
timeout = "300ms"
retry = { attempts = 1 }
on_exhausted = "park"
[[event]]
on = "hotel.succeeded"
topic = "booked"
[[event]]
on = "saga.completed"
topic = "done"
"#;

/// Two steps at the same time.
pub const TWINS: &str = r#"
saga = "twins"
version = 1
[[step]]
name = "flight"
command = "flight.book"
kind = "compensatable"
timeout = "400ms"
retry = { attempts = 3, initial = "10ms", max = "20ms" }
[[step]]
name = "hotel"
command = "hotel.book"
kind = "compensatable"
timeout = "400ms"
after = []
retry = { attempts = 3, initial = "10ms", max = "20ms" }
[[step]]
name = "mail"
command = "mail.send"
kind = "pivot"
after = ["flight", "hotel"]
timeout = "5s"
"#;

/// What the next commits do instead of, or beside, committing.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing is written.
    Unavailable,
    /// All is written, and then the answer is lost.
    Unheard,
    /// Another owner has taken this shard over.
    Taken(Shard),
}

/// A real store whose commits can be made to fail.
pub struct Faulty {
    pub store: SqliteStore,
    faults: Mutex<VecDeque<Fault>>,
}

impl Faulty {
    pub fn new(store: SqliteStore) -> Self {
        Self { store, faults: Mutex::default() }
    }

    pub fn add(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }
}

#[async_trait]
impl Store for Faulty {
    async fn recover(&self, shard: Shard) -> Result<Vec<StoredSaga>, StoreError> {
        self.store.recover(shard).await
    }

    async fn load(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError> {
        self.store.load(ids).await
    }

    async fn journal_after(&self, shard: Shard, position: i64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        self.store.journal_after(shard, position, limit).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => self.store.commit(batch).await,
            Some(Fault::Unavailable) => Err(StoreError::Unavailable("no disk".into())),
            Some(Fault::Unheard) => {
                self.store.commit(batch).await?;
                Err(StoreError::Unavailable("connection lost".into()))
            }
            Some(Fault::Taken(shard)) => {
                let other = Owner { incarnation: uuid::Uuid::from_u128(9), address: "other".into() };
                assert_eq!(self.store.claim(&other, &[shard], Millis(1_000_000)).await?.len(), 1);
                self.store.commit(batch).await
            }
        }
    }
}

/// Domain events as their topics got them.
#[derive(Default)]
pub struct Topics {
    pub events: Mutex<Vec<DomainEvent>>,
    pub failures: Mutex<usize>,
}

#[async_trait]
impl Publisher for Topics {
    async fn publish(&self, events: &[DomainEvent]) -> Result<(), CourierError> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(CourierError::Unavailable("no broker".into()));
        }
        self.events.lock().unwrap().extend_from_slice(events);
        Ok(())
    }
}

pub struct World {
    pub store: Arc<Faulty>,
    pub topics: Arc<Topics>,
    pub engine: Engine,
    pub commands: mpsc::Receiver<Command>,
}

impl World {
    pub async fn new(config: EngineConfig) -> Self {
        let store = SqliteStore::open(":memory:", config.shards).await.unwrap();
        Self::on(Arc::new(Faulty::new(store)), config).await
    }

    pub async fn on(store: Arc<Faulty>, config: EngineConfig) -> Self {
        let names = ["flight.book", "hotel.book", "mail.send"].map(str::to_owned).to_vec();
        let (courier, commands) = InProcess::new(names, 1_000);
        Self::with(store, config, Arc::new(courier), commands).await
    }

    /// An engine whose commands go through a courier of the test's.
    pub async fn with(
        store: Arc<Faulty>,
        config: EngineConfig,
        courier: Arc<dyn Courier>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let topics = Arc::new(Topics::default());
        let mut definitions = Definitions::default();
        for definition in [TRIP, TWINS] {
            definitions.add(Arc::new(Definition::parse(definition).unwrap())).unwrap();
        }
        let storage = Storage { store: store.clone(), ..Storage::new(Arc::new(store.store.clone())) };
        let engine = Engine::start(config, storage, courier, topics.clone(), definitions);
        Self { engine: engine.await.unwrap(), store, topics, commands }
    }

    pub async fn start(&self, key: Option<&str>, input: &str) -> Result<Started, ServiceError> {
        self.engine.start_saga(request(&self.engine, key, input)).await
    }

    /// Starts a saga of some type.
    pub async fn begin(&self, saga_type: &str, deadline: Option<Millis>) -> SagaId {
        let request = StartSaga { saga_type: saga_type.into(), deadline, ..request(&self.engine, None, "{}") };
        self.engine.start_saga(request).await.unwrap().id
    }

    /// The next command, which must come within a moment.
    pub async fn command(&mut self) -> Command {
        tokio::time::timeout(Duration::from_secs(5), self.commands.recv()).await.expect("a command").unwrap()
    }

    /// That no command comes for a while.
    pub async fn silence(&mut self) {
        let silent = tokio::time::timeout(Duration::from_millis(150), self.commands.recv()).await;
        assert!(silent.is_err(), "nothing may leave: {silent:?}");
    }

    pub async fn reply(&self, command: &Command, outcome: Outcome) {
        self.engine.replies(vec![reply(command, outcome)]).await;
    }

    /// Answers every command as done until a saga has come to rest; says how it ended.
    pub async fn drive(&mut self, id: SagaId) -> Status {
        let mut ended = self.engine.ended();
        loop {
            if let Some(status) = self.at_rest(id).await {
                return status;
            }
            tokio::select! {
                command = self.commands.recv() => self.reply(&command.unwrap(), done()).await,
                _ = ended.recv() => {}
                () = tokio::time::sleep(Duration::from_secs(20)) => panic!("saga {id} never comes to rest"),
            }
        }
    }

    async fn at_rest(&self, id: SagaId) -> Option<Status> {
        let status = self.store.store.saga(id).await.unwrap()?.row.state.status;
        (status.is_terminal() || status == Status::Parked).then_some(status)
    }

    /// The journal's kinds of event, in order; its rows must be gapless (I5).
    pub async fn journal(&self, id: SagaId) -> Vec<&'static str> {
        let stored = self.store.store.saga(id).await.unwrap().expect("the saga exists");
        let gapless = stored.journal.iter().enumerate().all(|(index, row)| row.seq == index as u64 + 1);
        assert!(gapless, "gapless (I5): {:?}", stored.journal);
        stored.journal.iter().flat_map(|row| row.events.iter().map(|event| event.kind())).collect()
    }

    /// Gives a shard to another owner, as if this one's lease had ended.
    pub async fn take(&self, other: &Owner, shard: Shard) {
        let store = &self.store.store;
        let row = store.shards().await.unwrap().remove(usize::from(shard.0));
        let mark = ShardMark {
            shard,
            epoch: row.epoch,
            journal_head: row.journal_head,
            published_head: row.published_head,
            reply_cursor: row.reply_cursor,
        };
        store.release(&[mark]).await.unwrap();
        assert_eq!(store.claim(other, &[shard], Millis(1_000_000)).await.unwrap().len(), 1);
    }

    /// Where a saga stands.
    pub async fn status(&self, id: SagaId) -> Status {
        self.store.store.saga(id).await.unwrap().expect("the saga exists").row.state.status
    }

    /// Stops the engine without a hand-over: its shards are another's before it lets go of them.
    pub async fn crash(&self) {
        let other = Owner { incarnation: uuid::Uuid::from_u128(9), address: "other".into() };
        let shards: Vec<_> = (0..self.engine.in_flight().len() as u16).map(Shard).collect();
        assert_eq!(self.store.store.claim(&other, &shards, Millis(0)).await.unwrap().len(), shards.len());
        self.engine.shutdown().await;
    }

    /// Writes a journal row as another engine would.
    pub async fn append(&self, row: JournalRow) {
        let other = Owner { incarnation: uuid::Uuid::from_u128(9), address: "other".into() };
        let lease = self.store.store.claim(&other, &[row.shard], Millis(0)).await.unwrap().remove(0);
        let mark = ShardMark {
            shard: lease.shard,
            epoch: lease.epoch,
            journal_head: row.position,
            published_head: lease.published_head,
            reply_cursor: lease.reply_cursor,
        };
        let batch = Batch { shards: vec![mark], journal: vec![row], ..Batch::default() };
        self.store.store.commit(Arc::new(batch)).await.unwrap();
    }

    /// Waits until so many domain events have been published.
    pub async fn published(&self, count: usize) -> Vec<DomainEvent> {
        for _ in 0..500 {
            let events = self.topics.events.lock().unwrap().clone();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} events were not published: {:?}", self.topics.events.lock().unwrap());
    }
}

pub fn config() -> EngineConfig {
    EngineConfig { shards: 4, lanes: 2, in_flight_max: 100, address: "here".into(), lease: None }
}

pub fn request(engine: &Engine, key: Option<&str>, input: &str) -> StartSaga {
    StartSaga {
        saga_type: "trip".into(),
        key: key.map(|key| amends_core::IdempotencyKey::new(key).unwrap()),
        id: engine.new_saga_id(),
        input: Payload::from_json(input.into()).unwrap(),
        deadline: None,
    }
}

/// The saga that a key names.
pub fn key_id(key: &str) -> SagaId {
    SagaId::from_key(&amends_core::SagaType::new("trip").unwrap(), &amends_core::IdempotencyKey::new(key).unwrap())
}

pub fn reply(command: &Command, outcome: Outcome) -> Reply {
    Reply {
        command_id: command.id,
        saga_id: command.saga_id,
        step: command.step.clone(),
        operation: command.operation,
        attempt: command.attempt,
        outcome,
    }
}

pub fn done() -> Outcome {
    Outcome::Done(Payload::null())
}

pub fn refused() -> Outcome {
    Outcome::Refused(Failure::new("NO", "not today"))
}
