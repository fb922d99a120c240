//! Between columns and types.

use std::borrow::Cow;

use amends_core::{SagaId, StepName};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// Says that a column holds what its type does not allow.
pub(super) fn decoded(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// Reads a saga's id.
pub(super) fn saga_id(row: &PgRow, column: &str) -> sqlx::Result<SagaId> {
    row.try_get::<Uuid, _>(column).map(SagaId::from_uuid)
}

/// Reads a shard.
pub(super) fn shard(row: &PgRow, column: &str) -> sqlx::Result<amends_core::Shard> {
    u16::try_from(row.try_get::<i32, _>(column)?).map(amends_core::Shard).map_err(decoded)
}

/// Reads a number that is kept in the 32 bits of an integer with a sign.
pub(super) fn unsigned(row: &PgRow, column: &str) -> sqlx::Result<u32> {
    row.try_get::<i32, _>(column).map(i32::cast_unsigned)
}

/// Reads a step's name, where there is one.
pub(super) fn step(row: &PgRow, column: &str) -> sqlx::Result<Option<StepName>> {
    row.try_get::<Option<&str>, _>(column)?.map(StepName::new).transpose().map_err(decoded)
}

/// Reads a word out of a closed set.
pub(super) fn word<T: std::str::FromStr>(row: &PgRow, column: &str) -> sqlx::Result<T> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| sqlx::Error::Decode(format!("{text:?} is not known in {column}").into()))
}

/// Reads a word out of a closed set, where there is one.
pub(super) fn optional_word<T: std::str::FromStr>(row: &PgRow, column: &str) -> sqlx::Result<Option<T>> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|_| word(row, column)).transpose()
}

/// A text as Postgres can keep it: NUL, which it refuses, becomes the character for what cannot be shown.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}
