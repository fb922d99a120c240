//! The table `journal`: one row per transition, append-only.

use std::collections::HashMap;

use amends_core::{SagaId, Shard, Timestamp};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row, query};

use super::commit::Columns;
use super::decode::{saga_id, text};
use crate::store::transitions::{Journals, RawTransition};
use crate::store::{JournalRow, SagaRow};

/// The part of a commit that appends; parameters 22 to 29. A saga that starts in the batch has the number given it
/// there, any other is looked up; one without a saga fails, since its number cannot be NULL.
pub(super) const APPEND: &str = "\
appended AS (
  INSERT INTO journal (saga, position, at, shard, seq, format, events)
  SELECT coalesce((SELECT list FROM numbers)[line.started],
      (SELECT number FROM sagas WHERE sagas.saga_id = line.saga_id)),
    line.position, line.at, line.shard, line.seq, line.format, line.events
  FROM passed CROSS JOIN unnest($22::INTEGER[], $23::UUID[], $24::BIGINT[], $25::BIGINT[], $26::INTEGER[],
      $27::INTEGER[], $28::SMALLINT[], $29::TEXT[])
    AS line (started, saga_id, position, at, shard, seq, format, events)
)";

/// Binds the columns of [`APPEND`].
pub(super) fn bind(columns: &mut Columns, rows: &[JournalRow], started: &[SagaRow]) {
    // Arrays of Postgres count from 1.
    let places: HashMap<SagaId, i32> = started.iter().map(|row| row.id).zip(1..).collect();
    columns.push(rows.iter().map(|row| places.get(&row.saga_id).copied()));
    columns.push(rows.iter().map(|row| row.saga_id.as_uuid()));
    columns.push(rows.iter().map(|row| row.position));
    columns.push(rows.iter().map(|row| row.at.0));
    columns.push(rows.iter().map(|row| i32::from(row.shard.0)));
    // No saga has two thousand million transitions; one that had would be refused its second such row.
    columns.push(rows.iter().map(|row| i32::try_from(row.seq).unwrap_or(i32::MAX)));
    columns.push(rows.iter().map(|row| row.format));
    columns.push(rows.iter().map(|row| text(&row.events)));
}

/// Rows of a shard after a position, in order.
pub(super) async fn after(
    connection: &mut PgConnection,
    shard: Shard,
    position: i64,
    limit: u32,
) -> sqlx::Result<Vec<JournalRow>> {
    let rows =
        query(AFTER).bind(i32::from(shard.0)).bind(position).bind(i64::from(limit)).fetch_all(connection).await?;
    rows.iter().map(|row| journal_row(row, shard)).collect()
}

pub(super) const AFTER: &str = "\
SELECT journal.position, sagas.saga_id, journal.seq, journal.at, journal.format, journal.events
FROM journal JOIN sagas ON sagas.number = journal.saga
WHERE journal.shard = $1 AND journal.position > $2 ORDER BY journal.position LIMIT $3";

fn journal_row(row: &PgRow, shard: Shard) -> sqlx::Result<JournalRow> {
    Ok(JournalRow {
        shard,
        position: row.try_get("position")?,
        saga_id: saga_id(row, "saga_id")?,
        seq: i64::from(row.try_get::<i32, _>("seq")?).cast_unsigned(),
        at: Timestamp(row.try_get("at")?),
        format: row.try_get("format")?,
        events: row.try_get("events")?,
    })
}

/// The whole journals of some sagas.
pub(super) async fn whole(connection: &mut PgConnection, sagas: &[(i64, SagaRow)]) -> sqlx::Result<Journals> {
    let numbers: Vec<i64> = sagas.iter().map(|(number, _)| *number).collect();
    let rows = query(WHOLE).bind(numbers).fetch_all(connection).await?;
    let mut journals = Journals::of(sagas);
    for row in &rows {
        journals.push(&raw(row)?);
    }
    Ok(journals)
}

pub(super) const WHOLE: &str =
    "SELECT saga, seq, at, format, events FROM journal WHERE saga = ANY($1) ORDER BY saga, seq";

fn raw(row: &PgRow) -> sqlx::Result<RawTransition<'_>> {
    Ok(RawTransition {
        saga: row.try_get("saga")?,
        seq: i64::from(row.try_get::<i32, _>("seq")?),
        at: row.try_get("at")?,
        format: row.try_get("format")?,
        events: row.try_get("events")?,
    })
}
