//! The table `journal`: one row per transition, append-only.

use std::sync::LazyLock;

use amends_core::{Shard, Timestamp};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, query};

use super::bulk::Bulk;
use super::commit::Plan;
use super::decode::saga_id;
use super::error::store_error;
use crate::store::transitions::{Journals, RawTransition};
use crate::store::{JournalRow, SagaRow, StoreError};

/// Each row looks its saga up; one without a saga fails, since its number cannot be NULL.
pub(super) static APPEND: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO journal (shard, position, saga, seq, at, format, events) \
         SELECT row.column1, row.column2, sagas.number, row.column4, row.column5, row.column6, row.column7 FROM",
        7,
        "AS row LEFT JOIN sagas ON sagas.saga_id = row.column3 WHERE row.column1 IS NOT NULL",
    )
});

/// Appends rows; one at a position or number that is taken is a conflict.
pub(super) fn append(plan: &mut Plan, rows: &[JournalRow]) {
    plan.insert(&APPEND, rows, |parameters, row| {
        parameters.push(i64::from(row.shard.0));
        parameters.push(row.position);
        parameters.push(row.saga_id.as_uuid().as_bytes().as_slice());
        parameters.push(row.seq.cast_signed());
        parameters.push(row.at.0);
        parameters.push(row.format);
        parameters.push(row.events.as_str());
    });
}

/// Rows of a shard after a position, in order.
pub(super) async fn after(
    connection: &mut SqliteConnection,
    shard: Shard,
    position: i64,
    limit: u32,
) -> sqlx::Result<Vec<JournalRow>> {
    let rows = query(
        "SELECT journal.position, sagas.saga_id, journal.seq, journal.at, journal.format, journal.events
         FROM journal CROSS JOIN sagas ON sagas.number = journal.saga
         WHERE journal.shard = ? AND journal.position > ? ORDER BY journal.position LIMIT ?",
    )
    .bind(i64::from(shard.0))
    .bind(position)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| journal_row(row, shard)).collect()
}

fn journal_row(row: &SqliteRow, shard: Shard) -> sqlx::Result<JournalRow> {
    Ok(JournalRow {
        shard,
        position: row.try_get("position")?,
        saga_id: saga_id(row, "saga_id")?,
        seq: row.try_get::<i64, _>("seq")?.cast_unsigned(),
        at: Timestamp(row.try_get("at")?),
        format: row.try_get("format")?,
        events: row.try_get("events")?,
    })
}

/// The whole journals of some sagas.
pub(super) async fn whole(connection: &mut SqliteConnection, sagas: &[(i64, SagaRow)]) -> Result<Journals, StoreError> {
    let numbers: Vec<i64> = sagas.iter().map(|(number, _)| *number).collect();
    let rows = query(
        "SELECT saga, seq, at, format, events FROM journal
         WHERE saga IN (SELECT value FROM json_each(?)) ORDER BY saga, seq",
    )
    .bind(format!("{numbers:?}"))
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    let mut journals = Journals::of(sagas);
    for row in &rows {
        journals.push(&raw(row).map_err(store_error)?);
    }
    Ok(journals)
}

fn raw(row: &SqliteRow) -> sqlx::Result<RawTransition<'_>> {
    Ok(RawTransition {
        saga: row.try_get("saga")?,
        seq: row.try_get("seq")?,
        at: row.try_get("at")?,
        format: row.try_get("format")?,
        events: row.try_get("events")?,
    })
}
