//! The barrier's table.

use amends_core::{Command, Failure, Operation, Payload, Timestamp};
use uuid::Uuid;

use super::{Answer, Entry, Mark};
use crate::database::{DatabaseError, DriverError, RowRef, Transaction};
use crate::value::Value;

const LOAD: &str = "\
    SELECT operation, revision, origin, payload_digest, outcome, reply FROM barrier WHERE saga_id = ? AND step = ?";
/// `OR ROLLBACK` saves SQLite a copy of every page it is about to change: it need not be able to take back this
/// statement alone.
const STORE: &str = "\
    INSERT OR ROLLBACK INTO barrier \
        (saga_id, step, operation, revision, origin, payload_digest, outcome, reply, stored_at_ms) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// What is stored about the step of one command; `Err` says why it cannot be read.
pub(crate) type Stored = Result<Vec<Entry>, String>;

/// A row to store.
#[derive(Debug)]
pub(crate) struct Record<'c> {
    pub(crate) command: &'c Command,
    /// A tombstone lies on the key of the command's *execution*.
    pub(crate) mark: Mark,
}

/// Reads what is stored about the step of a command.
pub(crate) fn load(transaction: &mut Transaction, command: &Command) -> Result<Stored, DatabaseError> {
    let saga = command.saga_id.as_uuid();
    let mut stored = Ok(Vec::new());
    let keep = |row: &RowRef<'_>| {
        match (stored.as_mut(), read(row)?) {
            (Ok(entries), Ok(entry)) => entries.push(entry),
            (_, Err(why)) => stored = Err(why),
            (Err(_), Ok(_)) => {}
        }
        Ok(())
    };
    transaction.run(LOAD, &[Value::from(&saga), Value::Text(command.step.as_str())], keep)?;
    Ok(stored)
}

/// Stores a row, which may not be there yet. An error ends the transaction.
pub(crate) fn store(transaction: &mut Transaction, record: &Record<'_>, at: Timestamp) -> Result<(), DatabaseError> {
    let command = record.command;
    let saga = command.saga_id.as_uuid();
    let failure: String;
    let [operation, revision, origin, digest, outcome, reply] = match &record.mark {
        Mark::Tombstone => {
            let operation = Value::Text(Operation::Execute.as_str());
            [operation, Value::Int(0), Value::Text("compensation"), Value::Null, Value::Null, Value::Null]
        }
        Mark::Own { digest, answer } => {
            let (outcome, reply) = match answer {
                Answer::Done(output) => ("done", output.as_str()),
                Answer::Refused(refusal) => {
                    failure = serde_json::to_string(refusal).map_err(|error| DriverError::Column(error.to_string()))?;
                    ("refused", failure.as_str())
                }
            };
            let operation = Value::Text(command.operation.as_str());
            [operation, command.revision.into(), "own".into(), digest.into(), outcome.into(), reply.into()]
        }
    };
    let step = Value::Text(command.step.as_str());
    let row = [Value::from(&saga), step, operation, revision, origin, digest, outcome, reply, at.into()];
    transaction.run(STORE, &row, |_| Ok(())).map(|_| ())
}

/// Reads one row. The outer error is the driver's, the inner one the row's own: it must not stop other commands.
fn read(row: &RowRef<'_>) -> Result<Result<Entry, String>, DriverError> {
    let operation: String = row.get(0)?;
    let revision: i64 = row.get(1)?;
    let origin: String = row.get(2)?;
    let digest: Option<Vec<u8>> = row.get(3)?;
    let outcome: Option<String> = row.get(4)?;
    let reply: Option<String> = row.get(5)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_looked_up_not_searched_for() {
        let database = crate::fixture::memory().await;
        let sql: &'static str = format!("EXPLAIN QUERY PLAN {LOAD}").leak();
        let plan: Vec<(i64, i64, i64, String)> = database.fetch_all(sql, &[Value::Null, Value::Null]).await.unwrap();
        let lookup =
            plan.iter().any(|(.., line)| line.contains("SEARCH barrier USING PRIMARY KEY (saga_id=? AND step=?)"));
        assert!(lookup, "{plan:?}");
    }
}
