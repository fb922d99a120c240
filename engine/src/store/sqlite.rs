//! SQLite: the store of an engine that is embedded in one process.
//!
//! One connection writes and four read. A commit is one text of a few statements with many rows each
//! (`sqlite/commit.rs`); what it waits for is one flush of the write-ahead log. The SQL of each table is in the file
//! named after it.

mod audit;
mod bulk;
mod commit;
mod dead_letters;
mod decode;
mod definitions;
mod engines;
mod error;
mod journal;
mod list;
mod open;
#[cfg(test)]
mod plans;
mod sagas;
mod shards;
#[cfg(test)]
mod tests;
mod topics;

use std::fs::File;
use std::sync::Arc;

use amends_core::{Epoch, Millis, SagaId, Shard};
use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Sqlite, SqlitePool};
use tokio::sync::{Mutex, MutexGuard};

pub use self::error::OpenError;
use self::error::store_error;
use super::{
    Archive, Batch, Cluster, DeadLetterFilter, DeadLetterPage, DefinitionRow, JournalRow, Lease, Leases, Owner, Page,
    SagaFilter, SagaPage, SagaRow, ShardMark, ShardRow, Store, StoreError, StoredSaga, TopicBook, TopicRow,
};
use crate::shard::now;

/// Shards of a new file when nobody asks for another number.
const SHARDS: u16 = 16;

/// How many of the newest sagas a suffix of an id is looked up in, beside all unfinished ones.
const SUFFIX_NEWEST: u32 = 10_000;

/// Sagas whose journals are read at once on recovery.
const RECOVERY_CHUNK: usize = 1000;

/// A database file, or one in memory. A clone is another handle to it.
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

struct Shared {
    writer: Arc<Mutex<Option<Writer>>>,
    readers: Option<SqlitePool>,
    shards: u16,
}

struct Writer {
    connection: SqliteConnection,
    _lock: Option<File>,
}

/// A connection for a query: one of the readers or, in memory, the one that there is.
enum Reader<'s> {
    Pooled(PoolConnection<Sqlite>),
    Writer(MutexGuard<'s, Option<Writer>>),
}

impl SqliteStore {
    /// Opens the file at `path`, or a database in memory for `:memory:`, and creates what is missing: the file, its
    /// tables, its shards. Their number is fixed from then on; asking for another one later is an error.
    pub async fn open(path: &str, shards: u16) -> Result<Self, OpenError> {
        Self::with(path, Some(shards)).await
    }

    /// Opens like [`SqliteStore::open`], with as many shards as the file has, or 16 if it is new.
    pub async fn open_as_installed(path: &str) -> Result<Self, OpenError> {
        Self::with(path, None).await
    }

    async fn with(path: &str, shards: Option<u16>) -> Result<Self, OpenError> {
        let opened = open::open(path, shards).await?;
        let writer = Writer { connection: opened.writer, _lock: opened.lock };
        let writer = Arc::new(Mutex::new(Some(writer)));
        Ok(Self(Arc::new(Shared { writer, readers: opened.readers, shards: opened.shards })))
    }

    /// The number of shards, fixed at install.
    pub fn shard_count(&self) -> u16 {
        self.0.shards
    }

    /// Fails if another process, or another store of this one, has the file at `path` open. A file that is not there
    /// is unused.
    pub fn check_unused(path: &str) -> Result<(), OpenError> {
        open::check_unused(path)
    }

    /// Waits for what is under way, moves the log into the file, and lets go of it. Later calls are `Unavailable`.
    pub async fn close(&self) {
        if let Some(readers) = &self.0.readers {
            readers.close().await;
        }
        let Some(mut writer) = self.0.writer.lock().await.take() else { return };
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut writer.connection).await;
        // What was committed is in the log; the next one to open the file moves it.
        if let Err(error) = checkpoint.and(writer.connection.close().await) {
            tracing::warn!(%error, "the database was not closed in good order; nothing is lost");
        }
    }

    async fn reader(&self) -> Result<Reader<'_>, StoreError> {
        match &self.0.readers {
            Some(readers) => readers.acquire().await.map(Reader::Pooled).map_err(store_error),
            None => Ok(Reader::Writer(self.0.writer.lock().await)),
        }
    }
}

