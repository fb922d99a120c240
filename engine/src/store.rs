//! What the engine needs from a database.
//!
//! Small ports: [`Store`] is the write path of the shard owners, every commit fenced by the epoch; [`Leases`] says who
//! owns what; [`Archive`] is what queries read; [`TopicBook`] remembers the broker's topics. One conformance suite
//! defines right for every implementation.

mod batch;
pub mod conformance;
mod listed;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;
mod token;
mod transitions;

use std::collections::HashSet;
use std::sync::Arc;

use amends_core::{
    Epoch, IdempotencyKey, Millis, Operation, SagaId, SagaType, Shard, Status, StepName, Timestamp, Transition,
};
use async_trait::async_trait;
use uuid::Uuid;

/// The write path. Called by the owner of the shards only.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The unfinished sagas of a shard, oldest first, without the parked and the paused: those are loaded when
    /// something reaches them.
    async fn recover(&self, shard: Shard) -> Result<Vec<StoredSaga>, StoreError>;

    /// Sagas by id, in no particular order; ids that do not exist are left out. A terminal saga comes without its journal.
    async fn load(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError>;

    /// Journal rows of a shard after a position, in order, at most `limit`: what may not have been published yet.
    async fn journal_after(&self, shard: Shard, position: i64, limit: u32) -> Result<Vec<JournalRow>, StoreError>;

    /// Commits all of a batch or nothing, durably. First it locks and compares the epoch of every shard of the batch.
    /// Runs to its end even if the caller's future is dropped, which is why the batch is shared.
    async fn commit(&self, batch: Arc<Batch>) -> Result<(), StoreError>;
}

/// Who owns what. Times are read off one clock, the database's: engines whose own clocks differ agree on who is late.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes over those of `shards` that are free, expired, or `owner`'s already; each gets a new epoch and is held for
    /// `ttl`. Shards that another live owner holds are left out of the answer.
    async fn claim(&self, owner: &Owner, shards: &[Shard], ttl: Millis) -> Result<Vec<Lease>, StoreError>;

    /// Says that `owner` lives: it is a member, and what it holds is its own, for `ttl` from now. Answers who else does.
    /// A lease that has expired and that nobody has claimed since is the owner's again.
    async fn heartbeat(&self, owner: &Owner, ttl: Millis) -> Result<Cluster, StoreError>;

    /// Frees shards and keeps their last marks. A mark whose epoch is not the stored one changes nothing.
    async fn release(&self, marks: &[ShardMark]) -> Result<(), StoreError>;

    /// Ends the membership and frees whatever `owner` still holds.
    async fn leave(&self, owner: &Owner) -> Result<(), StoreError>;

    /// Notes why a shard stands still, for all to see, or that it no longer does. Another epoch than the stored one
    /// changes nothing; a claim clears it.
    async fn note_halt(&self, shard: Shard, epoch: Epoch, why: Option<&str>) -> Result<(), StoreError>;
}

/// What is known of the broker's topics: a topic that was deleted and made anew has another id, and its offsets begin
/// anew, too.
#[async_trait]
pub trait TopicBook: Send + Sync + 'static {
    /// All that are recorded, by name.
    async fn topics(&self) -> Result<Vec<TopicRow>, StoreError>;

    /// Records a topic that is not known yet. One that is known as another is `Conflict`; as the same, nothing changes.
    async fn record_topic(&self, row: &TopicRow) -> Result<(), StoreError>;

    /// Records a topic in the place of the one known by its name. With `rewind`, every shard's reply cursor begins anew
    /// and every owner is fenced: for the topic of replies, when an operator has decided that the old one is lost.
    async fn replace_topic(&self, row: &TopicRow, rewind: bool) -> Result<(), StoreError>;
}

/// One database under all its ports.
#[derive(Clone)]
pub struct Storage {
    /// The write path.
    pub store: Arc<dyn Store>,
    /// The read path.
    pub archive: Arc<dyn Archive>,
    /// Who owns what.
    pub leases: Arc<dyn Leases>,
    /// The broker's topics.
    pub topics: Arc<dyn TopicBook>,
}

impl Storage {
    /// The ports of one adapter.
    pub fn new<S: Store + Archive + Leases + TopicBook>(store: Arc<S>) -> Self {
        Self { store: store.clone(), archive: store.clone(), leases: store.clone(), topics: store }
    }
}

