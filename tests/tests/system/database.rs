//! Looks into the program's database files, beside the program.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};

/// A database file, for reading.
pub(crate) struct Database(SqlitePool);

impl Database {
    pub(crate) async fn open(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).pragma("query_only", "on");
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        Self(pool.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// All rows of a query.
    pub(crate) async fn rows<T>(&self, sql: &'static str) -> Vec<T>
    where
        T: for<'r> sqlx::FromRow<'r, SqliteRow> + Send + Unpin,
    {
        sqlx::query_as(sql).fetch_all(&self.0).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        let (number,) = self.rows::<(i64,)>(sql).await.pop().expect("one row");
        number
    }
}

/// Changes a file that no program has open.
pub(crate) async fn change(path: &Path, sql: &'static str) {
    let pool = SqlitePoolOptions::new().connect_with(SqliteConnectOptions::new().filename(path)).await;
    let pool = pool.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    sqlx::query(sql).execute(&pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    pool.close().await;
}

/// The write lock of a database file: nobody else's commit succeeds while it is held.
pub(crate) struct Lock(SqliteConnection);

impl Lock {
    pub(crate) async fn take(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path);
        let mut connection = options.connect().await.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("the lock");
        Self(connection)
    }

    pub(crate) async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.expect("the lock can be released");
        self.0.close().await.expect("the file can be closed");
    }
}
