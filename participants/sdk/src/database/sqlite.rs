//! SQLite: one connection that writes, some that read.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Mutex;

use super::transaction::{MarkedTexts, Transaction, Writer};
use super::{DatabaseError, Row};
use crate::value::{Value, arguments};

/// Names a database in memory.
const MEMORY: &str = ":memory:";
/// Reads are short; more connections than this only compete for the two or four cores that such a set-up has.
const READERS: u32 = 4;
/// Another process may hold the write lock (a backup, a second worker): wait this long before giving up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Every statement of every participant, and the barrier's in all its sizes, stays prepared.
const STATEMENT_CACHE: usize = 512;
/// Barrier keys that clients chose are spread over the whole tree: keep its upper levels and hot leaves in memory.
const CACHE_KIB: &str = "-32768";
/// Pages (of 4 kB) in the log before they are copied into the database: a page changed often is copied once.
const CHECKPOINT_PAGES: &str = "4000";

/// The connections to one SQLite database.
#[derive(Clone, Debug)]
pub struct SqliteDatabase {
    /// SQLite has one writer at a time; queueing here costs less than its lock's polling.
    writer: Arc<Mutex<Writer>>,
    /// `None` in memory: two connections would share a cache, and readers see what is not committed.
    readers: Option<SqlitePool>,
    marked: Arc<MarkedTexts>,
}

impl SqliteDatabase {
    pub(super) async fn open(path: &str) -> Result<Self, DatabaseError> {
        let unusable = |why: String| DatabaseError::Unusable { path: path.to_owned(), why };
        check_file(path).map_err(unusable)?;
        let opened = async {
            let options = options(path)?;
            let mut writer = options.connect().await?;
            // SQLite opens what it may not write as read-only and says so only at the first change: change something.
            sqlx::raw_sql("BEGIN IMMEDIATE; PRAGMA application_id = 1; ROLLBACK").execute(&mut writer).await?;
            Ok((options, Writer::new(writer)))
        };
        let (options, writer) = opened.await.map_err(|error: sqlx::Error| unusable(error.to_string()))?;
        let readers = (path != MEMORY).then(|| reader_pool(options));
        Ok(Self { writer: Arc::new(Mutex::new(writer)), readers, marked: Arc::default() })
    }

    pub(super) async fn migrate(&self, migrations: &Migrator) -> Result<(), MigrateError> {
        let mut writer = self.writer.lock().await;
        migrations.run(writer.clean().await?).await
    }

    pub(super) async fn fetch_all<R: Row>(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Vec<R>, DatabaseError> {
        let query = sqlx::query_with(sql, arguments(args)?);
        let rows = match &self.readers {
            Some(readers) => query.fetch_all(readers).await?,
            None => query.fetch_all(self.writer.lock().await.clean().await?).await?,
        };
        Ok(rows.iter().map(R::from_row).collect::<Result<_, _>>()?)
    }

    pub(super) async fn fetch_optional<R: Row>(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Option<R>, DatabaseError> {
        let query = sqlx::query_with(sql, arguments(args)?);
        let row = match &self.readers {
            Some(readers) => query.fetch_optional(readers).await?,
            None => query.fetch_optional(self.writer.lock().await.clean().await?).await?,
        };
        Ok(row.as_ref().map(R::from_row).transpose()?)
    }

    pub(super) async fn begin(
        &self,
        sql: &'static str,
        arguments: SqliteArguments,
        each: impl FnMut(&SqliteRow) -> Result<(), sqlx::Error> + Send,
    ) -> Result<Transaction, DatabaseError> {
        let writer = Arc::clone(&self.writer).lock_owned().await;
        Transaction::begin(writer, Arc::clone(&self.marked), sql, arguments, each).await
    }

    pub(super) async fn close(&self) {
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        let mut writer = self.writer.lock().await;
        if let Some(connection) = writer.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly; nothing committed is lost");
        }
    }
}

fn check_file(path: &str) -> Result<(), String> {
    if path == MEMORY {
        return Ok(());
    }
    match std::fs::metadata(path) {
        Ok(file) if file.is_dir() => return Err("it is a directory; name a file in it".into()),
        Ok(file) if file.permissions().readonly() => return Err("the file is read-only".into()),
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    match Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => Err(format!("the folder {} does not exist", folder.display())),
        _ => Ok(()),
    }
}

fn options(path: &str) -> Result<SqliteConnectOptions, sqlx::Error> {
    let options = if path == MEMORY {
        SqliteConnectOptions::from_str("sqlite::memory:")?
    } else {
        SqliteConnectOptions::new().filename(path).create_if_missing(true)
    };
    Ok(options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENT_CACHE)
        .pragma("cache_size", CACHE_KIB)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .disable_statement_logging())
}

fn reader_pool(options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options.pragma("query_only", "ON"))
}

/// Whether SQLite may have rolled the transaction back by itself: anything but a statement that was merely wrong.
pub(super) fn ends_transaction(error: &sqlx::Error) -> bool {
    /// Primary result codes ERROR, TOOBIG, CONSTRAINT, MISMATCH and RANGE.
    const STATEMENT_ONLY: [i32; 5] = [1, 18, 19, 20, 25];
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse::<i32>().ok());
            !code.is_some_and(|code| STATEMENT_ONLY.contains(&(code & 0xff)))
        }
        sqlx::Error::RowNotFound
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_) => false,
        _ => true,
    }
}
