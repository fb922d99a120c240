//! A participant's own database: where its effects and the barrier are kept.

mod migrate;
mod row;
mod sqlite;
mod thread;
mod transaction;

use sqlx::migrate::{MigrateError, Migrator};

use crate::value::Value;
pub use row::{Column, Row, RowRef};
pub use sqlite::SqliteDatabase;
pub use transaction::Transaction;

/// A handle on an open database; clones share it.
#[derive(Clone, Debug)]
pub enum Database {
    /// One file, or memory; for one process.
    Sqlite(SqliteDatabase),
}

/// What went wrong with a database, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Correct the path or the permissions.
    #[error("cannot use the database {path}: {why}")]
    Unusable {
        /// As it was given.
        path: String,
        /// For people.
        why: String,
    },
    /// Run a newer program, or give it another database.
    #[error(
        "the database is newer than this program: it has migration {found}, the program knows up to {known}; run the \
         version that wrote it, or a later one"
    )]
    Newer {
        /// The database's migration that the program lacks.
        found: i64,
        /// The program's last migration.
        known: i64,
    },
    /// Give the program its own database: this one was made from other migrations.
    #[error("the database does not belong to this program: {0}")]
    Foreign(#[source] MigrateError),
    /// Correct the statement or its arguments; the transaction goes on as if it had not been run.
    #[error("{0}")]
    Statement(#[source] DriverError),
    /// Try the whole transaction again later.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] DriverError),
    /// Try the whole transaction again later: an earlier statement's error has ended it.
    #[error("the transaction was ended by an earlier error")]
    Ended,
}

/// What went wrong with a statement, in the words of the database's driver.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// SQLite says so.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A column holds what its reader does not know.
    #[error("{0}")]
    Column(String),
    /// The database was closed.
    #[error("it is closed")]
    Closed,
}

impl From<DriverError> for DatabaseError {
    fn from(error: DriverError) -> Self {
        if sqlite::ends_transaction(&error) { Self::Unavailable(error) } else { Self::Statement(error) }
    }
}

impl Database {
    /// Opens an SQLite database, and creates it where there is none. A commit is durable when it returns (write-ahead
    /// log, `synchronous=FULL`).
    ///
    /// `:memory:` is one of its own, gone with its last handle. There reads wait for an open transaction to end, so who
    /// holds one must read through it.
    pub async fn open_sqlite(path: &str) -> Result<Self, DatabaseError> {
        SqliteDatabase::open(path).map(Self::Sqlite)
    }

    /// Brings the tables up to date. Refuses a database that a newer program has written.
    pub async fn migrate(&self, migrations: &Migrator) -> Result<(), DatabaseError> {
        let Self::Sqlite(database) = self;
        database.migrate(migrations).await
    }

    /// Reads all rows of a query, as of the last commit, without waiting for writers.
    pub async fn fetch_all<R: Row>(&self, sql: &'static str, args: &[Value<'_>]) -> Result<Vec<R>, DatabaseError> {
        let Self::Sqlite(database) = self;
        database.fetch_all(sql, args).await
    }

    /// Reads the first row of a query, as of the last commit, without waiting for writers.
    pub async fn fetch_optional<R: Row>(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Option<R>, DatabaseError> {
        let Self::Sqlite(database) = self;
        database.fetch_optional(sql, args).await
    }

    /// Opens a transaction for writing, once the one before it has ended.
    pub async fn begin(&self) -> Result<Transaction, DatabaseError> {
        let Self::Sqlite(database) = self;
        database.begin().await
    }

    /// Runs one statement as a transaction of its own and returns the number of rows it changed.
    pub async fn execute(&self, sql: &'static str, args: &[Value<'_>]) -> Result<u64, DatabaseError> {
        let Self::Sqlite(database) = self;
        database.execute(sql, args).await
    }

    /// Runs a future on the database's own thread, where statements and commits may block.
    pub(crate) async fn on_writer_thread<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let Self::Sqlite(database) = self;
        database.on_writer_thread(future).await
    }

    /// Waits for what is open to end, and closes the database; other handles are of no use afterwards.
    pub async fn close(&self) {
        let Self::Sqlite(database) = self;
        database.close().await;
    }
}

#[cfg(test)]
mod tests;
