//! Postgres: the store of engines that share one database.
//!
//! Each commit is one statement (`postgres/commit.rs`), fenced by the rows of its shards, which it locks first. The SQL
//! of each table is in the file named after it.

mod audit;
mod commit;
mod dead_letters;
mod decode;
mod definitions;
mod engines;
mod error;
#[cfg(test)]
mod fences;
mod journal;
mod list;
mod open;
mod outcome;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod plans;
mod sagas;
mod server;
mod session;
mod shards;
#[cfg(test)]
pub(super) mod tests;
mod topics;

use std::sync::Arc;

use amends_core::{Epoch, Millis, SagaId, Shard};
use async_trait::async_trait;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

pub use self::error::OpenError;
pub use self::open::Migration;
use self::open::Target;
pub use self::server::ServerFacts;
use self::session::{LOCK, Purpose, Sessions};
use super::{
    Archive, Batch, Cluster, DeadLetterFilter, DeadLetterPage, DefinitionRow, JournalRow, Lease, Leases, Owner, Page,
    SagaFilter, SagaPage, SagaRow, ShardMark, ShardRow, Store, StoreError, StoredSaga, TopicBook, TopicRow,
};

/// Shards of a new database when nobody asks for another number.
const SHARDS: u16 = 16;

/// How many of the newest sagas a suffix of an id is looked up in, beside all unfinished ones.
const SUFFIX_NEWEST: u32 = 10_000;

/// Sagas whose journals are read at once on recovery.
const RECOVERY_CHUNK: usize = 1000;

/// Connections for leases: a claim that waits must not hold up a heartbeat.
const LEASE_SESSIONS: u32 = 2;

/// What several reads see as one moment.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How a store uses its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Connections for commits and the reads of lanes: one for each lane is enough.
    pub writers: u32,
    /// Connections for queries of people and programs.
    pub readers: u32,
    /// How long claims and heartbeats of this engine hold. Checked against the waits for locks, which must be shorter.
    pub lease_ttl: Millis,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { writers: 4, readers: 4, lease_ttl: Millis(6000) }
    }
}

/// A database. A clone is another handle to it.
#[derive(Clone)]
pub struct PostgresStore(Arc<Shared>);

struct Shared {
    writers: Sessions,
    readers: Sessions,
    leases: Sessions,
    shards: u16,
}

impl PostgresStore {
    /// Connects to a database that was migrated, such as `postgres://user@host/database`.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, OpenError> {
        if u128::from(options.lease_ttl.0) <= LOCK.as_millis() {
            return Err(OpenError::Lease { asked_ms: options.lease_ttl.0 });
        }
        let target = Target::new(url)?;
        let shards = target.inspect().await?;
        Ok(Self(Arc::new(Shared {
            writers: Sessions::new(&target.options, Purpose::Write, options.writers),
            readers: Sessions::new(&target.options, Purpose::Read, options.readers),
            leases: Sessions::new(&target.options, Purpose::Lease, LEASE_SESSIONS),
            shards,
        })))
    }

    /// Makes the tables that a database lacks, and its shards if it has none: as many as asked for, or 16. Answers the
    /// migrations that were applied and the number of shards. That number is fixed; asking for another one later is an
    /// error.
    pub async fn migrate(url: &str, shards: Option<u16>) -> Result<(Vec<Migration>, u16), OpenError> {
        Target::new(url)?.migrate(shards).await
    }

    /// All migrations that a database or this program has, in order.
    pub async fn migration_status(url: &str) -> Result<Vec<Migration>, OpenError> {
        Target::new(url)?.status().await
    }

    /// What the server is and promises.
    pub async fn server(url: &str) -> Result<ServerFacts, OpenError> {
        Target::new(url)?.server().await
    }

    /// The number of shards, fixed at install.
    pub fn shard_count(&self) -> u16 {
        self.0.shards
    }

    /// Waits for no one: calls under way end as they would, later ones are `Unavailable`.
    pub fn close(&self) {
        for sessions in [&self.0.writers, &self.0.readers, &self.0.leases] {
            sessions.close();
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn recover(&self, shard: Shard) -> Result<Vec<StoredSaga>, StoreError> {
        let session = self.0.writers.take().await?;
        session.run(async |connection| recover(connection, shard).await).await
    }

    async fn load(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let session = self.0.writers.take().await?;
        session.run(async |connection| load(connection, ids).await).await
    }

    async fn journal_after(&self, shard: Shard, position: i64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        let session = self.0.writers.take().await?;
        session.run(async |connection| journal::after(connection, shard, position, limit).await).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.0);
        // In a task of its own: what became of a commit is found out even if its caller went away.
        let task = tokio::spawn(async move {
            batch.check(shared.shards)?;
            outcome::commit(&shared.writers, &commit::merged(batch)).await
        });
        task.await.map_err(|error| StoreError::Unavailable(format!("the commit did not end: {error}")))?
    }
}

#[async_trait]
impl Leases for PostgresStore {
    async fn claim(&self, owner: &Owner, shards: &[Shard], ttl: Millis) -> Result<Vec<Lease>, StoreError> {
        let session = self.0.leases.take().await?;
        session.run(async |connection| shards::claim(connection, owner, shards, ttl).await).await
    }

