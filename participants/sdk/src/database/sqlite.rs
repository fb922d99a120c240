//! SQLite: one connection that writes, some that read. A statement is a function call, on whichever thread it is.

mod migrate;
mod open;
mod readers;
mod run;
mod thread;
mod transaction;

use std::sync::Arc;

use rusqlite::Connection;
use sqlx::migrate::Migrator;
use tokio::sync::Mutex;

use super::{DatabaseError, DriverError, Row, RowRef};
use crate::value::{Value, owned};
use migrate::migrate;
use readers::Readers;
use run::run;
use thread::WriterThread;
pub(crate) use transaction::SqliteTransaction;

/// The connections to one SQLite database.
#[derive(Clone, Debug)]
pub struct SqliteDatabase {
    /// SQLite has one writer at a time; queueing here costs less than its lock's polling.
    writer: Arc<Mutex<Writer>>,
    /// `None` in memory: two connections would share a cache, and readers see what is not committed.
    readers: Option<Arc<Readers>>,
    thread: Arc<WriterThread>,
}

/// The connection that writes.
#[derive(Debug)]
struct Writer {
    /// `None` once the database is closed.
    connection: Option<Connection>,
}

impl Writer {
    /// The connection, free of what an abandoned transaction has left.
    fn clean(&self) -> Result<&Connection, DriverError> {
        let connection = self.connection.as_ref().ok_or(DriverError::Closed)?;
        if !connection.is_autocommit() {
            connection.prepare_cached("ROLLBACK")?.execute([])?;
        }
        Ok(connection)
    }
}

impl SqliteDatabase {
    pub(super) fn open(path: &str) -> Result<Self, DatabaseError> {
        let unusable = |why: String| DatabaseError::Unusable { path: path.to_owned(), why };
        let connection = open::writer(path).map_err(unusable)?;
        let thread = WriterThread::start().map_err(|error| unusable(error.to_string()))?;
        let readers = (path != open::MEMORY).then(|| Arc::new(Readers::new(path)));
        let writer = Arc::new(Mutex::new(Writer { connection: Some(connection) }));
        Ok(Self { writer, readers, thread: Arc::new(thread) })
    }

    pub(super) async fn migrate(&self, migrations: &Migrator) -> Result<(), DatabaseError> {
        migrate(self.writer.lock().await.clean()?, migrations)
    }

    /// Shows the rows of a query to a function, and returns what that made of them.
    async fn read<T: Default + Send + 'static>(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
        each: impl Fn(&mut T, &RowRef<'_>) -> Result<(), DriverError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let mut read = T::default();
        let Some(readers) = &self.readers else {
            let writer = self.writer.lock().await;
            run(writer.clean()?, sql, args, |row| each(&mut read, row))?;
            return Ok(read);
        };
        let args = owned(args);
        let query = move |connection: &Connection| {
            run(connection, sql, &args, |row| each(&mut read, row))?;
            Ok(read)
        };
        Ok(readers.run(query).await?)
    }

    pub(super) async fn fetch_all<R: Row>(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Vec<R>, DatabaseError> {
        let keep = |rows: &mut Vec<R>, row: &RowRef<'_>| {
            rows.push(R::read(row)?);
            Ok(())
        };
        self.read(sql, args, keep).await
    }

    pub(super) async fn fetch_optional<R: Row>(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Option<R>, DatabaseError> {
        let keep_first = |first: &mut Option<R>, row: &RowRef<'_>| {
            if first.is_none() {
                *first = Some(R::read(row)?);
            }
            Ok(())
        };
        self.read(sql, args, keep_first).await
    }

    pub(super) async fn begin(&self) -> Result<SqliteTransaction, DatabaseError> {
        SqliteTransaction::begin(Arc::clone(&self.writer).lock_owned().await)
    }

    pub(super) async fn execute(&self, sql: &'static str, args: &[Value<'_>]) -> Result<u64, DatabaseError> {
        let (database, args) = (self.clone(), owned(args));
        let execute = async move {
            let mut transaction = database.begin().await?;
            // Dropped on an error, it is rolled back.
            let changed = transaction.run(sql, &args, |_| Ok(()))?;
            transaction.commit()?;
            Ok(changed)
        };
        self.thread.run(execute).await
    }

    pub(super) async fn on_writer_thread<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.thread.run(future).await
    }

    pub(super) async fn close(&self) {
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        let connection = self.writer.lock().await.connection.take();
        if let Some(Err((_, error))) = connection.map(Connection::close) {
            tracing::warn!(%error, "the database was not closed cleanly; nothing committed is lost");
        }
    }
}

/// Whether SQLite may have rolled the transaction back by itself: anything but a statement that was merely wrong.
pub(super) fn ends_transaction(error: &rusqlite::Error) -> bool {
    /// Primary result codes ERROR, TOOBIG, CONSTRAINT, MISMATCH and RANGE.
    const STATEMENT_ONLY: [i32; 5] = [1, 18, 19, 20, 25];
    error.sqlite_error().is_some_and(|error| !STATEMENT_ONLY.contains(&(error.extended_code & 0xff)))
}
