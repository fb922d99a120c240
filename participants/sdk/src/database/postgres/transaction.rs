//! A write transaction on Postgres, where an error of one statement spoils all of it unless a savepoint was set before.

use sqlx::postgres::PgArguments;
use tokio::sync::OwnedMutexGuard;

use super::super::transaction::is_read;
use super::super::{DatabaseError, DriverError};
use super::connection::{Connection, Each};
use super::writer::Writer;
use crate::value::Value;

/// An open write transaction; the only one of its participants, in whatever process.
///
/// Dropped without a commit it closes its connection: the server then rolls back and lets the next one have its turn.
#[derive(Debug)]
pub(crate) struct PostgresTransaction {
    writer: OwnedMutexGuard<Writer>,
    mode: Mode,
    /// Whether there is a savepoint of this name, of the current part or of an earlier one.
    part: bool,
    statement: bool,
    /// Whether the current part has changed anything.
    wrote: bool,
    /// Whether the current part has to be taken back and cannot be.
    part_failed: bool,
    state: State,
}

/// Which savepoints are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// One before each statement: its error takes back that statement only.
    Whole,
    /// None: what goes wrong has everything run again.
    Free,
    /// One before the first change of the part, and one before each statement.
    Careful,
    /// None: an error is the end.
    Final,
}

/// What can still become of it; each is worse than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Sound,
    /// Something is in it that has to be taken back, and it cannot be committed.
    Spoilt,
    /// The same, and the server takes no more statements.
    Aborted,
    /// A statement is under way. Found by the next one, its caller has given up waiting for it.
    Busy,
    /// The connection is of no use any more, or the work is.
    Ended,
}

impl PostgresTransaction {
    pub(super) async fn begin(writer: OwnedMutexGuard<Writer>) -> Result<Self, DatabaseError> {
        let (mode, state) = (Mode::Whole, State::Sound);
        let mut begun = Self { writer, mode, part: false, statement: false, wrote: false, part_failed: false, state };
        // Given up half-way, or failed, it is dropped like any other: its place in the queue goes with it.
        begun.writer.begin().await?;
        Ok(begun)
    }

    pub(in crate::database) async fn commit(mut self) -> Result<(), DatabaseError> {
        if self.state != State::Sound {
            return Err(DatabaseError::Ended);
        }
        self.plain("COMMIT").await?;
        self.writer.open = false;
        Ok(())
    }

    pub(in crate::database) async fn rollback(mut self) {
        if self.state < State::Busy && self.plain("ROLLBACK").await.is_ok() {
            self.writer.open = false;
        }
    }

    pub(in crate::database) const fn next_part(&mut self, careful: bool) {
        self.mode = if careful { Mode::Careful } else { Mode::Free };
        (self.wrote, self.part_failed) = (false, false);
    }

    pub(in crate::database) const fn end_parts(&mut self) {
        self.mode = Mode::Final;
    }

    pub(in crate::database) async fn undo_part(&mut self) -> Result<(), DatabaseError> {
        if !self.wrote || self.state >= State::Aborted {
            return Ok(());
        }
        if self.mode == Mode::Careful {
            self.wrote = false;
            self.statement = false;
            return self.plain("ROLLBACK TO part").await;
        }
        self.part_failed = true;
        self.state = State::Spoilt;
        Ok(())
    }

    pub(in crate::database) fn has_ended(&self) -> bool {
        self.state >= State::Busy
    }

    pub(in crate::database) fn must_rerun(&self) -> bool {
        matches!(self.state, State::Spoilt | State::Aborted)
    }

    pub(in crate::database) const fn part_failed(&self) -> bool {
        self.part_failed
    }

    pub(in crate::database) fn is_aborted(&self) -> bool {
        self.state == State::Aborted
    }

    pub(in crate::database) async fn restart(&mut self) -> Result<(), DatabaseError> {
        if self.has_ended() {
            return Err(DatabaseError::Ended);
        }
        let again = format!("ROLLBACK; {}", self.writer.begin_text());
        self.plain(&again).await?;
        (self.mode, self.state) = (Mode::Whole, State::Sound);
        (self.part, self.statement, self.wrote, self.part_failed) = (false, false, false, false);
        Ok(())
    }

