//! One write transaction, and parts of it that can be rolled back alone.

use rusqlite::ToSql;
use tokio::sync::OwnedMutexGuard;

use super::super::transaction::is_read;
use super::{DatabaseError, DriverError, RowRef, Writer, run};
use crate::value::Value;

/// For statements that take no arguments.
const NONE: &[Value<'static>] = &[];

/// The open write transaction; the only one of its database. Its statements run on the caller's thread, and its commit
/// blocks that while the disk is flushed.
///
/// Dropped without a commit, it is rolled back.
#[derive(Debug)]
pub(crate) struct SqliteTransaction {
    writer: OwnedMutexGuard<Writer>,
    part: Part,
    ended: bool,
}

/// Whether what comes next can be rolled back alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// No: the transaction is one piece.
    Whole,
    /// Yes, and it has written nothing: there is no savepoint yet.
    Unwritten,
    /// Yes, from the savepoint.
    Written,
}

impl SqliteTransaction {
    pub(super) fn begin(writer: OwnedMutexGuard<Writer>) -> Result<Self, DatabaseError> {
        run(writer.clean()?, "BEGIN IMMEDIATE", NONE, |_| Ok(()))?;
        Ok(Self { writer, part: Part::Whole, ended: false })
    }

    /// Makes everything durable. On an error it is not known whether that has happened.
    pub(in crate::database) fn commit(mut self) -> Result<(), DatabaseError> {
        self.plain("COMMIT")
    }

    /// Begins the next part: what was written before stays, whatever becomes of what follows.
    pub(in crate::database) fn next_part(&mut self) -> Result<(), DatabaseError> {
        if self.part == Part::Written {
            self.plain("RELEASE part")?;
        }
        self.part = Part::Unwritten;
        Ok(())
    }

    /// Ends the last part; what follows can be taken back only with everything else.
    pub(in crate::database) fn end_parts(&mut self) -> Result<(), DatabaseError> {
        self.next_part()?;
        self.part = Part::Whole;
        Ok(())
    }

    /// Takes back what the current part has written.
    pub(in crate::database) fn undo_part(&mut self) -> Result<(), DatabaseError> {
        if self.ended || self.part != Part::Written {
            return Ok(());
        }
        let undone = self.plain("ROLLBACK TO part");
        // Without a savepoint to go back to, SQLite has rolled back the whole transaction by itself.
        self.ended |= undone.is_err();
        undone
    }

    /// Whether an error has ended it, so that it cannot be committed.
    pub(in crate::database) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Runs a statement that may write, shows its rows to `each` and returns how many rows it changed.
    pub(crate) fn run<A: ToSql>(
        &mut self,
        sql: &str,
        args: &[A],
        each: impl FnMut(&RowRef<'_>) -> Result<(), DriverError>,
    ) -> Result<u64, DatabaseError> {
        if self.part == Part::Unwritten && !is_read(sql) {
            self.plain("SAVEPOINT part")?;
            self.part = Part::Written;
        }
        self.run_as_it_is(sql, args, each)
    }

    fn plain(&mut self, sql: &str) -> Result<(), DatabaseError> {
        self.run_as_it_is(sql, NONE, |_| Ok(())).map(|_| ())
    }

    fn run_as_it_is<A: ToSql>(
        &mut self,
        sql: &str,
        args: &[A],
        each: impl FnMut(&RowRef<'_>) -> Result<(), DriverError>,
    ) -> Result<u64, DatabaseError> {
        let Some(connection) = self.writer.connection.as_ref().filter(|_| !self.ended) else {
            return Err(DatabaseError::Ended);
        };
        run(connection, sql, args, each).map_err(|error| {
            let error = DatabaseError::from(error);
            if matches!(error, DatabaseError::Unavailable(_)) || connection.is_autocommit() {
                tracing::error!(%error, "a transaction was ended by an error");
                self.ended = true;
            }
            error
        })
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        // What goes wrong here concerns the next transaction, which finds it out by itself.
        let _ = self.writer.clean();
    }
}
