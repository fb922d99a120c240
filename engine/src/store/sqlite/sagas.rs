//! The table `sagas`: one row each, written when it starts, when its status changes and when it begins to wait.

use std::sync::LazyLock;

use amends_core::{IdempotencyKey, SagaId, SagaType, Shard, Timestamp};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, query};

use super::bulk::{Bulk, Parameters};
use super::commit::Plan;
use super::decode::{decoded, saga_id, step, uuid, word};
use crate::store::{SagaChange, SagaRow};

/// The columns that [`numbered`] reads.
macro_rules! columns {
    () => {
        "number, saga_id, shard, saga_type, version, key, digest, started_at, \
         status, paused, overdue, updated_at, step, attempt, next_at, error_code, error_message"
    };
}
pub(super) use columns;

static INSERT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO sagas (saga_id, shard, saga_type, version, key, digest, started_at, \
         status, paused, overdue, updated_at, step, attempt, next_at, error_code, error_message) SELECT * FROM",
        16,
        "AS saga WHERE saga.column1 IS NOT NULL",
    )
});

/// I4: an ended saga is passed over, and the commit then misses a row.
pub(super) static UPDATE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "UPDATE sagas SET status = new.column2, paused = new.column3, overdue = new.column4, \
         updated_at = new.column5, step = new.column6, attempt = new.column7, next_at = new.column8, \
         error_code = new.column9, error_message = new.column10 FROM",
        10,
        "AS new WHERE sagas.saga_id = new.column1 AND sagas.status NOT IN ('completed', 'compensated')",
    )
});

/// Writes new sagas.
pub(super) fn insert(plan: &mut Plan, rows: &[SagaRow]) {
    plan.insert(&INSERT, rows, |parameters, row| {
        parameters.push(row.id.as_uuid().as_bytes().as_slice());
        parameters.push(i64::from(row.shard.0));
        parameters.push(row.saga_type.as_str());
        parameters.push(i64::from(row.version));
        parameters.push(row.key.as_ref().map(IdempotencyKey::as_str));
        parameters.push(row.digest.as_bytes().as_slice());
        parameters.push(row.started_at.0);
        state(parameters, &row.state);
    });
}

/// Rewrites the part that changes.
pub(super) fn update(plan: &mut Plan, changes: &[SagaChange]) {
    plan.update(&UPDATE, changes, "a changed saga is not stored, or has ended", |parameters, change| {
        parameters.push(change.id.as_uuid().as_bytes().as_slice());
        state(parameters, change);
    });
}

fn state(parameters: &mut Parameters, change: &SagaChange) {
    parameters.push(change.status.as_str());
    parameters.push(change.paused);
    parameters.push(change.overdue);
    parameters.push(change.updated_at.0);
    parameters.push(change.step.as_ref().map(|step| step.as_str()));
    parameters.push(i64::from(change.attempt));
    parameters.push(change.next_at.map(|at| at.0));
    parameters.push(change.error_code.as_deref());
    parameters.push(change.error_message.as_deref());
}

/// Sagas by id; those that are not there are left out.
pub(super) async fn by_id(connection: &mut SqliteConnection, ids: &[SagaId]) -> sqlx::Result<Vec<(i64, SagaRow)>> {
    let sql = concat!("SELECT ", columns!(), " FROM sagas WHERE saga_id IN (SELECT unhex(value) FROM json_each(?))");
    let rows = query(sql).bind(id_list(ids)).fetch_all(connection).await?;
    rows.iter().map(numbered).collect()
}

/// The sagas of a shard that move by themselves, oldest first.
pub(super) async fn moving(connection: &mut SqliteConnection, shard: Shard) -> sqlx::Result<Vec<(i64, SagaRow)>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM sagas INDEXED BY sagas_unfinished \
         WHERE status IN ('running', 'compensating', 'parked') AND shard = ? AND status <> 'parked' AND NOT paused \
         ORDER BY started_at, number"
    );
    let rows = query(sql).bind(i64::from(shard.0)).fetch_all(connection).await?;
    rows.iter().map(numbered).collect()
}

/// Ids that end with some hexadecimal digits: the newest two of the unfinished and the newest finished.
pub(super) async fn by_suffix(
    connection: &mut SqliteConnection,
    digits: &str,
    newest: u32,
) -> sqlx::Result<Vec<SagaId>> {
    let rows = query(
        "SELECT saga_id FROM (
             SELECT saga_id FROM sagas INDEXED BY sagas_unfinished
             WHERE status IN ('running', 'compensating', 'parked')
             UNION
             SELECT saga_id FROM (SELECT saga_id FROM sagas ORDER BY started_at DESC, number DESC LIMIT ?1)
         ) WHERE substr(hex(saga_id), -length(?2)) = ?2 LIMIT 2",
    )
    .bind(i64::from(newest))
    .bind(digits)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| saga_id(row, "saga_id")).collect()
}

/// Ids as a JSON array of hexadecimal texts.
pub(super) fn id_list(ids: &[SagaId]) -> String {
    let texts: Vec<String> = ids.iter().map(|id| format!("\"{}\"", id.as_uuid().simple())).collect();
    format!("[{}]", texts.join(","))
}

/// Reads the columns of [`columns`].
pub(super) fn numbered(row: &SqliteRow) -> sqlx::Result<(i64, SagaRow)> {
    let id = saga_id(row, "saga_id")?;
    let key: Option<&str> = row.try_get("key")?;
    let state = SagaChange {
        id,
        status: word(row, "status")?,
        paused: row.try_get("paused")?,
        overdue: row.try_get("overdue")?,
        updated_at: Timestamp(row.try_get("updated_at")?),
        step: step(row, "step")?,
        attempt: row.try_get("attempt")?,
        next_at: row.try_get::<Option<i64>, _>("next_at")?.map(Timestamp),
        error_code: row.try_get("error_code")?,
        error_message: row.try_get("error_message")?,
    };
    let saga = SagaRow {
        id,
        shard: Shard(row.try_get("shard")?),
        saga_type: SagaType::new(row.try_get::<&str, _>("saga_type")?).map_err(decoded)?,
        version: row.try_get("version")?,
        key: key.map(IdempotencyKey::new).transpose().map_err(decoded)?,
        digest: uuid(row, "digest")?,
        started_at: Timestamp(row.try_get("started_at")?),
        state,
    };
    Ok((row.try_get("number")?, saga))
}