fn connection(writer: &mut Option<Writer>) -> Result<&mut SqliteConnection, StoreError> {
    let closed = || StoreError::Unavailable("it is closed".to_owned());
    writer.as_mut().map(|writer| &mut writer.connection).ok_or_else(closed)
}

async fn begin(writer: &mut Option<Writer>) -> Result<sqlx::Transaction<'_, Sqlite>, StoreError> {
    connection(writer)?.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)
}

impl Reader<'_> {
    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        match self {
            Self::Pooled(pooled) => Ok(&mut *pooled),
            Self::Writer(writer) => connection(writer),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn recover(&self, shard: Shard) -> Result<Vec<StoredSaga>, StoreError> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.connection()?.begin().await.map_err(store_error)?;
        let mut rows = sagas::moving(&mut snapshot, shard).await.map_err(store_error)?;
        let mut stored = Vec::with_capacity(rows.len());
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(RECOVERY_CHUNK));
            stored.extend(with_journals(&mut snapshot, rows).await?);
            rows = rest;
        }
        snapshot.commit().await.map_err(store_error)?;
        Ok(stored)
    }

    async fn load(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut reader = self.reader().await?;
        let connection = reader.connection()?;
        let rows = sagas::by_id(connection, ids).await.map_err(store_error)?;
        // Mostly the ids are new, and asked about only to be sure: one statement has answered that.
        if rows.iter().all(|(_, row)| row.state.status.is_terminal()) {
            return Ok(rows
                .into_iter()
                .map(|(_, row)| StoredSaga { row, journal: Vec::new(), unreadable: None })
                .collect());
        }
        let mut snapshot = connection.begin().await.map_err(store_error)?;
        let rows = sagas::by_id(&mut snapshot, ids).await.map_err(store_error)?;
        let (ended, unfinished) = rows.into_iter().partition::<Vec<_>, _>(|(_, row)| row.state.status.is_terminal());
        let mut stored = with_journals(&mut snapshot, unfinished).await?;
        snapshot.commit().await.map_err(store_error)?;
        stored.extend(ended.into_iter().map(|(_, row)| StoredSaga { row, journal: Vec::new(), unreadable: None }));
        Ok(stored)
    }

    async fn journal_after(&self, shard: Shard, position: i64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        let mut reader = self.reader().await?;
        journal::after(reader.connection()?, shard, position, limit).await.map_err(store_error)
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<(), StoreError> {
        let (writer, shards) = (Arc::clone(&self.0.writer), self.0.shards);
        // In a task of its own: a caller that goes away must not leave half a transaction behind.
        let task = tokio::spawn(async move {
            let plan = commit::Plan::new(&batch, shards)?;
            drop(batch);
            plan.run(connection(&mut *writer.lock().await)?).await
        });
        task.await.map_err(|error| StoreError::Unavailable(format!("the commit did not end: {error}")))?
    }
}

#[async_trait]
impl Leases for SqliteStore {
    async fn claim(&self, owner: &Owner, shards: &[Shard], ttl: Millis) -> Result<Vec<Lease>, StoreError> {
        let mut writer = self.0.writer.lock().await;
        let now = now();
        shards::claim(connection(&mut writer)?, owner, shards, now, now.after(ttl)).await.map_err(store_error)
    }

    async fn heartbeat(&self, owner: &Owner, ttl: Millis) -> Result<Cluster, StoreError> {
        let mut writer = self.0.writer.lock().await;
        let now = now();
        let mut turn = begin(&mut writer).await?;
        engines::forget(&mut turn, None, now).await.map_err(store_error)?;
        engines::live(&mut turn, owner, now, now.after(ttl)).await.map_err(store_error)?;
        shards::renew(&mut turn, owner, now.after(ttl)).await.map_err(store_error)?;
        let engines = engines::living(&mut turn, now).await.map_err(store_error)?;
        let shards = shards::all(&mut turn, now).await.map_err(store_error)?;
        turn.commit().await.map_err(store_error)?;
        Ok(Cluster { engines, shards })
    }

