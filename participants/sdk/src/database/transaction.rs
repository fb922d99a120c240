//! One write transaction, and parts of it that can be rolled back alone.
//!
//! Every statement is a round trip to the connection's thread, which costs more than most statements do. So what only
//! begins, marks or commits travels in one text with a statement that does work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Either, Executor};
use tokio::sync::OwnedMutexGuard;

use super::{DatabaseError, Row};
use crate::value::{Value, arguments};

/// Begins a transaction that can be rolled back only as a whole.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
/// Begins a transaction that can be rolled back part by part, too.
pub(crate) const BEGIN_IN_PARTS: &str = "BEGIN IMMEDIATE; SAVEPOINT part";

/// The connection that writes.
///
/// Transactions are begun and ended by plain statements: the driver's own lose count when SQLite rolls one back by
/// itself, as it does when the disk is full, and the connection is then of no more use.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the database is closed.
    pub(super) connection: Option<SqliteConnection>,
    /// A transaction was begun, and neither committed nor rolled back.
    open: bool,
}

impl Writer {
    pub(super) const fn new(connection: SqliteConnection) -> Self {
        Self { connection: Some(connection), open: false }
    }

    /// The connection, free of what an abandoned transaction has left.
    pub(super) async fn clean(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        if self.open {
            // An error says that SQLite has rolled it back already.
            let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
            self.open = false;
        }
        Ok(connection)
    }
}

/// Where the savepoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// There is none.
    None,
    /// Here: nothing was written since.
    Here,
    /// The current part has written since.
    Written,
    /// An earlier part has written since. It is moved up together with the next write.
    Behind,
}

/// An open write transaction; the only one of its database.
///
/// Dropped without a commit, it is rolled back, at the latest when the next one begins.
pub struct Transaction {
    writer: OwnedMutexGuard<Writer>,
    mark: Mark,
    ended: bool,
    marked: Arc<MarkedTexts>,
}

impl Transaction {
    /// Begins with a text that starts with [`BEGIN`] or [`BEGIN_IN_PARTS`]; shows the rows it yields to `each`.
    pub(super) async fn begin(
        mut writer: OwnedMutexGuard<Writer>,
        marked: Arc<MarkedTexts>,
        sql: &'static str,
        arguments: SqliteArguments,
        each: impl FnMut(&SqliteRow) -> Result<(), sqlx::Error> + Send,
    ) -> Result<Self, DatabaseError> {
        writer.clean().await.map_err(DatabaseError::Unavailable)?;
        writer.open = true;
        let mark = if sql.starts_with(BEGIN_IN_PARTS) { Mark::Here } else { Mark::None };
        let mut transaction = Self { writer, mark, ended: false, marked };
        match transaction.run(sql, arguments, each).await {
            Ok(_) => Ok(transaction),
            Err(error) => {
                transaction.rollback().await;
                Err(error)
            }
        }
    }

