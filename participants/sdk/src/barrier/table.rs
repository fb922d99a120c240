//! The barrier's table.

#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

use amends_core::{Command, Failure, Operation, Payload, Timestamp};
use uuid::Uuid;

use super::{Answer, Entry, Mark};
use crate::database::{DatabaseError, DriverError, Inner, RowRef, Transaction};

/// What is stored about the step of one command; `Err` says why it cannot be read.
pub(crate) type Stored = Result<Vec<Entry>, String>;

/// A row to store.
#[derive(Debug)]
pub(crate) struct Record<'c> {
    pub(crate) command: &'c Command,
    /// A tombstone lies on the key of the command's *execution*.
    pub(crate) mark: Mark,
}

/// What is stored about the steps of a batch's commands.
pub(crate) enum Loaded {
    /// To be read command by command, as each is a function call away.
    OneByOne,
    /// In the order of the commands.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "SQLite reads them one by one"))]
    All(Vec<Stored>),
}

impl Loaded {
    /// What is stored about the step of one of the commands; asked once for each.
    pub(crate) fn of(
        &mut self,
        transaction: &mut Transaction,
        at: usize,
        command: &Command,
    ) -> Result<Stored, DatabaseError> {
        match (self, &mut transaction.inner) {
            (Self::All(stored), _) => {
                let stored = stored.get_mut(at).map(|stored| std::mem::replace(stored, Ok(Vec::new())));
                Ok(stored.unwrap_or_else(|| Ok(Vec::new())))
            }
            (Self::OneByOne, Inner::Sqlite(transaction)) => sqlite::load(transaction, command),
            #[cfg(feature = "postgres")]
            (Self::OneByOne, Inner::Postgres(_)) => Err(DatabaseError::Ended),
        }
    }
}

/// Reads what is stored about the steps of the commands, or has it read later.
#[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite reads them one by one"))]
pub(crate) async fn load(transaction: &mut Transaction, commands: &[Command]) -> Result<Loaded, DatabaseError> {
    match &mut transaction.inner {
        Inner::Sqlite(_) => Ok(Loaded::OneByOne),
        #[cfg(feature = "postgres")]
        Inner::Postgres(transaction) => postgres::load(transaction, commands).await.map(Loaded::All),
    }
}

/// Stores rows, none of which may be there yet. An error ends the transaction.
pub(crate) async fn store(
    transaction: &mut Transaction,
    records: &[Record<'_>],
    at: Timestamp,
) -> Result<(), DatabaseError> {
    match &mut transaction.inner {
        Inner::Sqlite(transaction) => {
            for record in records {
                sqlite::store(transaction, &Row::of(record)?, at)?;
            }
            Ok(())
        }
        #[cfg(feature = "postgres")]
        Inner::Postgres(transaction) => {
            let rows = records.iter().map(Row::of).collect::<Result<Vec<_>, _>>()?;
            postgres::store(transaction, &rows, at).await
        }
    }
}

/// The columns of a row to store.
struct Row<'r> {
    saga: Uuid,
    step: &'r str,
    operation: &'static str,
    revision: u32,
    origin: &'static str,
    digest: Option<Uuid>,
    outcome: Option<&'static str>,
    reply: Option<std::borrow::Cow<'r, str>>,
}

impl<'r> Row<'r> {
    fn of(record: &'r Record<'_>) -> Result<Self, DriverError> {
        let command = record.command;
        let tombstone = Self {
            saga: command.saga_id.as_uuid(),
            step: command.step.as_str(),
            operation: Operation::Execute.as_str(),
            revision: 0,
            origin: "compensation",
            digest: None,
            outcome: None,
            reply: None,
        };
        let Mark::Own { digest, answer } = &record.mark else { return Ok(tombstone) };
        let (outcome, reply) = match answer {
            Answer::Done(output) => ("done", output.as_str().into()),
            Answer::Refused(refusal) => {
                let failure = serde_json::to_string(refusal).map_err(|error| DriverError::Column(error.to_string()))?;
                ("refused", failure.into())
            }
        };
        Ok(Self {
            operation: command.operation.as_str(),
            revision: command.revision,
            origin: "own",
            digest: Some(*digest),
            outcome: Some(outcome),
            reply: Some(reply),
            ..tombstone
        })
    }
}

/// Adds one row to what is stored, from the columns `operation, revision, origin, payload_digest, outcome, reply` after
/// the first so many. The error is the driver's; the row's own is kept for its command: it must not stop others.
fn add(stored: &mut Stored, row: &RowRef<'_>, first: usize) -> Result<(), DriverError> {
    match (stored.as_mut(), read(row, first)?) {
        (Ok(entries), Ok(entry)) => entries.push(entry),
        (_, Err(why)) => *stored = Err(why),
        (Err(_), Ok(_)) => {}
    }
    Ok(())
}

fn read(row: &RowRef<'_>, first: usize) -> Result<Result<Entry, String>, DriverError> {
    let operation: String = row.get(first)?;
    let revision: i64 = row.get(first + 1)?;
    let origin: String = row.get(first + 2)?;
    let digest: Option<Vec<u8>> = row.get(first + 3)?;
    let outcome: Option<String> = row.get(first + 4)?;
    let reply: Option<String> = row.get(first + 5)?;
    let entry = || {
        let mark = match (origin.as_str(), digest, outcome.as_deref(), reply) {
            ("compensation", ..) => Mark::Tombstone,
            ("own", Some(digest), Some(outcome), Some(reply)) => {
                let digest = Uuid::from_slice(&digest).map_err(|error| error.to_string())?;
                Mark::Own { digest, answer: read_answer(outcome, reply)? }
            }
            _ => return Err(format!("origin {origin:?} without an answer")),
        };
        let operation = operation.parse().map_err(|()| format!("unknown operation {operation:?}"))?;
        let revision = u32::try_from(revision).map_err(|error| error.to_string())?;
        Ok(Entry { operation, revision, mark })
    };
    Ok(entry())
}

fn read_answer(outcome: &str, reply: String) -> Result<Answer, String> {
    match outcome {
        "done" => Payload::from_json(reply).map(Answer::Done).map_err(|error| error.to_string()),
        "refused" => serde_json::from_str::<Failure>(&reply).map(Answer::Refused).map_err(|error| error.to_string()),
        _ => Err(format!("unknown outcome {outcome:?}")),
    }
}
