//! The table `engines`: who lives.

use amends_core::Millis;
use sqlx::postgres::PgConnection;
use sqlx::{Row, query};

use super::decode::text;
use super::shards::{millis, now, shard_row};
use crate::store::{Cluster, Owner};

/// Says that an engine lives and renews what it holds; forgets those that have not been heard of. One statement, so
/// that no lock on a shard waits for the network.
pub(super) async fn beat(connection: &mut PgConnection, owner: &Owner, ttl: Millis) -> sqlx::Result<()> {
    query(concat!(
        "WITH gone AS (
           DELETE FROM engines WHERE incarnation IN (
             SELECT incarnation FROM engines WHERE lease_until <= ",
        now!(),
        " AND incarnation <> $1 FOR UPDATE SKIP LOCKED)
         ), here AS (
           INSERT INTO engines (incarnation, address, since, lease_until) VALUES ($1, $2, ",
        now!(),
        ", $3 + ",
        now!(),
        ") ON CONFLICT (incarnation) DO UPDATE SET address = excluded.address, lease_until = excluded.lease_until
         ), own AS MATERIALIZED (
           SELECT shard FROM shards WHERE owner = $1 ORDER BY shard FOR UPDATE
         )
         UPDATE shards SET lease_until = $3 + ",
        now!(),
        " WHERE shard = ANY(ARRAY(SELECT shard FROM own)) AND owner = $1"
    ))
    .bind(owner.incarnation)
    .bind(text(&owner.address))
    .bind(millis(ttl))
    .execute(connection)
    .await?;
    Ok(())
}

/// Who lives and who owns what, at one moment: one statement sees one.
pub(super) async fn cluster(connection: &mut PgConnection) -> sqlx::Result<Cluster> {
    let rows = query(concat!(
        "SELECT shard, owner, shards.address, shards.lease_until, owner IS NULL OR shards.lease_until <= ",
        now!(),
        " AS free, halted, epoch, journal_head, published_head, reply_cursor, incarnation, engines.address AS place
         FROM shards FULL JOIN (SELECT incarnation, address FROM engines WHERE lease_until > ",
        now!(),
        ") AS engines ON FALSE ORDER BY shard, incarnation"
    ))
    .fetch_all(connection)
    .await?;
    let (mut engines, mut shards) = (Vec::new(), Vec::new());
    for row in &rows {
        match row.try_get("incarnation")? {
            Some(incarnation) => engines.push(Owner { incarnation, address: row.try_get("place")? }),
            None => shards.push(shard_row(row)?),
        }
    }
    Ok(Cluster { engines, shards })
}

/// Frees whatever an engine holds, and forgets it.
pub(super) async fn leave(connection: &mut PgConnection, owner: &Owner) -> sqlx::Result<()> {
    query(
        "WITH gone AS (DELETE FROM engines WHERE incarnation = $1), own AS MATERIALIZED (
           SELECT shard FROM shards WHERE owner = $1 ORDER BY shard FOR UPDATE
         )
         UPDATE shards SET owner = NULL, address = NULL, lease_until = 0, halted = NULL
         WHERE shard = ANY(ARRAY(SELECT shard FROM own)) AND owner = $1",
    )
    .bind(owner.incarnation)
    .execute(connection)
    .await?;
    Ok(())
}
