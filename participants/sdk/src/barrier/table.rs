//! The barrier's table: all rows of a batch in one statement each way.

use std::sync::{Arc, LazyLock};

use amends_core::{Command, Failure, Operation, Payload, Timestamp};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row};
use uuid::Uuid;

use super::{Answer, Entry, Mark};
use crate::database::{BEGIN_IN_PARTS, Database, DatabaseError, Transaction};
use crate::host::BATCH_MAX;

/// A batch is rounded up to one of these: a statement of another size would have to be prepared anew. The last holds
/// a full batch of compensations that found nothing, which leave two rows each.
///
/// The statements use `?`, since SQLite finds each `$n` by going through all those before it: a fifth of all time at
/// 256 rows.
const SIZES: [usize; 6] = [1, 4, 16, 64, BATCH_MAX, 2 * BATCH_MAX];

/// Begins the transaction and reads the keys of up to so many commands. What is not bound is null: equal to no key.
static BEGIN: LazyLock<[String; 6]> =
    LazyLock::new(|| SIZES.map(|size| format!("{BEGIN_IN_PARTS}; {}", load_sql(size))));

/// Writes up to so many rows and commits. What is not bound is null, and left out.
static COMMIT: LazyLock<[String; 6]> =
    LazyLock::new(|| SIZES.map(|size| format!("RELEASE part; {}; COMMIT", store_sql(size))));

/// What a row of [`Record`] binds.
const STORED_COLUMNS: usize = 9;

/// What is stored about the step of one command; `Err` says why it cannot be read.
pub(crate) type Stored = Result<Vec<Entry>, String>;

/// A row to store.
#[derive(Debug)]
pub(crate) struct Record<'c> {
    pub(crate) command: &'c Command,
    /// A tombstone lies on the key of the command's *execution*.
    pub(crate) mark: Mark,
}

/// Begins a transaction and reads what is stored about the steps of the given commands, in their order; at most
/// [`BATCH_MAX`].
pub(crate) async fn begin(
    database: &Database,
    commands: &[Command],
) -> Result<(Transaction, Vec<Stored>), DatabaseError> {
    let mut stored: Vec<Stored> = commands.iter().map(|_| Ok(Vec::new())).collect();
    let mut arguments = SqliteArguments::default();
    arguments.reserve(2 * commands.len(), 0);
    for command in commands {
        let bound = arguments
            .add(command.saga_id.as_uuid().as_bytes().as_slice())
            .and_then(|()| arguments.add(Arc::<str>::from(command.step.clone())));
        bound.map_err(sqlx::Error::Encode)?;
    }
    let keep = |row: &SqliteRow| {
        let slot = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        let entry = read(row)?;
        if let Some(entries) = stored.get_mut(slot) {
            match (entries.as_mut(), entry) {
                (Ok(entries), Ok(entry)) => entries.push(entry),
                (_, Err(why)) => *entries = Err(why),
                (Err(_), Ok(_)) => {}
            }
        }
        Ok(())
    };
    let transaction = database.begin_with(sized(&BEGIN, commands.len()), arguments, keep).await?;
    Ok((transaction, stored))
}

/// Stores the given rows, none of which may be there yet, and commits; at most twice [`BATCH_MAX`].
pub(crate) async fn commit(
    transaction: Transaction,
    records: &[Record<'_>],
    at: Timestamp,
) -> Result<(), DatabaseError> {
    if records.is_empty() {
        return transaction.commit().await;
    }
    let mut arguments = SqliteArguments::default();
    arguments.reserve(STORED_COLUMNS * records.len(), 0);
    for record in records {
        bind(&mut arguments, record, at).map_err(sqlx::Error::Encode)?;
    }
    transaction.commit_with(sized(&COMMIT, records.len()), arguments).await
}

fn bind(arguments: &mut SqliteArguments, record: &Record<'_>, at: Timestamp) -> Result<(), sqlx::error::BoxDynError> {
    let command = record.command;
    arguments.add(command.saga_id.as_uuid().as_bytes().as_slice())?;
    arguments.add(Arc::<str>::from(command.step.clone()))?;
    match &record.mark {
        Mark::Tombstone => {
            arguments.add(Operation::Execute.as_str())?;
            arguments.add(0_i64)?;
            arguments.add("compensation")?;
            arguments.add(None::<&[u8]>)?;
            arguments.add(None::<&str>)?;
            arguments.add(None::<&str>)?;
        }
        Mark::Own { digest, answer } => {
            arguments.add(command.operation.as_str())?;
            arguments.add(i64::from(command.revision))?;
            arguments.add("own")?;
            arguments.add(digest.as_bytes().as_slice())?;
            match answer {
                Answer::Done(output) => {
                    arguments.add("done")?;
                    arguments.add(Arc::<str>::from(output.as_str()))?;
                }
                Answer::Refused(failure) => {
                    arguments.add("refused")?;
                    arguments.add(serde_json::to_string(failure)?)?;
                }
            }
        }
    }
    arguments.add(at.0)
}

/// Reads one row. The outer error is the driver's, the inner one the row's own: it must not stop other commands.
fn read(row: &SqliteRow) -> Result<Result<Entry, String>, sqlx::Error> {
    let operation: String = row.try_get(1)?;
    let revision: i64 = row.try_get(2)?;
    let origin: String = row.try_get(3)?;
    let digest: Option<Vec<u8>> = row.try_get(4)?;
    let outcome: Option<String> = row.try_get(5)?;
    let reply: Option<String> = row.try_get(6)?;
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

fn sized(statements: &'static [String; 6], rows: usize) -> &'static str {
    let size = SIZES.iter().position(|size| *size >= rows).unwrap_or(SIZES.len() - 1);
    &statements[size]
}

/// `CROSS JOIN` has SQLite look each key up, instead of reading the table and looking for each row's key.
fn load_sql(rows: usize) -> String {
    let keys: Vec<String> = (0..rows).map(|slot| format!("({slot}, ?, ?)")).collect();
    format!(
        "WITH wanted (slot, saga_id, step) AS (VALUES {}) \
         SELECT wanted.slot, b.operation, b.revision, b.origin, b.payload_digest, b.outcome, b.reply \
         FROM wanted CROSS JOIN barrier b ON b.saga_id = wanted.saga_id AND b.step = wanted.step",
        keys.join(", ")
    )
}

/// `OR ROLLBACK` saves SQLite a copy of every page it is about to change: it need not be able to take back this
/// statement alone.
fn store_sql(rows: usize) -> String {
    const COLUMNS: &str = "saga_id, step, operation, revision, origin, payload_digest, outcome, reply, stored_at_ms";
    let row = format!("({})", ["?"; STORED_COLUMNS].join(", "));
    format!(
        "WITH fresh ({COLUMNS}) AS (VALUES {}) \
         INSERT OR ROLLBACK INTO barrier ({COLUMNS}) SELECT * FROM fresh WHERE saga_id IS NOT NULL",
        vec![row; rows].join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_looked_up_not_searched_for() {
        let database = crate::fixture::memory().await;
        for size in [1, 256] {
            let sql: &'static str = format!("EXPLAIN QUERY PLAN {}", load_sql(size)).leak();
            let plan: Vec<(i64, i64, i64, String)> = database.fetch_all(sql, &[]).await.unwrap();
            let lookup =
                plan.iter().any(|(.., line)| line.contains("SEARCH b USING PRIMARY KEY (saga_id=? AND step=?)"));
            assert!(lookup, "{plan:?}");
        }
    }
}
