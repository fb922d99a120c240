//! The table `definitions`.

use amends_core::{IdempotencyKey, SagaId, SagaType};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, query, query_scalar};

use super::decode::{decoded, uuid};
use crate::store::{DefinitionRow, StoreError};

use super::error::store_error;

/// Stores a definition, or finds that the same is there.
pub(super) async fn save(connection: &mut SqliteConnection, row: &DefinitionRow) -> Result<(), StoreError> {
    let checksum = row.checksum.as_bytes().as_slice();
    query("INSERT INTO definitions (saga_type, version, checksum, source) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(row.saga_type.as_str())
        .bind(i64::from(row.version))
        .bind(checksum)
        .bind(&row.source)
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
    let stored: Vec<u8> = query_scalar("SELECT checksum FROM definitions WHERE saga_type = ? AND version = ?")
        .bind(row.saga_type.as_str())
        .bind(i64::from(row.version))
        .fetch_one(connection)
        .await
        .map_err(store_error)?;
    if stored == checksum {
        return Ok(());
    }
    Err(StoreError::Conflict(format!(
        "version {} of {} is stored with another meaning; a changed definition needs a new version",
        row.version, row.saga_type
    )))
}

/// All of them, by type and version.
pub(super) async fn all(connection: &mut SqliteConnection) -> sqlx::Result<Vec<DefinitionRow>> {
    let rows = query("SELECT saga_type, version, checksum, source FROM definitions ORDER BY saga_type, version")
        .fetch_all(connection)
        .await?;
    rows.iter().map(definition).collect()
}

fn definition(row: &SqliteRow) -> sqlx::Result<DefinitionRow> {
    Ok(DefinitionRow {
        saga_type: SagaType::new(row.try_get::<&str, _>("saga_type")?).map_err(decoded)?,
        version: row.try_get("version")?,
        checksum: uuid(row, "checksum")?,
        source: row.try_get("source")?,
    })
}

/// The ids that a client's key can stand for, one per stored type: a saga with a key has the id that type and key
/// derive, so lists need no index of keys.
pub(super) async fn named_by(connection: &mut SqliteConnection, key: &str) -> sqlx::Result<Vec<SagaId>> {
    let Ok(key) = IdempotencyKey::new(key) else { return Ok(Vec::new()) };
    let types: Vec<String> = query_scalar("SELECT DISTINCT saga_type FROM definitions").fetch_all(connection).await?;
    types.iter().map(|text| Ok(SagaId::from_key(&SagaType::new(text).map_err(decoded)?, &key))).collect()
}
