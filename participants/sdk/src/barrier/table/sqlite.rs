//! On SQLite: a statement per command, each a function call.

use amends_core::{Command, Timestamp};

use super::{Row, Stored, add};
use crate::database::{DatabaseError, RowRef, SqliteTransaction};
use crate::value::Value;

const LOAD: &str = "\
    SELECT operation, revision, origin, payload_digest, outcome, reply FROM barrier WHERE saga_id = ? AND step = ?";
/// `OR ROLLBACK` saves SQLite a copy of every page it is about to change: it need not be able to take back this
/// statement alone.
const STORE: &str = "\
    INSERT OR ROLLBACK INTO barrier \
        (saga_id, step, operation, revision, origin, payload_digest, outcome, reply, stored_at_ms) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Reads what is stored about the step of a command.
pub(super) fn load(transaction: &mut SqliteTransaction, command: &Command) -> Result<Stored, DatabaseError> {
    let saga = command.saga_id.as_uuid();
    let mut stored = Ok(Vec::new());
    let keep = |row: &RowRef<'_>| add(&mut stored, row, 0);
    transaction.run(LOAD, &[Value::from(&saga), Value::Text(command.step.as_str())], keep)?;
    Ok(stored)
}

/// Stores a row.
pub(super) fn store(transaction: &mut SqliteTransaction, row: &Row<'_>, at: Timestamp) -> Result<(), DatabaseError> {
    let row = [
        Value::from(&row.saga),
        Value::Text(row.step),
        Value::Text(row.operation),
        row.revision.into(),
        Value::Text(row.origin),
        row.digest.as_ref().into(),
        row.outcome.into(),
        row.reply.as_deref().into(),
        at.into(),
    ];
    transaction.run(STORE, &row, |_| Ok(())).map(|_| ())
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
