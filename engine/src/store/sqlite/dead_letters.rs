//! The table `dead_letters`: what could not be finished.

use std::sync::LazyLock;

use amends_core::{Operation, Shard, StepName, Timestamp};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::bulk::Bulk;
use super::commit::Plan;
use super::decode::{optional_saga_id, optional_word, step, uuid};
use super::error::store_error;
use crate::store::token::Token;
use crate::store::{DeadLetter, DeadLetterFilter, DeadLetterPage, Page, StoreError};

static INSERT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO dead_letters \
         (id, saga_id, shard, step, operation, attempts, error_code, error_message, at, record) SELECT * FROM",
        10,
        "AS letter WHERE letter.column1 IS NOT NULL ON CONFLICT (id) DO NOTHING",
    )
});

/// Writes letters; those written before stay as they are.
pub(super) fn insert(plan: &mut Plan, letters: &[DeadLetter]) {
    plan.insert(&INSERT, letters, |parameters, letter| {
        parameters.push(letter.id.as_bytes().as_slice());
        parameters.push(letter.saga_id.map(|id| id.as_uuid().as_bytes().to_vec()));
        parameters.push(i64::from(letter.shard.0));
        parameters.push(letter.step.as_ref().map(StepName::as_str));
        parameters.push(letter.operation.map(Operation::as_str));
        parameters.push(i64::from(letter.attempts));
        parameters.push(letter.error_code.as_str());
        parameters.push(letter.error_message.as_str());
        parameters.push(letter.at.0);
        parameters.push(letter.record.as_str());
    });
}

/// A page of them, newest first.
pub(super) async fn list(
    connection: &mut SqliteConnection,
    filter: &DeadLetterFilter,
    page: &Page,
) -> Result<DeadLetterPage, StoreError> {
    let after = Token::read(&page.token)?;
    let size = page.size.max(1);
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT number, id, saga_id, shard, step, operation, attempts, error_code, error_message, at, record
         FROM dead_letters WHERE TRUE",
    );
    if let Some(step) = &filter.step {
        sql.push(" AND step = ").push_bind(step);
    }
    if let Some(error) = &filter.error {
        sql.push(" AND (instr(lower(error_code), lower(").push_bind(error);
        sql.push(")) OR instr(lower(error_message), lower(").push_bind(error).push(")))");
    }
    if let Some(after) = after {
        sql.push(" AND (at, number) < (").push_bind(after.at.0).push(", ").push_bind(after.number).push(")");
    }
    sql.push(" ORDER BY at DESC, number DESC LIMIT ").push_bind(i64::from(size) + 1);
    let rows = sql.build().fetch_all(connection).await.map_err(store_error)?;
    let letters: Vec<(i64, DeadLetter)> = rows.iter().map(letter).collect::<sqlx::Result<_>>().map_err(store_error)?;
    let (rows, next) = Token::cut(letters, size, |letter| letter.at);
    Ok(DeadLetterPage { rows, next })
}

fn letter(row: &SqliteRow) -> sqlx::Result<(i64, DeadLetter)> {
    let letter = DeadLetter {
        id: uuid(row, "id")?,
        saga_id: optional_saga_id(row, "saga_id")?,
        shard: Shard(row.try_get("shard")?),
        step: step(row, "step")?,
        operation: optional_word(row, "operation")?,
        attempts: row.try_get("attempts")?,
        error_code: row.try_get("error_code")?,
        error_message: row.try_get("error_message")?,
        at: Timestamp(row.try_get("at")?),
        record: row.try_get("record")?,
    };
    Ok((row.try_get("number")?, letter))
}
