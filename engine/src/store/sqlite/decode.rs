//! From columns to types.

use amends_core::{SagaId, StepName};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

/// Says that a column holds what its type does not allow.
pub(super) fn decoded(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// Reads a UUID kept as 16 bytes.
pub(super) fn uuid(row: &SqliteRow, column: &str) -> sqlx::Result<Uuid> {
    Uuid::from_slice(row.try_get(column)?).map_err(decoded)
}

/// Reads a saga's id.
pub(super) fn saga_id(row: &SqliteRow, column: &str) -> sqlx::Result<SagaId> {
    uuid(row, column).map(SagaId::from_uuid)
}

/// Reads a step's name, where there is one.
pub(super) fn step(row: &SqliteRow, column: &str) -> sqlx::Result<Option<StepName>> {
    row.try_get::<Option<&str>, _>(column)?.map(StepName::new).transpose().map_err(decoded)
}

/// Reads a word out of a closed set.
pub(super) fn word<T: std::str::FromStr>(row: &SqliteRow, column: &str) -> sqlx::Result<T> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| sqlx::Error::Decode(format!("{text:?} is not known in {column}").into()))
}

/// Reads a saga's id, where there is one.
pub(super) fn optional_saga_id(row: &SqliteRow, column: &str) -> sqlx::Result<Option<SagaId>> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    bytes.map(Uuid::from_slice).transpose().map(|id| id.map(SagaId::from_uuid)).map_err(decoded)
}

/// Reads a word out of a closed set, where there is one.
pub(super) fn optional_word<T: std::str::FromStr>(row: &SqliteRow, column: &str) -> sqlx::Result<Option<T>> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|_| word(row, column)).transpose()
}
