//! The table `shards`: who owns what, and up to where it is written.

use std::sync::LazyLock;

use amends_core::{Epoch, Shard, Timestamp};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, query, query_scalar};
use uuid::Uuid;

use super::bulk::Bulk;
use super::commit::Plan;
use crate::store::{Lease, Owner, ShardMark, ShardRow};

/// Compares the epochs and moves the marks in one: an epoch cannot be NULL, so another one than the stored fails.
pub(super) static FENCE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "UPDATE shards SET epoch = CASE shards.epoch WHEN mark.column2 THEN shards.epoch END, \
         journal_head = mark.column3, published_head = mark.column4, reply_cursor = mark.column5 FROM",
        5,
        "AS mark WHERE shards.shard = mark.column1",
    )
});

/// Lets a batch through if every shard has the epoch it says.
pub(super) fn fence(plan: &mut Plan, marks: &[ShardMark]) {
    plan.fence(&FENCE, marks, |parameters, mark| {
        parameters.push(i64::from(mark.shard.0));
        parameters.push(mark.epoch.0);
        parameters.push(mark.journal_head);
        parameters.push(mark.published_head);
        parameters.push(mark.reply_cursor);
    });
}

/// The first of some shards that has not the epoch said; read after a fence held, to name it.
pub(super) async fn fenced(connection: &mut SqliteConnection, marks: &[(Shard, Epoch)]) -> sqlx::Result<Option<Shard>> {
    for (shard, epoch) in marks {
        let stored: Option<i64> = query_scalar("SELECT epoch FROM shards WHERE shard = ?")
            .bind(i64::from(shard.0))
            .fetch_optional(&mut *connection)
            .await?;
        if stored != Some(epoch.0) {
            return Ok(Some(*shard));
        }
    }
    Ok(None)
}

/// Takes shards over in one statement, so that of two owners one comes first.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    owner: &Owner,
    shards: &[Shard],
    now: Timestamp,
    until: Timestamp,
) -> sqlx::Result<Vec<Lease>> {
    let numbers: Vec<u16> = shards.iter().map(|shard| shard.0).collect();
    let rows = query(
        "UPDATE shards SET owner = ?1, address = ?2, lease_until = ?3, epoch = epoch + 1, halted = NULL
         WHERE shard IN (SELECT value FROM json_each(?4)) AND (owner IS NULL OR owner = ?1 OR lease_until <= ?5)
         RETURNING shard, epoch, journal_head, published_head, reply_cursor",
    )
    .bind(owner.incarnation.as_bytes().as_slice())
    .bind(&owner.address)
    .bind(until.0)
    .bind(format!("{numbers:?}"))
    .bind(now.0)
    .fetch_all(connection)
    .await?;
    let mut leases = rows.iter().map(lease).collect::<sqlx::Result<Vec<_>>>()?;
    leases.sort_by_key(|lease| lease.shard);
    Ok(leases)
}

fn lease(row: &SqliteRow) -> sqlx::Result<Lease> {
    Ok(Lease {
        shard: Shard(row.try_get("shard")?),
        epoch: Epoch(row.try_get("epoch")?),
        journal_head: row.try_get("journal_head")?,
        published_head: row.try_get("published_head")?,
        reply_cursor: row.try_get("reply_cursor")?,
    })
}

/// Renews what an owner holds.
pub(super) async fn renew(connection: &mut SqliteConnection, owner: &Owner, until: Timestamp) -> sqlx::Result<()> {
    query("UPDATE shards SET lease_until = ? WHERE owner = ?")
        .bind(until.0)
        .bind(owner.incarnation.as_bytes().as_slice())
        .execute(connection)
        .await?;
    Ok(())
}

/// Frees a shard and keeps its last marks, if it is still held under their epoch.
pub(super) async fn release(connection: &mut SqliteConnection, mark: &ShardMark) -> sqlx::Result<()> {
    query(
        "UPDATE shards SET owner = NULL, address = NULL, lease_until = 0, halted = NULL,
         published_head = max(published_head, ?1), reply_cursor = max(reply_cursor, ?2) WHERE shard = ?3 AND epoch = ?4",
    )
    .bind(mark.published_head)
    .bind(mark.reply_cursor)
    .bind(i64::from(mark.shard.0))
    .bind(mark.epoch.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Frees whatever an owner holds.
pub(super) async fn free(connection: &mut SqliteConnection, owner: &Owner) -> sqlx::Result<()> {
    query("UPDATE shards SET owner = NULL, address = NULL, lease_until = 0, halted = NULL WHERE owner = ?")
        .bind(owner.incarnation.as_bytes().as_slice())
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes why a shard stands still, or that it does not.
pub(super) async fn note_halt(
    connection: &mut SqliteConnection,
    shard: Shard,
    epoch: Epoch,
    why: Option<&str>,
) -> sqlx::Result<()> {
    query("UPDATE shards SET halted = ? WHERE shard = ? AND epoch = ?")
        .bind(why)
        .bind(i64::from(shard.0))
        .bind(epoch.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Has every shard read its replies from the beginning, under a new owner.
pub(super) async fn rewind(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    query("UPDATE shards SET reply_cursor = 0, owner = NULL, address = NULL, lease_until = 0, epoch = epoch + 1")
        .execute(connection)
        .await?;
    Ok(())
}

/// All rows, in order.
pub(super) async fn all(connection: &mut SqliteConnection, now: Timestamp) -> sqlx::Result<Vec<ShardRow>> {
    let rows = query(
        "SELECT shard, owner, address, lease_until, owner IS NULL OR lease_until <= ? AS free, halted, epoch,
         journal_head, published_head, reply_cursor FROM shards ORDER BY shard",
    )
    .bind(now.0)
    .fetch_all(connection)
    .await?;
    rows.iter().map(shard_row).collect()
}

fn shard_row(row: &SqliteRow) -> sqlx::Result<ShardRow> {
    let owner: Option<&[u8]> = row.try_get("owner")?;
    let address: Option<String> = row.try_get("address")?;
    let incarnation = owner.map(Uuid::from_slice).transpose().map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(ShardRow {
        shard: Shard(row.try_get("shard")?),
        owner: incarnation.zip(address).map(|(incarnation, address)| Owner { incarnation, address }),
        lease_until: Timestamp(row.try_get("lease_until")?),
        epoch: Epoch(row.try_get("epoch")?),
        journal_head: row.try_get("journal_head")?,
        published_head: row.try_get("published_head")?,
        free: row.try_get("free")?,
        halted: row.try_get("halted")?,
        reply_cursor: row.try_get("reply_cursor")?,
    })
}

/// Makes the rows of a new file, and tells how many a file has.
pub(super) async fn install(connection: &mut SqliteConnection, shards: u16) -> sqlx::Result<u16> {
    query(
        "INSERT INTO shards (shard)
         WITH RECURSIVE numbers (shard) AS (SELECT 0 UNION ALL SELECT shard + 1 FROM numbers WHERE shard + 1 < ?1)
         SELECT shard FROM numbers WHERE NOT EXISTS (SELECT 1 FROM shards)",
    )
    .bind(i64::from(shards))
    .execute(&mut *connection)
    .await?;
    query_scalar("SELECT count(*) FROM shards").fetch_one(connection).await
}
