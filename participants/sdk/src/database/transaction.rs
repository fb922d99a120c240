//! One write transaction, and parts of it that can be taken back alone.

#[cfg(feature = "postgres")]
use super::postgres::PostgresTransaction;
use super::sqlite::SqliteTransaction;
use super::{DatabaseError, DatabaseKind, DriverError, Row, RowRef};
use crate::value::Value;

/// An open write transaction; the only one of its participants. On SQLite its statements run on the caller's thread,
/// and its commit blocks that while the disk is flushed.
///
/// Dropped without a commit, it is rolled back.
#[derive(Debug)]
pub struct Transaction {
    pub(crate) inner: Inner,
}

/// The database's own kind of transaction.
#[derive(Debug)]
pub(crate) enum Inner {
    Sqlite(SqliteTransaction),
    #[cfg(feature = "postgres")]
    Postgres(PostgresTransaction),
}

impl Transaction {
    /// Runs one statement and returns the number of rows it changed.
    pub async fn execute(&mut self, sql: &'static str, args: &[Value<'_>]) -> Result<u64, DatabaseError> {
        self.run(sql, args, |_| Ok(())).await
    }

    /// Runs one statement and returns its first row, if it has any.
    pub async fn fetch_optional<R: Row>(
        &mut self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Option<R>, DatabaseError> {
        let mut first = None;
        let keep_first = |row: &RowRef<'_>| {
            if first.is_none() {
                first = Some(R::read(row)?);
            }
            Ok(())
        };
        self.run(sql, args, keep_first).await?;
        Ok(first)
    }

    /// Runs one statement and returns all its rows.
    pub async fn fetch_all<R: Row>(&mut self, sql: &'static str, args: &[Value<'_>]) -> Result<Vec<R>, DatabaseError> {
        let mut rows = Vec::new();
        let keep = |row: &RowRef<'_>| {
            rows.push(R::read(row)?);
            Ok(())
        };
        self.run(sql, args, keep).await?;
        Ok(rows)
    }

    /// What the database runs on.
    pub const fn kind(&self) -> DatabaseKind {
        match self.inner {
            Inner::Sqlite(_) => DatabaseKind::Sqlite,
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => DatabaseKind::Postgres,
        }
    }

    /// Makes everything durable. On an error it is not known whether that has happened.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        match self.inner {
            Inner::Sqlite(transaction) => transaction.commit(),
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => transaction.commit().await,
        }
    }

    /// Takes everything back.
    pub async fn rollback(self) {
        #[cfg(feature = "postgres")]
        if let Inner::Postgres(transaction) = self.inner {
            transaction.rollback().await;
        }
    }

    /// Begins the next part: what was written before stays, whatever becomes of what follows.
    ///
    /// Where that costs round trips it holds for `careful` parts only: should another one have to be taken back, the
    /// whole transaction [has to be run again](Self::must_rerun).
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "a savepoint of SQLite costs next to nothing")
    )]
    pub(crate) fn next_part(&mut self, careful: bool) -> Result<(), DatabaseError> {
        match &mut self.inner {
            Inner::Sqlite(transaction) => transaction.next_part(),
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => {
                transaction.next_part(careful);
                Ok(())
            }
        }
    }

    /// Ends the last part; what follows can be taken back only with everything else, and its errors end the transaction.
    pub(crate) fn end_parts(&mut self) -> Result<(), DatabaseError> {
        match &mut self.inner {
            Inner::Sqlite(transaction) => transaction.end_parts(),
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => {
                transaction.end_parts();
                Ok(())
            }
        }
    }

    /// Takes back what the current part has written.
    pub(crate) async fn undo_part(&mut self) -> Result<(), DatabaseError> {
        match &mut self.inner {
            Inner::Sqlite(transaction) => transaction.undo_part(),
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => transaction.undo_part().await,
        }
    }

    /// Whether an error has ended it, so that it cannot be committed.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(transaction) => transaction.has_ended(),
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => transaction.has_ended(),
        }
    }

    /// Whether a part that was not careful had to be taken back: nothing can be committed but after a
    /// [restart](Self::restart).
    pub(crate) fn must_rerun(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => transaction.must_rerun(),
        }
    }

    /// Whether the current part is one of those because of which everything has to be run again.
    pub(crate) fn part_failed(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => transaction.part_failed(),
        }
    }

    /// Whether it takes no more statements before a [restart](Self::restart).
    pub(crate) fn is_aborted(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => transaction.is_aborted(),
        }
    }

    /// Takes everything back and begins anew. Others may have written in between.
    pub(crate) async fn restart(&mut self) -> Result<(), DatabaseError> {
        match &mut self.inner {
            // Never needed there: every part can be taken back alone.
            Inner::Sqlite(_) => Err(DatabaseError::Ended),
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => transaction.restart().await,
        }
    }

    /// Runs a statement that may write, shows its rows to `each` and returns how many rows it changed.
    async fn run(
        &mut self,
        sql: &'static str,
        args: &[Value<'_>],
        each: impl FnMut(&RowRef<'_>) -> Result<(), DriverError> + Send,
    ) -> Result<u64, DatabaseError> {
        match &mut self.inner {
            Inner::Sqlite(transaction) => transaction.run(sql, args, each),
            #[cfg(feature = "postgres")]
            Inner::Postgres(transaction) => transaction.run(sql, args, each).await,
        }
    }
}

/// Whether a statement cannot have written anything.
pub(super) fn is_read(sql: &str) -> bool {
    sql.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("SELECT"))
}
