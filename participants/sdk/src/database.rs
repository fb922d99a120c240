//! A participant's own database: where its effects and the barrier are kept.

#[cfg(feature = "postgres")]
mod postgres;
mod row;
mod sqlite;
mod transaction;

use sqlx::migrate::{MigrateError, Migrator};

use crate::value::Value;
#[cfg(feature = "postgres")]
pub use postgres::PostgresDatabase;
#[cfg(feature = "postgres")]
pub(crate) use postgres::PostgresTransaction;
pub use row::{Column, Row, RowRef};
pub use sqlite::SqliteDatabase;
pub(crate) use sqlite::SqliteTransaction;
pub(crate) use transaction::Inner;
pub use transaction::Transaction;

/// A handle on an open database; clones share it.
#[derive(Clone, Debug)]
pub enum Database {
    /// One file, or memory; for one process.
    Sqlite(SqliteDatabase),
    /// On a server; for any number of processes.
    #[cfg(feature = "postgres")]
    Postgres(PostgresDatabase),
}

/// What a database runs on, for the few statements that are worth writing twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// SQLite.
    Sqlite,
    /// Postgres.
    #[cfg(feature = "postgres")]
    Postgres,
}

/// What went wrong with a database, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Correct the path, the address or the permissions.
    #[error("cannot use the database {path}: {why}")]
    Unusable {
        /// As it was given, but without secrets.
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
    /// Postgres says so, or it cannot be asked.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    /// There is no connection to Postgres.
    #[cfg(feature = "postgres")]
    #[error("{address}: {error}")]
    Unreachable {
        /// Without secrets.
        address: String,
        /// What became of the attempt.
        error: sqlx::Error,
    },
    /// A column holds what its reader does not know.
    #[error("{0}")]
    Column(String),
    /// An argument is missing, or not of the kind that the statement takes.
    #[error("{0}")]
    Argument(String),
    /// The database was closed.
    #[error("it is closed")]
    Closed,
}

impl From<DriverError> for DatabaseError {
    fn from(error: DriverError) -> Self {
        let unavailable = match &error {
            DriverError::Sqlite(error) => sqlite::ends_transaction(error),
            #[cfg(feature = "postgres")]
            DriverError::Postgres(error) => postgres::ends_transaction(error),
            #[cfg(feature = "postgres")]
            DriverError::Unreachable { .. } => true,
            DriverError::Column(_) | DriverError::Argument(_) => false,
            DriverError::Closed => true,
        };
        if unavailable { Self::Unavailable(error) } else { Self::Statement(error) }
    }
}

/// Whether this names a Postgres database rather than a file.
fn is_postgres(place: &str) -> bool {
    place.starts_with("postgres://") || place.starts_with("postgresql://")
}

impl Database {
    /// Opens `postgres://…`, or the SQLite file of that path.
    pub async fn open(place: &str) -> Result<Self, DatabaseError> {
        if !is_postgres(place) {
            return Self::open_sqlite(place).await;
        }
        #[cfg(feature = "postgres")]
        return Self::connect_postgres(place).await;
        #[cfg(not(feature = "postgres"))]
        Err(DatabaseError::Unusable {
            path: "postgres://…".to_owned(),
            why: "this program was built without Postgres (feature `postgres`)".to_owned(),
        })
    }

    /// Opens an SQLite database, and creates it where there is none. A commit is durable when it returns (write-ahead
    /// log, `synchronous=FULL`).
    ///
    /// `:memory:` is one of its own, gone with its last handle. There reads wait for an open transaction to end, so who
    /// holds one must read through it.
    pub async fn open_sqlite(path: &str) -> Result<Self, DatabaseError> {
        SqliteDatabase::open(path).map(Self::Sqlite)
    }

    /// Connects to a Postgres database. How durable a commit is, is the server's matter (`synchronous_commit`).
    ///
    /// Connections are opened when they are needed, and again when they were lost: one for reading is tried at once.
    #[cfg(feature = "postgres")]
    pub async fn connect_postgres(url: &str) -> Result<Self, DatabaseError> {
        PostgresDatabase::connect(url).await.map(Self::Postgres)
    }

    /// A handle on the same database for these participants: what it writes waits for what others write for any of them,
    /// in whatever process, and for no one else.
    ///
    /// Give it to whatever writes a participant's tables: its host, its subscriptions, its routes. Handles made without
    /// this wait for each other. On SQLite everyone waits for everyone.
    #[must_use]
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite has one writer"))]
    pub fn for_participants(&self, names: &[&str]) -> Self {
        match self {
            Self::Sqlite(database) => Self::Sqlite(database.clone()),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => Self::Postgres(database.for_participants(names)),
        }
    }

    /// What it runs on.
    pub const fn kind(&self) -> DatabaseKind {
        match self {
            Self::Sqlite(_) => DatabaseKind::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => DatabaseKind::Postgres,
        }
    }

    /// Brings the tables up to date. Refuses a database that a newer program has written. On Postgres any number of
    /// programs may do so at once.
    pub async fn migrate(&self, migrations: &Migrator) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(database) => database.migrate(migrations).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.migrate(migrations).await,
        }
    }

    /// Reads all rows of a query, as of the last commit, without waiting for writers.
    pub async fn fetch_all<R: Row>(&self, sql: &'static str, args: &[Value<'_>]) -> Result<Vec<R>, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.fetch_all(sql, args).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.fetch_all(sql, args).await,
        }
    }

    /// Reads the first row of a query, as of the last commit, without waiting for writers.
    pub async fn fetch_optional<R: Row>(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Option<R>, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.fetch_optional(sql, args).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.fetch_optional(sql, args).await,
        }
    }

    /// Opens a transaction for writing, once the one before it has ended.
    pub async fn begin(&self) -> Result<Transaction, DatabaseError> {
        let inner = match self {
            Self::Sqlite(database) => Inner::Sqlite(database.begin().await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => Inner::Postgres(database.begin().await?),
        };
        Ok(Transaction { inner })
    }

    /// Runs one statement as a transaction of its own and returns the number of rows it changed.
    pub async fn execute(&self, sql: &'static str, args: &[Value<'_>]) -> Result<u64, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.execute(sql, args).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.execute(sql, args).await,
        }
    }

    /// Runs a future where statements and commits may block: SQLite's block, on a thread of their own.
    pub(crate) async fn on_writer_thread<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self {
            Self::Sqlite(database) => database.on_writer_thread(future).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => future.await,
        }
    }

    /// Waits for what is open to end, and closes the database; other handles are of no use afterwards.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(database) => database.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.close().await,
        }
    }
}

#[cfg(test)]
mod tests;
