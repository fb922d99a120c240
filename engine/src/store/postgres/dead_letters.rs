//! The table `dead_letters`: what could not be finished.

use amends_core::{Operation, SagaId, StepName, Timestamp};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::commit::Columns;
use super::decode::{optional_word, shard, step, text, unsigned};
use super::error::store_error;
use crate::store::token::Token;
use crate::store::{DeadLetter, DeadLetterFilter, DeadLetterPage, Page, StoreError};

/// The part of a commit that writes letters; parameters 40 to 49. Those written before stay as they are.
pub(super) const INSERT: &str = "\
letters AS (
  INSERT INTO dead_letters
    (id, saga_id, shard, step, operation, attempts, error_code, error_message, at, record)
  SELECT letter.* FROM passed CROSS JOIN unnest($40::UUID[], $41::UUID[], $42::INTEGER[], $43::TEXT[], $44::TEXT[],
      $45::INTEGER[], $46::TEXT[], $47::TEXT[], $48::BIGINT[], $49::TEXT[])
    AS letter (id, saga_id, shard, step, operation, attempts, error_code, error_message, at, record)
  ON CONFLICT (id) DO NOTHING
)";

/// Binds the columns of [`INSERT`].
pub(super) fn bind(columns: &mut Columns, letters: &[DeadLetter]) {
    columns.push(letters.iter().map(|letter| letter.id));
    columns.push(letters.iter().map(|letter| letter.saga_id.map(|id| id.as_uuid())));
    columns.push(letters.iter().map(|letter| i32::from(letter.shard.0)));
    columns.push(letters.iter().map(|letter| letter.step.as_ref().map(StepName::as_str)));
    columns.push(letters.iter().map(|letter| letter.operation.map(Operation::as_str)));
    columns.push(letters.iter().map(|letter| letter.attempts.cast_signed()));
    columns.push(letters.iter().map(|letter| text(&letter.error_code)));
    columns.push(letters.iter().map(|letter| text(&letter.error_message)));
    columns.push(letters.iter().map(|letter| letter.at.0));
    columns.push(letters.iter().map(|letter| text(&letter.record)));
}

/// A page of them, newest first.
pub(super) async fn list(
    connection: &mut PgConnection,
    filter: &DeadLetterFilter,
    page: &Page,
) -> Result<DeadLetterPage, StoreError> {
    let after = Token::read(&page.token)?;
    let size = page.size.max(1);
    let rows = page_query(filter, after, size).build().fetch_all(connection).await.map_err(store_error)?;
    let letters: Vec<(i64, DeadLetter)> = rows.iter().map(letter).collect::<sqlx::Result<_>>().map_err(store_error)?;
    let (rows, next) = Token::cut(letters, size, |letter| letter.at);
    Ok(DeadLetterPage { rows, next })
}

/// The rows of a page and the one after it.
pub(super) fn page_query(filter: &DeadLetterFilter, after: Option<Token>, size: u32) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(
        "SELECT number, id, saga_id, shard, step, operation, attempts, error_code, error_message, at, record \
         FROM dead_letters WHERE TRUE",
    );
    if let Some(step) = &filter.step {
        sql.push(" AND step = ").push_bind(text(step).into_owned());
    }
    if let Some(error) = &filter.error {
        let error = text(error).into_owned();
        sql.push(" AND (strpos(lower(error_code), lower(").push_bind(error.clone());
        sql.push(")) > 0 OR strpos(lower(error_message), lower(").push_bind(error).push(")) > 0)");
    }
    if let Some(after) = after {
        sql.push(" AND (at, number) < (").push_bind(after.at.0).push(", ").push_bind(after.number).push(")");
    }
    sql.push(" ORDER BY at DESC, number DESC LIMIT ").push_bind(i64::from(size) + 1);
    sql
}

fn letter(row: &PgRow) -> sqlx::Result<(i64, DeadLetter)> {
    let letter = DeadLetter {
        id: row.try_get("id")?,
        saga_id: row.try_get::<Option<Uuid>, _>("saga_id")?.map(SagaId::from_uuid),
        shard: shard(row, "shard")?,
        step: step(row, "step")?,
        operation: optional_word(row, "operation")?,
        attempts: unsigned(row, "attempts")?,
        error_code: row.try_get("error_code")?,
        error_message: row.try_get("error_message")?,
        at: Timestamp(row.try_get("at")?),
        record: row.try_get("record")?,
    };
    Ok((row.try_get("number")?, letter))
}