    async fn heartbeat(&self, owner: &Owner, ttl: Millis) -> Result<Cluster, StoreError> {
        let session = self.0.leases.take().await?;
        let beat = async |connection: &mut PgConnection| {
            engines::beat(connection, owner, ttl).await?;
            engines::cluster(connection).await
        };
        session.run(beat).await
    }

    async fn release(&self, marks: &[ShardMark]) -> Result<(), StoreError> {
        let session = self.0.leases.take().await?;
        session.run(async |connection| shards::release(connection, marks).await).await
    }

    async fn leave(&self, owner: &Owner) -> Result<(), StoreError> {
        let session = self.0.leases.take().await?;
        session.run(async |connection| engines::leave(connection, owner).await).await
    }

    async fn note_halt(&self, shard: Shard, epoch: Epoch, why: Option<&str>) -> Result<(), StoreError> {
        let session = self.0.leases.take().await?;
        session.run(async |connection| shards::note_halt(connection, shard, epoch, why).await).await
    }
}

#[async_trait]
impl TopicBook for PostgresStore {
    async fn topics(&self) -> Result<Vec<TopicRow>, StoreError> {
        let session = self.0.leases.take().await?;
        session.run(async |connection| topics::all(connection).await).await
    }

    async fn record_topic(&self, row: &TopicRow) -> Result<(), StoreError> {
        let session = self.0.leases.take().await?;
        session.run(async |connection| topics::record(connection, row).await).await
    }

    async fn replace_topic(&self, row: &TopicRow, rewind: bool) -> Result<(), StoreError> {
        let session = self.0.leases.take().await?;
        let replace = async |connection: &mut PgConnection| {
            let mut turn = connection.begin().await?;
            topics::replace(&mut turn, row).await?;
            if rewind {
                shards::rewind(&mut turn).await?;
            }
            turn.commit().await
        };
        session.run(replace).await
    }
}

#[async_trait]
impl Archive for PostgresStore {
    async fn sagas(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError> {
        let session = self.0.readers.take().await?;
        session.run(async |connection| whole(connection, ids).await).await
    }

    async fn by_suffix(&self, suffix: &str) -> Result<Vec<SagaId>, StoreError> {
        let digits = suffix.replace('-', "").to_ascii_lowercase();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let session = self.0.readers.take().await?;
        session.run(async |connection| sagas::by_suffix(connection, &digits, SUFFIX_NEWEST).await).await
    }

    async fn list(&self, filter: &SagaFilter, page: &Page) -> Result<SagaPage, StoreError> {
        let session = self.0.readers.take().await?;
        session.run(async |connection| list::list(connection, filter, page).await).await
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter, page: &Page) -> Result<DeadLetterPage, StoreError> {
        let session = self.0.readers.take().await?;
        session.run(async |connection| dead_letters::list(connection, filter, page).await).await
    }

    async fn shards(&self) -> Result<Vec<ShardRow>, StoreError> {
        let session = self.0.readers.take().await?;
        session.run(async |connection| shards::all(connection).await).await
    }

    async fn save_definition(&self, row: &DefinitionRow) -> Result<(), StoreError> {
        let session = self.0.leases.take().await?;
        session.run(async |connection| definitions::save(connection, row).await).await
    }

    async fn definitions(&self) -> Result<Vec<DefinitionRow>, StoreError> {
        let session = self.0.readers.take().await?;
        session.run(async |connection| definitions::all(connection).await).await
    }
}

async fn recover(connection: &mut PgConnection, shard: Shard) -> sqlx::Result<Vec<StoredSaga>> {
    let mut snapshot = connection.begin_with(SNAPSHOT).await?;
    let mut rows = sagas::moving(&mut snapshot, shard).await?;
    let mut stored = Vec::with_capacity(rows.len());
    while !rows.is_empty() {
        let rest = rows.split_off(rows.len().min(RECOVERY_CHUNK));
        stored.extend(journal::whole(&mut snapshot, &rows).await?.join(rows));
        rows = rest;
    }
    snapshot.commit().await?;
    Ok(stored)
}

async fn load(connection: &mut PgConnection, ids: &[SagaId]) -> sqlx::Result<Vec<StoredSaga>> {
    let bare = |(_, row): (i64, SagaRow)| StoredSaga { row, journal: Vec::new(), unreadable: None };
    let rows = sagas::by_id(connection, ids).await?;
    // Mostly the ids are new, and asked about only to be sure: one statement has answered that.
    if rows.iter().all(|(_, row)| row.state.status.is_terminal()) {
        return Ok(rows.into_iter().map(bare).collect());
    }
    let mut snapshot = connection.begin_with(SNAPSHOT).await?;
    let rows = sagas::by_id(&mut snapshot, ids).await?;
    let (ended, unfinished) = rows.into_iter().partition::<Vec<_>, _>(|(_, row)| row.state.status.is_terminal());
    let mut stored = journal::whole(&mut snapshot, &unfinished).await?.join(unfinished);
    snapshot.commit().await?;
    stored.extend(ended.into_iter().map(bare));
    Ok(stored)
}

async fn whole(connection: &mut PgConnection, ids: &[SagaId]) -> sqlx::Result<Vec<StoredSaga>> {
    let mut snapshot = connection.begin_with(SNAPSHOT).await?;
    let rows = sagas::by_id(&mut snapshot, ids).await?;
    let stored = journal::whole(&mut snapshot, &rows).await?.join(rows);
    snapshot.commit().await?;
    Ok(stored)
}
