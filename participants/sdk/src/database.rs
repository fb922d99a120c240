//! A participant's own database: where its effects and the barrier are kept.

mod sqlite;
mod transaction;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use crate::value::Value;
pub use sqlite::SqliteDatabase;
pub(crate) use transaction::BEGIN_IN_PARTS;
pub use transaction::Transaction;

/// A handle on an open database; clones share it.
#[derive(Clone, Debug)]
pub enum Database {
    /// One file, or memory; for one process.
    Sqlite(SqliteDatabase),
}

/// What a row can be read as: tuples of `i64`, `String`, `Vec<u8>`, `Option<…>`, and what derives [`sqlx::FromRow`].
pub trait Row: for<'r> sqlx::FromRow<'r, SqliteRow> + Send + Unpin {}

impl<R: for<'r> sqlx::FromRow<'r, SqliteRow> + Send + Unpin> Row for R {}

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
    Statement(#[source] sqlx::Error),
    /// Try the whole transaction again later.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// Try the whole transaction again later: an earlier statement's error has ended it.
    #[error("the transaction was ended by an earlier error")]
    Ended,
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
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
        SqliteDatabase::open(path).await.map(Self::Sqlite)
    }

    /// Brings the tables up to date. Refuses a database that a newer program has written.
    pub async fn migrate(&self, migrations: &Migrator) -> Result<(), DatabaseError> {
        let Self::Sqlite(database) = self;
        let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
        database.migrate(migrations).await.map_err(|error| match error {
            MigrateError::VersionMissing(found) if found > known => DatabaseError::Newer { found, known },
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => DatabaseError::Foreign(other),
        })
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
        self.begin_with(transaction::BEGIN, SqliteArguments::default(), |_| Ok(())).await
    }

    /// Opens a transaction with a text that starts with `BEGIN` or [`BEGIN_IN_PARTS`], and shows its rows to `each`.
    pub(crate) async fn begin_with(
        &self,
        sql: &'static str,
        arguments: SqliteArguments,
        each: impl FnMut(&SqliteRow) -> Result<(), sqlx::Error> + Send,
    ) -> Result<Transaction, DatabaseError> {
        let Self::Sqlite(database) = self;
        database.begin(sql, arguments, each).await
    }

    /// Runs one statement as a transaction of its own and returns the number of rows it changed.
    pub async fn execute(&self, sql: &'static str, args: &[Value<'_>]) -> Result<u64, DatabaseError> {
        let mut transaction = self.begin().await?;
        match transaction.execute(sql, args).await {
            Ok(changed) => transaction.commit().await.map(|()| changed),
            Err(error) => {
                transaction.rollback().await;
                Err(error)
            }
        }
    }

    /// Waits for what is open to end, and closes the database; other handles are of no use afterwards.
    pub async fn close(&self) {
        let Self::Sqlite(database) = self;
        database.close().await;
    }
}

#[cfg(test)]
mod tests;
