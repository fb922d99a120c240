//! What the engine needs from a database.
//!
//! Small ports: [`Store`] is the write path of the shard owners, every commit fenced by the epoch; [`Leases`] says who
//! owns what; [`Archive`] is what queries read; [`TopicBook`] remembers the broker's topics. One conformance suite
//! defines right for every implementation.

mod batch;
pub mod conformance;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod differential;
mod listed;
#[cfg(feature = "postgres")]
pub mod postgres;
mod rows;
pub mod sqlite;
mod token;
mod transitions;

use std::sync::Arc;

use amends_core::{Epoch, Millis, SagaId, Shard};
use async_trait::async_trait;

pub use rows::{
    AuditEntry, Batch, Cluster, DeadLetter, DeadLetterFilter, DeadLetterPage, DefinitionRow, JournalRow, Lease, Owner,
    Page, SagaChange, SagaFilter, SagaPage, SagaRow, ShardMark, ShardRow, StoredSaga, TopicRow,
};

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
    /// Sagas with their whole journals, in no particular order; ids that do not exist are left out.
    async fn sagas(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError>;

    /// One saga with its whole journal; `Corrupt` if it cannot be read.
    async fn saga(&self, id: SagaId) -> Result<Option<StoredSaga>, StoreError> {
        match self.sagas(&[id]).await?.pop() {
            Some(StoredSaga { unreadable: Some(why), .. }) => Err(StoreError::Corrupt(why)),
            found => Ok(found),
        }
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
