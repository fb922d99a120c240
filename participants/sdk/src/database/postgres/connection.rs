//! One connection, and the statements that are prepared on it.

use std::collections::HashMap;

use futures::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnection, PgStatement};
use sqlx::{AssertSqlSafe, Either, Executor, SqlSafeStr, Statement};

use super::super::{DriverError, RowRef};
use super::bind::{Expected, bind};
use super::session::PATIENCE;
use crate::value::Value;

/// A connection and what is known about its statements.
#[derive(Debug)]
pub(super) struct Connection {
    session: PgConnection,
    prepared: HashMap<&'static str, Prepared>,
}

/// A statement whose text the server has read.
#[derive(Clone, Debug)]
struct Prepared {
    statement: PgStatement,
    expected: std::sync::Arc<[Expected]>,
}

/// Stands for whoever reads the rows.
pub(crate) trait Each: FnMut(&RowRef<'_>) -> Result<(), DriverError> + Send {}

impl<F: FnMut(&RowRef<'_>) -> Result<(), DriverError> + Send> Each for F {}

impl Connection {
    pub(super) fn new(session: PgConnection) -> Self {
        Self { session, prepared: HashMap::new() }
    }

    /// Runs one statement to its end, shows its rows to `each` and returns how many rows it changed.
    pub(super) async fn run(
        &mut self,
        sql: &'static str,
        args: &[Value<'_>],
        each: impl Each,
    ) -> Result<u64, DriverError> {
        patiently(async {
            let Prepared { statement, expected } = self.prepared(sql).await?;
            let query = statement.query_with(bind(args, &expected)?);
            show(self.session.fetch_many(query), each).await
        })
        .await
    }

    /// The same with arguments that carry their types.
    pub(super) async fn run_typed(
        &mut self,
        sql: &'static str,
        arguments: PgArguments,
        each: impl Each,
    ) -> Result<u64, DriverError> {
        patiently(async { show(self.session.fetch_many(sqlx::query_with(sql, arguments)), each).await }).await
    }

    /// Runs a text of one or more statements without arguments, in one round trip.
    pub(super) async fn plain(&mut self, sql: &str) -> Result<(), DriverError> {
        // Our own texts, put together from constants and numbers.
        let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        patiently(async { Ok(script.execute(&mut self.session).await.map(|_| ())?) }).await
    }

    async fn prepared(&mut self, sql: &'static str) -> Result<Prepared, DriverError> {
        if let Some(prepared) = self.prepared.get(sql) {
            return Ok(prepared.clone());
        }
        let statement = (&mut self.session).prepare(sql.into_sql_str()).await?;
        let expected = match statement.parameters() {
            Some(Either::Left(parameters)) => parameters.iter().map(Expected::of).collect(),
            _ => Vec::new(),
        };
        let prepared = Prepared { statement, expected: expected.into() };
        self.prepared.insert(sql, prepared.clone());
        Ok(prepared)
    }

    /// Says good-bye to the server.
    pub(super) async fn close(self) {
        if let Err(error) = sqlx::Connection::close(self.session).await {
            tracing::debug!(%error, "a connection was not closed cleanly");
        }
    }
}

/// Reads a result to its end, even if a row is not readable: nothing of it may be left for the next statement.
async fn show(
    mut results: impl futures::Stream<
        Item = Result<Either<sqlx::postgres::PgQueryResult, sqlx::postgres::PgRow>, sqlx::Error>,
    > + Unpin,
    mut each: impl Each,
) -> Result<u64, DriverError> {
    let (mut changed, mut unread) = (0, Ok(()));
    while let Some(result) = results.try_next().await? {
        match result {
            Either::Left(done) => changed += done.rows_affected(),
            Either::Right(row) if unread.is_ok() => unread = each(&RowRef::Postgres(&row)),
            Either::Right(_) => {}
        }
    }
    unread.map(|()| changed)
}

/// Waits for a server that may not be there any more.
async fn patiently<T>(answer: impl Future<Output = Result<T, DriverError>>) -> Result<T, DriverError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()),
    }
}