    /// Runs one statement and returns the number of rows it changed.
    pub async fn execute(&mut self, sql: &'static str, args: &[Value<'_>]) -> Result<u64, DatabaseError> {
        self.run_in_part(sql, args, |_| Ok(())).await
    }

    /// Runs one statement and returns its first row, if it has any.
    pub async fn fetch_optional<R: Row>(
        &mut self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Option<R>, DatabaseError> {
        let mut first = None;
        let keep_first = |row: &SqliteRow| {
            if first.is_none() {
                first = Some(R::from_row(row)?);
            }
            Ok(())
        };
        self.run_in_part(sql, args, keep_first).await?;
        Ok(first)
    }

    /// Runs one statement and returns all its rows.
    pub async fn fetch_all<R: Row>(&mut self, sql: &'static str, args: &[Value<'_>]) -> Result<Vec<R>, DatabaseError> {
        let mut rows = Vec::new();
        let keep = |row: &SqliteRow| {
            rows.push(R::from_row(row)?);
            Ok(())
        };
        self.run_in_part(sql, args, keep).await?;
        Ok(rows)
    }

    /// Makes everything durable. On an error it is not known whether that has happened.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        self.commit_with("COMMIT", SqliteArguments::default()).await
    }

    /// Commits with a text that ends in `COMMIT`.
    pub(crate) async fn commit_with(
        mut self,
        sql: &'static str,
        arguments: SqliteArguments,
    ) -> Result<(), DatabaseError> {
        match self.run(sql, arguments, |_| Ok(())).await {
            Ok(_) => {
                self.writer.open = false;
                Ok(())
            }
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// Takes everything back.
    pub async fn rollback(mut self) {
        // What goes wrong here concerns the next transaction, which finds it out by itself.
        let _ = self.writer.clean().await;
    }

    /// Begins the next part: what was written before stays, whatever becomes of what follows.
    pub(crate) const fn next_part(&mut self) {
        if matches!(self.mark, Mark::Written) {
            self.mark = Mark::Behind;
        }
    }

    /// Takes back what the current part has written.
    pub(crate) async fn undo_part(&mut self) -> Result<(), DatabaseError> {
        if self.ended || self.mark != Mark::Written {
            return Ok(());
        }
        self.mark = Mark::Here;
        let undone = self.run("ROLLBACK TO part", SqliteArguments::default(), |_| Ok(())).await;
        // Without a savepoint to go back to, SQLite has rolled back the whole transaction by itself.
        self.ended |= undone.is_err();
        undone.map(|_| ())
    }

    /// Whether an error has ended it, so that it cannot be committed.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    async fn run_in_part(
        &mut self,
        sql: &'static str,
        args: &[Value<'_>],
        each: impl FnMut(&SqliteRow) -> Result<(), sqlx::Error> + Send,
    ) -> Result<u64, DatabaseError> {
        let arguments = arguments(args)?;
        let is_read = sql.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("SELECT"));
        if is_read || self.mark == Mark::None {
            return self.run(sql, arguments, each).await;
        }
        let moves_mark = self.mark == Mark::Behind;
        self.mark = Mark::Written;
        if moves_mark {
            let sql = AssertSqlSafe(self.marked.get(sql));
            self.run(sql, arguments, each).await
        } else {
            self.run(sql, arguments, each).await
        }
    }

    /// Runs a text and returns how many rows its last statement changed: those before it only move the savepoint, and
    /// report the number of whatever was run before them.
    async fn run(
        &mut self,
        sql: impl sqlx::SqlSafeStr + Send,
        arguments: SqliteArguments,
        mut each: impl FnMut(&SqliteRow) -> Result<(), sqlx::Error> + Send,
    ) -> Result<u64, DatabaseError> {
        let Some(connection) = self.writer.connection.as_mut().filter(|_| !self.ended) else {
            return Err(DatabaseError::Ended);
        };
        let run = async {
            let mut changed = 0;
            let mut results = Executor::fetch_many(connection, sqlx::query_with(sql, arguments));
            while let Some(result) = results.try_next().await? {
                match result {
                    Either::Left(done) => changed = done.rows_affected(),
                    Either::Right(row) => each(&row)?,
                }
            }
            Ok(changed)
        };
        run.await.map_err(|error: sqlx::Error| {
            let error = DatabaseError::from(error);
            if matches!(error, DatabaseError::Unavailable(_)) {
                tracing::error!(%error, "a transaction was ended by an error");
                self.ended = true;
            }
            error
        })
    }
}

/// Statements with the move of the savepoint put before them. There are as many as participants have statements.
#[derive(Debug, Default)]
pub(super) struct MarkedTexts(Mutex<HashMap<&'static str, Arc<str>>>);

impl MarkedTexts {
    fn get(&self, sql: &'static str) -> Arc<str> {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(texts.entry(sql).or_insert_with(|| format!("RELEASE part; SAVEPOINT part; {sql}").into()))
    }
}