    /// Runs a statement that may write, shows its rows to `each` and returns how many rows it changed.
    pub(in crate::database) async fn run(
        &mut self,
        sql: &'static str,
        args: &[Value<'_>],
        each: impl Each,
    ) -> Result<u64, DatabaseError> {
        let reads = is_read(sql);
        self.set_savepoints(reads).await?;
        let result = self.ask(async |connection| connection.run(sql, args, each).await).await;
        let changed = match result {
            Ok(changed) => changed,
            Err(error) => return Err(self.failed(error).await),
        };
        self.wrote |= !reads && (changed > 0 || !counts_changes(sql));
        Ok(if reads { 0 } else { changed })
    }

    /// Runs one of the barrier's own statements, whose arguments carry their types. An error ends the transaction.
    pub(crate) async fn run_typed(
        &mut self,
        sql: &'static str,
        arguments: PgArguments,
        each: impl Each,
    ) -> Result<u64, DatabaseError> {
        let result = self.ask(async |connection| connection.run_typed(sql, arguments, each).await).await;
        result.map_err(|error| {
            self.state = State::Ended;
            DatabaseError::Unavailable(error)
        })
    }

    async fn set_savepoints(&mut self, reads: bool) -> Result<(), DatabaseError> {
        let part = self.mode == Mode::Careful && !reads && !self.wrote;
        let text = match self.mode {
            Mode::Free | Mode::Final => {
                return if self.state < State::Aborted { Ok(()) } else { Err(DatabaseError::Ended) };
            }
            // The part's savepoint goes with those that are inside it.
            _ if part && self.part => "RELEASE part; SAVEPOINT part; SAVEPOINT statement",
            _ if part && self.statement => "RELEASE statement; SAVEPOINT part; SAVEPOINT statement",
            _ if part => "SAVEPOINT part; SAVEPOINT statement",
            _ if self.statement => "RELEASE statement; SAVEPOINT statement",
            _ => "SAVEPOINT statement",
        };
        self.plain(text).await?;
        self.part |= part;
        self.wrote |= part;
        self.statement = true;
        Ok(())
    }

    /// What a statement's error leaves of the transaction.
    async fn failed(&mut self, error: DriverError) -> DatabaseError {
        if self.state >= State::Busy {
            return DatabaseError::Ended;
        }
        let asked = !matches!(error, DriverError::Argument(_) | DriverError::Column(_));
        let error = DatabaseError::from(error);
        if matches!(error, DatabaseError::Unavailable(_)) {
            tracing::error!(%error, "a transaction was ended by an error");
            self.state = State::Ended;
        } else if asked {
            match self.mode {
                Mode::Whole | Mode::Careful => {
                    if let Err(lost) = self.plain("ROLLBACK TO statement").await {
                        return lost;
                    }
                }
                Mode::Free => {
                    self.part_failed = true;
                    self.state = State::Aborted;
                }
                Mode::Final => self.state = State::Ended,
            }
        }
        error
    }

    /// Runs a text of our own; an error of it ends the transaction.
    async fn plain(&mut self, sql: &str) -> Result<(), DatabaseError> {
        let result = self.ask(async |connection| connection.plain(sql).await).await;
        result.map_err(|error| {
            self.state = State::Ended;
            DatabaseError::Unavailable(error)
        })
    }

    /// Has the connection do something, and notices when that is given up half-way.
    async fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        if self.state >= State::Busy {
            self.state = State::Ended;
            return Err(DriverError::Closed);
        }
        let Some(connection) = self.writer.connection.as_mut() else { return Err(DriverError::Closed) };
        let before = std::mem::replace(&mut self.state, State::Busy);
        let answer = question(connection).await;
        self.state = before;
        answer
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        self.writer.abandon();
    }
}

/// Whether the server says of such a statement how many rows it has changed.
fn counts_changes(sql: &str) -> bool {
    let word = sql.trim_start().split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    ["INSERT", "UPDATE", "DELETE"].iter().any(|counted| word.eq_ignore_ascii_case(counted))
}