/// The read path. Sees what is committed, on any engine.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// One saga with its whole journal; `Corrupt` if it cannot be read.
    async fn saga(&self, id: SagaId) -> Result<Option<StoredSaga>, StoreError>;

    /// Sagas with their whole journals, in no particular order; ids that do not exist are left out.
    async fn sagas(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError> {
        let mut sagas = Vec::with_capacity(ids.len());
        for id in ids {
            match self.saga(*id).await {
                Ok(found) => sagas.extend(found),
                Err(StoreError::Corrupt(why)) => tracing::error!(saga = %id, why, "a saga cannot be read"),
                Err(error) => return Err(error),
            }
        }
        Ok(sagas)
    }

    /// Ids that end with `suffix` (hex digits, hyphens ignored) among the unfinished sagas and the 10,000 newest; at most two.
    async fn by_suffix(&self, suffix: &str) -> Result<Vec<SagaId>, StoreError>;

    /// A page of sagas, newest first.
    async fn list(&self, filter: &SagaFilter, page: &Page) -> Result<SagaPage, StoreError>;

    /// A page of dead letters, newest first.
    async fn dead_letters(&self, filter: &DeadLetterFilter, page: &Page) -> Result<DeadLetterPage, StoreError>;

    /// All shards, in order.
    async fn shards(&self) -> Result<Vec<ShardRow>, StoreError>;

    /// Stores a definition under its type and version. The same checksum again changes nothing; another one is `Conflict`.
    async fn save_definition(&self, row: &DefinitionRow) -> Result<(), StoreError>;

    /// All stored definitions, since unfinished sagas may pin old versions.
    async fn definitions(&self) -> Result<Vec<DefinitionRow>, StoreError>;
}

/// Why a store did not do what was asked; named by what the caller does next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// What is stored contradicts the request: reload, then decide again.
    #[error("conflicts with what is stored: {0}")]
    Conflict(String),
    /// Another owner has the shard: step down at once, act on nothing.
    #[error("shard {0} has another owner")]
    Fenced(Shard),
    /// The database does not answer or cannot write now: retry.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// What is stored cannot be read: park, alert.
    #[error("the database holds what this program cannot read: {0}")]
    Corrupt(String),
}

/// An engine process, as owners are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Fresh per process start (I30).
    pub incarnation: Uuid,
    /// Where others reach it, e.g. `127.0.0.1:7400`.
    pub address: String,
}

/// The engines and the shards at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// All members whose membership has not expired, by incarnation.
    pub engines: Vec<Owner>,
    /// All shards, in order.
    pub shards: Vec<ShardRow>,
}

/// A shard taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which.
    pub shard: Shard,
    /// The proof of ownership that every commit carries.
    pub epoch: Epoch,
    /// Last journal position committed.
    pub journal_head: i64,
    /// Last journal position whose domain events were published.
    pub published_head: i64,
    /// Next reply to read from the courier.
    pub reply_cursor: i64,
}

/// What one transaction of a lane writes.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The shards touched, in ascending order, with the epoch under which they are written and their new marks.
    pub shards: Vec<ShardMark>,
    /// One row per transition.
    pub journal: Vec<JournalRow>,
    /// New sagas, as they stand at the end of the batch.
    pub started: Vec<SagaRow>,
    /// Known sagas whose status changed or that begin to wait.
    pub changed: Vec<SagaChange>,
    /// What cannot be finished.
    pub dead_letters: Vec<DeadLetter>,
    /// What operators did.
    pub audit: Vec<AuditEntry>,
}

impl Batch {
    /// Takes out everything of one shard.
    pub fn forget(&mut self, shard: Shard) {
        let gone: HashSet<SagaId> =
            self.journal.iter().filter(|row| row.shard == shard).map(|row| row.saga_id).collect();
        self.shards.retain(|mark| mark.shard != shard);
        self.journal.retain(|row| row.shard != shard);
        self.started.retain(|row| row.shard != shard);
        self.changed.retain(|change| !gone.contains(&change.id));
        self.dead_letters.retain(|letter| letter.shard != shard);
        self.audit.retain(|entry| !gone.contains(&entry.saga_id));
    }
}

/// Fence and marks of one shard within a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMark {
    /// Which.
    pub shard: Shard,
    /// The epoch that must be the stored one.
    pub epoch: Epoch,
    /// The new last journal position.
    pub journal_head: i64,
    /// The new last published position.
    pub published_head: i64,
    /// The next reply to read.
    pub reply_cursor: i64,
}

/// One transition as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// The saga's shard.
    pub shard: Shard,
    /// Position within the shard, from 1, ascending.
    pub position: i64,
    /// The saga.
    pub saga_id: SagaId,
    /// Position within the saga, from 1, gapless.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Encoding of `events`.
    pub format: i16,
    /// The transition's events, a JSON array.
    pub events: String,
}

/// What the list of sagas shows and what a start is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaRow {
    /// Its name.
    pub id: SagaId,
    /// Its shard.
    pub shard: Shard,
    /// Its type.
    pub saga_type: SagaType,
    /// The version of the definition that it pins.
    pub version: u32,
    /// The client's key, if any.
    pub key: Option<IdempotencyKey>,
    /// Digest of the input: tells the same request from another one under the same key.
    pub digest: Uuid,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// Where it stands.
    pub state: SagaChange,
}

