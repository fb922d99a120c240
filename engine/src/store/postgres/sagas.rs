//! The table `sagas`: one row each, written when it starts, when its status changes and when it begins to wait.

use amends_core::{IdempotencyKey, SagaId, SagaType, Shard, StepName, Timestamp};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row, query};

use super::commit::Columns;
use super::decode::{decoded, saga_id, shard, step, text, unsigned, word};
use crate::store::{SagaChange, SagaRow};

/// The columns that [`numbered`] reads.
macro_rules! columns {
    () => {
        "number, saga_id, sagas.shard, saga_type, version, key, digest, started_at, \
         status, paused, overdue, updated_at, sagas.step, sagas.attempt, next_at, error_code, error_message"
    };
}
pub(super) use columns;

/// The part of a commit that gives the sagas which start their numbers, in their order.
pub(super) const NUMBERS: &str = "\
numbers AS MATERIALIZED (
  SELECT ARRAY(SELECT (at << 20) | nextval('saga_numbers') FROM unnest($12::BIGINT[]) AS at) AS list
)";

/// The part of a commit that writes new sagas; parameters 6 to 21.
pub(super) const INSERT: &str = "\
started AS (
  INSERT INTO sagas (number, saga_id, shard, saga_type, version, key, digest, started_at,
    status, paused, overdue, updated_at, step, attempt, next_at, error_code, error_message)
  SELECT (SELECT list FROM numbers)[new.place], new.saga_id, new.shard, new.saga_type, new.version, new.key, new.digest,
    new.started_at, new.status, new.paused, new.overdue, new.updated_at, new.step, new.attempt, new.next_at,
    new.error_code, new.error_message
  FROM passed CROSS JOIN unnest($6::UUID[], $7::INTEGER[], $8::TEXT[], $9::INTEGER[], $10::TEXT[], $11::UUID[],
      $12::BIGINT[], $13::TEXT[], $14::BOOLEAN[], $15::BOOLEAN[], $16::BIGINT[], $17::TEXT[], $18::INTEGER[],
      $19::BIGINT[], $20::TEXT[], $21::TEXT[]) WITH ORDINALITY
    AS new (saga_id, shard, saga_type, version, key, digest, started_at, status, paused, overdue, updated_at, step,
      attempt, next_at, error_code, error_message, place)
)";

/// The part of a commit that rewrites what changes; parameters 30 to 39. An ended saga is passed over (I4), as is one of
/// a shard that the batch brings no epoch of (I28), and [`CHECK`] then misses a row.
pub(super) const UPDATE: &str = "\
changed AS (
  UPDATE sagas SET status = new.status, paused = new.paused, overdue = new.overdue, updated_at = new.updated_at,
    step = new.step, attempt = new.attempt, next_at = new.next_at, error_code = new.error_code,
    error_message = new.error_message
  FROM passed CROSS JOIN unnest($30::UUID[], $31::TEXT[], $32::BOOLEAN[], $33::BOOLEAN[], $34::BIGINT[], $35::TEXT[],
      $36::INTEGER[], $37::BIGINT[], $38::TEXT[], $39::TEXT[])
    AS new (saga_id, status, paused, overdue, updated_at, step, attempt, next_at, error_code, error_message)
  WHERE sagas.saga_id = new.saga_id AND sagas.status NOT IN ('completed', 'compensated') AND sagas.shard = ANY($1)
  RETURNING 1
)";

/// The end of a commit with changes: all shards are there, and each change found its saga.
pub(super) const CHECK: &str = "
SELECT CASE WHEN shards <> cardinality($1) THEN refuse('23001', 'a shard of the batch does not exist')
  WHEN (SELECT count(*) FROM changed) <> cardinality($30)
    THEN refuse('23001', 'a changed saga is not stored, or has ended') ELSE 0 END FROM passed";

/// Binds the columns of [`INSERT`].
pub(super) fn bind_started(columns: &mut Columns, rows: &[SagaRow]) {
    columns.push(rows.iter().map(|row| row.id.as_uuid()));
    columns.push(rows.iter().map(|row| i32::from(row.shard.0)));
    columns.push(rows.iter().map(|row| row.saga_type.as_str()));
    columns.push(rows.iter().map(|row| row.version.cast_signed()));
    columns.push(rows.iter().map(|row| row.key.as_ref().map(|key| text(key.as_str()))));
    columns.push(rows.iter().map(|row| row.digest));
    columns.push(rows.iter().map(|row| row.started_at.0));
    bind_states(columns, || rows.iter().map(|row| &row.state));
}