    async fn release(&self, marks: &[ShardMark]) -> Result<(), StoreError> {
        let mut writer = self.0.writer.lock().await;
        let mut turn = begin(&mut writer).await?;
        for mark in marks {
            shards::release(&mut turn, mark).await.map_err(store_error)?;
        }
        turn.commit().await.map_err(store_error)
    }

    async fn leave(&self, owner: &Owner) -> Result<(), StoreError> {
        let mut writer = self.0.writer.lock().await;
        let mut turn = begin(&mut writer).await?;
        shards::free(&mut turn, owner).await.map_err(store_error)?;
        engines::forget(&mut turn, Some(owner), now()).await.map_err(store_error)?;
        turn.commit().await.map_err(store_error)
    }

    async fn note_halt(&self, shard: Shard, epoch: Epoch, why: Option<&str>) -> Result<(), StoreError> {
        let mut writer = self.0.writer.lock().await;
        shards::note_halt(connection(&mut writer)?, shard, epoch, why).await.map_err(store_error)
    }
}

#[async_trait]
impl TopicBook for SqliteStore {
    async fn topics(&self) -> Result<Vec<TopicRow>, StoreError> {
        let mut reader = self.reader().await?;
        topics::all(reader.connection()?).await.map_err(store_error)
    }

    async fn record_topic(&self, row: &TopicRow) -> Result<(), StoreError> {
        let mut writer = self.0.writer.lock().await;
        topics::record(connection(&mut writer)?, row).await
    }

    async fn replace_topic(&self, row: &TopicRow, rewind: bool) -> Result<(), StoreError> {
        let mut writer = self.0.writer.lock().await;
        let mut turn = begin(&mut writer).await?;
        topics::replace(&mut turn, row).await.map_err(store_error)?;
        if rewind {
            shards::rewind(&mut turn).await.map_err(store_error)?;
        }
        turn.commit().await.map_err(store_error)
    }
}

#[async_trait]
impl Archive for SqliteStore {
    async fn sagas(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError> {
        let mut reader = self.reader().await?;
        let mut snapshot = reader.connection()?.begin().await.map_err(store_error)?;
        let rows = sagas::by_id(&mut snapshot, ids).await.map_err(store_error)?;
        let stored = with_journals(&mut snapshot, rows).await?;
        snapshot.commit().await.map_err(store_error)?;
        Ok(stored)
    }

    async fn by_suffix(&self, suffix: &str) -> Result<Vec<SagaId>, StoreError> {
        let digits = suffix.replace('-', "").to_ascii_uppercase();
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let mut reader = self.reader().await?;
        sagas::by_suffix(reader.connection()?, &digits, SUFFIX_NEWEST).await.map_err(store_error)
    }

    async fn list(&self, filter: &SagaFilter, page: &Page) -> Result<SagaPage, StoreError> {
        let mut reader = self.reader().await?;
        list::list(reader.connection()?, filter, page).await
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter, page: &Page) -> Result<DeadLetterPage, StoreError> {
        let mut reader = self.reader().await?;
        dead_letters::list(reader.connection()?, filter, page).await
    }

    async fn shards(&self) -> Result<Vec<ShardRow>, StoreError> {
        let mut reader = self.reader().await?;
        shards::all(reader.connection()?, now()).await.map_err(store_error)
    }

    async fn save_definition(&self, row: &DefinitionRow) -> Result<(), StoreError> {
        let mut writer = self.0.writer.lock().await;
        definitions::save(connection(&mut writer)?, row).await
    }

    async fn definitions(&self) -> Result<Vec<DefinitionRow>, StoreError> {
        let mut reader = self.reader().await?;
        definitions::all(reader.connection()?).await.map_err(store_error)
    }
}

/// Joins sagas with their journals, in the order given.
async fn with_journals(
    connection: &mut SqliteConnection,
    rows: Vec<(i64, SagaRow)>,
) -> Result<Vec<StoredSaga>, StoreError> {
    Ok(journal::whole(connection, &rows).await?.join(rows))
}
