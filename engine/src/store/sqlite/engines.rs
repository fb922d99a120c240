//! The table `engines`: who lives.

use amends_core::Timestamp;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Row, query};

use super::decode::uuid;
use crate::store::Owner;

/// Says that an engine lives, and until when.
pub(super) async fn live(
    connection: &mut SqliteConnection,
    owner: &Owner,
    now: Timestamp,
    until: Timestamp,
) -> sqlx::Result<()> {
    query(
        "INSERT INTO engines (incarnation, address, since, lease_until) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (incarnation) DO UPDATE SET address = ?2, lease_until = ?4",
    )
    .bind(owner.incarnation.as_bytes().as_slice())
    .bind(&owner.address)
    .bind(now.0)
    .bind(until.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets an engine, and those that have not been heard of.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    owner: Option<&Owner>,
    now: Timestamp,
) -> sqlx::Result<()> {
    query("DELETE FROM engines WHERE incarnation = ? OR lease_until <= ?")
        .bind(owner.map(|owner| owner.incarnation.as_bytes().as_slice()))
        .bind(now.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Those that live, by incarnation.
pub(super) async fn living(connection: &mut SqliteConnection, now: Timestamp) -> sqlx::Result<Vec<Owner>> {
    let rows = query("SELECT incarnation, address FROM engines WHERE lease_until > ? ORDER BY incarnation")
        .bind(now.0)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| Ok(Owner { incarnation: uuid(row, "incarnation")?, address: row.try_get("address")? }))
        .collect()
}