/// The part of a saga's row that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaChange {
    /// The saga.
    pub id: SagaId,
    /// Where it stands.
    pub status: Status,
    /// Whether commands are held back.
    pub paused: bool,
    /// Whether its deadline passed after the pivot.
    pub overdue: bool,
    /// When this was written.
    pub updated_at: Timestamp,
    /// The step that it waits at, if it waits.
    pub step: Option<StepName>,
    /// Sends of that step's command so far.
    pub attempt: u32,
    /// When the next is due.
    pub next_at: Option<Timestamp>,
    /// What last went wrong.
    pub error_code: Option<String>,
    /// The same for people.
    pub error_message: Option<String>,
}

/// A saga read back.
#[derive(Debug, Clone)]
pub struct StoredSaga {
    /// Its row.
    pub row: SagaRow,
    /// Its journal, in order; empty where the call says so.
    pub journal: Vec<Transition>,
    /// Why its journal cannot be read by this program, if so: then `journal` holds what comes before. One such saga
    /// must not stop the others of its shard (I35).
    pub unreadable: Option<String>,
}

/// What could not be finished: the command of a saga that parked, or a record that is no reply to anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Derived from saga, step, operation and seq, or from topic, partition and offset: written once.
    pub id: Uuid,
    /// The saga, if it is known.
    pub saga_id: Option<SagaId>,
    /// Its shard, or the one whose partition brought the record.
    pub shard: Shard,
    /// The step, if it is known.
    pub step: Option<StepName>,
    /// Which of its commands, if it is known.
    pub operation: Option<Operation>,
    /// Sends so far.
    pub attempts: u32,
    /// What went wrong.
    pub error_code: String,
    /// The same for people.
    pub error_message: String,
    /// When it was parked.
    pub at: Timestamp,
    /// The command, or the record bit for bit (I33, [`crate::courier::SourceRecord`]); JSON.
    pub record: String,
}

/// What an operator did (I36).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The saga.
    pub saga_id: SagaId,
    /// The journal row that it caused.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// What, e.g. `retry`.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// Which sagas to list; an empty filter means all.
#[derive(Debug, Clone, Default)]
pub struct SagaFilter {
    /// Only of this type.
    pub saga_type: Option<String>,
    /// Only in one of these; empty means any.
    pub statuses: Vec<Status>,
    /// Only at this step (that of the last journal row about a step, or that the saga waits at).
    pub step: Option<String>,
    /// Only with this key.
    pub key: Option<String>,
    /// Only with this text in the error's code or message, in any case.
    pub error: Option<String>,
    /// Only started at or after.
    pub since: Option<Timestamp>,
    /// Only started before.
    pub until: Option<Timestamp>,
    /// Only those that wait for a next attempt.
    pub retrying: bool,
    /// Only those parked, overdue, or unfinished and not moved since this time.
    pub stuck_since: Option<Timestamp>,
}

/// Which dead letters to list.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Only of this step.
    pub step: Option<String>,
    /// Only with this text in code or message.
    pub error: Option<String>,
}

/// A slice of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// At most this many.
    pub size: u32,
    /// The token that the page before gave; empty for the first. Opaque; a broken one is `Conflict`.
    pub token: String,
}

/// A page of sagas. `state.step` is filled for running sagas too, from their last journal row.
#[derive(Debug, Clone, Default)]
pub struct SagaPage {
    /// Newest first.
    pub rows: Vec<SagaRow>,
    /// Where the next page begins; empty if this was the last.
    pub next: String,
    /// Rows on all pages, or -1 if there are more than 10,000.
    pub total: i64,
}

/// A page of dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterPage {
    /// Newest first.
    pub rows: Vec<DeadLetter>,
    /// Where the next page begins; empty if this was the last.
    pub next: String,
}

/// A shard as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRow {
    /// Which.
    pub shard: Shard,
    /// Who has it, if anybody.
    pub owner: Option<Owner>,
    /// Until when.
    pub lease_until: Timestamp,
    /// It has no owner, or one whose lease has expired by the database's clock.
    pub free: bool,
    /// Why it stands still, if it does.
    pub halted: Option<String>,
    /// Counts its owners.
    pub epoch: Epoch,
    /// Its marks.
    pub journal_head: i64,
    /// Up to where domain events are published.
    pub published_head: i64,
    /// Next reply to read from the courier.
    pub reply_cursor: i64,
}

/// A topic as it was when it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRow {
    /// Its name.
    pub name: String,
    /// The broker's id of it.
    pub topic_id: Uuid,
    /// Its partitions.
    pub partitions: i32,
}

/// A definition as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionRow {
    /// Its type.
    pub saga_type: SagaType,
    /// Its version.
    pub version: u32,
    /// Digest of its meaning.
    pub checksum: Uuid,
    /// Its TOML.
    pub source: String,
}
