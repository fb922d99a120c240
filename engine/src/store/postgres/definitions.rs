//! The table `definitions`.

use amends_core::{IdempotencyKey, SagaId, SagaType};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row, query, query_scalar};
use uuid::Uuid;

use super::decode::{decoded, text, unsigned};
use super::error::store_error;
use crate::store::{DefinitionRow, StoreError};

/// Stores a definition, or finds that the same is there.
pub(super) async fn save(connection: &mut PgConnection, row: &DefinitionRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO definitions (saga_type, version, checksum, source) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(row.saga_type.as_str())
    .bind(row.version.cast_signed())
    .bind(row.checksum)
    .bind(text(&row.source))
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    let stored: Uuid = query_scalar("SELECT checksum FROM definitions WHERE saga_type = $1 AND version = $2")
        .bind(row.saga_type.as_str())
        .bind(row.version.cast_signed())
        .fetch_one(connection)
        .await
        .map_err(store_error)?;
    if stored == row.checksum {
        return Ok(());
    }
    Err(StoreError::Conflict(format!(
        "version {} of {} is stored with another meaning; a changed definition needs a new version",
        row.version, row.saga_type
    )))
}

/// All of them, by type and version.
pub(super) async fn all(connection: &mut PgConnection) -> sqlx::Result<Vec<DefinitionRow>> {
    let sql = "SELECT saga_type, version, checksum, source FROM definitions ORDER BY saga_type COLLATE \"C\", version";
    query(sql).fetch_all(connection).await?.iter().map(definition).collect()
}

fn definition(row: &PgRow) -> sqlx::Result<DefinitionRow> {
    Ok(DefinitionRow {
        saga_type: SagaType::new(row.try_get::<&str, _>("saga_type")?).map_err(decoded)?,
        version: unsigned(row, "version")?,
        checksum: row.try_get("checksum")?,
        source: row.try_get("source")?,
    })
}

/// The ids that a client's key can stand for, one per stored type: a saga with a key has the id that type and key
/// derive, so lists need no index of keys.
pub(super) async fn named_by(connection: &mut PgConnection, key: &str) -> sqlx::Result<Vec<SagaId>> {
    let Ok(key) = IdempotencyKey::new(key) else { return Ok(Vec::new()) };
    let types: Vec<String> = query_scalar("SELECT DISTINCT saga_type FROM definitions").fetch_all(connection).await?;
    types.iter().map(|text| Ok(SagaId::from_key(&SagaType::new(text).map_err(decoded)?, &key))).collect()
}