/// Binds the columns of [`UPDATE`].
pub(super) fn bind_changed(columns: &mut Columns, changes: &[SagaChange]) {
    columns.push(changes.iter().map(|change| change.id.as_uuid()));
    bind_states(columns, || changes.iter());
}

fn bind_states<'s, I: Iterator<Item = &'s SagaChange>>(columns: &mut Columns, states: impl Fn() -> I) {
    columns.push(states().map(|state| state.status.as_str()));
    columns.push(states().map(|state| state.paused));
    columns.push(states().map(|state| state.overdue));
    columns.push(states().map(|state| state.updated_at.0));
    columns.push(states().map(|state| state.step.as_ref().map(StepName::as_str)));
    columns.push(states().map(|state| state.attempt.cast_signed()));
    columns.push(states().map(|state| state.next_at.map(|at| at.0)));
    columns.push(states().map(|state| state.error_code.as_deref().map(text)));
    columns.push(states().map(|state| state.error_message.as_deref().map(text)));
}

/// Sagas by id; those that are not there are left out.
pub(super) async fn by_id(connection: &mut PgConnection, ids: &[SagaId]) -> sqlx::Result<Vec<(i64, SagaRow)>> {
    let ids: Vec<_> = ids.iter().map(SagaId::as_uuid).collect();
    query(BY_ID).bind(ids).fetch_all(connection).await?.iter().map(numbered).collect()
}

pub(super) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM sagas WHERE saga_id = ANY($1)");

/// The sagas of a shard that move by themselves, oldest first.
pub(super) async fn moving(connection: &mut PgConnection, shard: Shard) -> sqlx::Result<Vec<(i64, SagaRow)>> {
    query(MOVING).bind(i32::from(shard.0)).fetch_all(connection).await?.iter().map(numbered).collect()
}

pub(super) const MOVING: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM sagas WHERE status IN ('running', 'compensating', 'parked') AND shard = $1 \
     AND status <> 'parked' AND NOT paused ORDER BY started_at, number"
);

/// Ids that end with some hexadecimal digits: the newest two of the unfinished and the newest finished.
pub(super) async fn by_suffix(connection: &mut PgConnection, digits: &str, newest: u32) -> sqlx::Result<Vec<SagaId>> {
    let rows = query(BY_SUFFIX).bind(i64::from(newest)).bind(digits).fetch_all(connection).await?;
    rows.iter().map(|row| saga_id(row, "saga_id")).collect()
}

pub(super) const BY_SUFFIX: &str = "\
SELECT saga_id FROM (
  (SELECT saga_id FROM sagas WHERE status IN ('running', 'compensating', 'parked') ORDER BY started_at, number)
  UNION (SELECT saga_id FROM sagas ORDER BY number DESC LIMIT $1)
) AS known WHERE right(replace(saga_id::TEXT, '-', ''), length($2)) = $2 LIMIT 2";

/// Reads the columns of [`columns`].
pub(super) fn numbered(row: &PgRow) -> sqlx::Result<(i64, SagaRow)> {
    let id = saga_id(row, "saga_id")?;
    let key: Option<&str> = row.try_get("key")?;
    let state = SagaChange {
        id,
        status: word(row, "status")?,
        paused: row.try_get("paused")?,
        overdue: row.try_get("overdue")?,
        updated_at: Timestamp(row.try_get("updated_at")?),
        step: step(row, "step")?,
        attempt: unsigned(row, "attempt")?,
        next_at: row.try_get::<Option<i64>, _>("next_at")?.map(Timestamp),
        error_code: row.try_get("error_code")?,
        error_message: row.try_get("error_message")?,
    };
    let saga = SagaRow {
        id,
        shard: shard(row, "shard")?,
        saga_type: SagaType::new(row.try_get::<&str, _>("saga_type")?).map_err(decoded)?,
        version: unsigned(row, "version")?,
        key: key.map(IdempotencyKey::new).transpose().map_err(decoded)?,
        digest: row.try_get("digest")?,
        started_at: Timestamp(row.try_get("started_at")?),
        state,
    };
    Ok((row.try_get("number")?, saga))
}
