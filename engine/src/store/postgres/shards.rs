//! The table `shards`: who owns what, and up to where it is written.
//!
//! Times are the database's. Rows are locked in the order of the shards, whoever locks several. What was locked reaches
//! the update as an array: a row that changed while it was waited for is looked at again, and a join with another query
//! would then find nothing for it.

use amends_core::{Epoch, Millis, Shard, Timestamp};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row, query, query_scalar};

use super::commit::Columns;
use super::decode::{shard, text};
use crate::store::{Lease, Owner, ShardMark, ShardRow};

/// Milliseconds since 1970 by the database's clock, at the moment at which it is read.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT"
    };
}
pub(super) use now;

/// The first part of a commit; parameters 1 to 5.
pub(super) const FENCE: &str = "\
fence AS (
  UPDATE shards SET
    epoch = CASE shards.epoch WHEN mark.epoch THEN shards.epoch ELSE refuse('FENCE', shards.shard::TEXT) END,
    journal_head = mark.journal_head, published_head = mark.published_head, reply_cursor = mark.reply_cursor
  FROM unnest($1::INTEGER[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[])
    AS mark (shard, epoch, journal_head, published_head, reply_cursor)
  WHERE shards.shard = mark.shard RETURNING shards.shard
), passed AS MATERIALIZED (SELECT count(*) AS shards FROM fence)";

/// The end of a commit: all shards of the batch are there.
pub(super) const CHECK: &str = "
SELECT CASE shards WHEN cardinality($1) THEN 0 ELSE refuse('23001', 'a shard of the batch does not exist') END FROM passed";

/// Binds the columns of [`FENCE`].
pub(super) fn bind_fence(columns: &mut Columns, marks: &[ShardMark]) {
    columns.push(marks.iter().map(|mark| i32::from(mark.shard.0)));
    columns.push(marks.iter().map(|mark| mark.epoch.0));
    columns.push(marks.iter().map(|mark| mark.journal_head));
    columns.push(marks.iter().map(|mark| mark.published_head));
    columns.push(marks.iter().map(|mark| mark.reply_cursor));
}

/// A shard as it is, while nobody can change it.
pub(super) struct Locked {
    pub(super) shard: Shard,
    pub(super) epoch: Epoch,
    pub(super) journal_head: i64,
}

/// Some shards, in order. Whatever is being committed to them is waited for: a read without a lock would miss it.
pub(super) async fn locked(connection: &mut PgConnection, shards: &[i32]) -> sqlx::Result<Vec<Locked>> {
    let rows = query("SELECT shard, epoch, journal_head FROM shards WHERE shard = ANY($1) ORDER BY shard FOR UPDATE")
        .bind(shards)
        .fetch_all(connection)
        .await?;
    let locked = |row: &PgRow| {
        let epoch = Epoch(row.try_get("epoch")?);
        Ok(Locked { shard: shard(row, "shard")?, epoch, journal_head: row.try_get("journal_head")? })
    };
    rows.iter().map(locked).collect()
}

/// Takes shards over. Its own the owner waits for, since only itself can be at work on them; of the others it leaves
/// alone what somebody has locked: another claim, which wins, or the commit of an owner whose lease is over, which
/// might be paused. The next try comes soon.
pub(super) async fn claim(
    connection: &mut PgConnection,
    owner: &Owner,
    shards: &[Shard],
    ttl: Millis,
) -> sqlx::Result<Vec<Lease>> {
    let rows = query(concat!(
        "WITH own AS MATERIALIZED (
           SELECT shard FROM shards WHERE shard = ANY($3) AND owner = $1 ORDER BY shard FOR UPDATE
         ), free AS MATERIALIZED (
           SELECT shard FROM shards WHERE shard = ANY($3) AND owner IS DISTINCT FROM $1
             AND (owner IS NULL OR lease_until <= ",
        now!(),
        ") ORDER BY shard FOR UPDATE SKIP LOCKED
         )
         UPDATE shards SET owner = $1, address = $2, epoch = epoch + 1, halted = NULL, lease_until = $4 + ",
        now!(),
        " WHERE shard = ANY(ARRAY(SELECT shard FROM own UNION ALL SELECT shard FROM free))
         RETURNING shard, epoch, journal_head, published_head, reply_cursor"
    ))
    .bind(owner.incarnation)
    .bind(text(&owner.address))
    .bind(shards.iter().map(|shard| i32::from(shard.0)).collect::<Vec<_>>())
    .bind(millis(ttl))
    .fetch_all(connection)
    .await?;
    let mut leases = rows.iter().map(lease).collect::<sqlx::Result<Vec<_>>>()?;
    leases.sort_by_key(|lease| lease.shard);
    Ok(leases)
}

/// A span, as the database adds it to a time.
pub(super) fn millis(span: Millis) -> i64 {
    i64::try_from(span.0).unwrap_or(i64::MAX / 2).min(i64::MAX / 2)
}

fn lease(row: &PgRow) -> sqlx::Result<Lease> {
    Ok(Lease {
        shard: shard(row, "shard")?,
        epoch: Epoch(row.try_get("epoch")?),
        journal_head: row.try_get("journal_head")?,
        published_head: row.try_get("published_head")?,
        reply_cursor: row.try_get("reply_cursor")?,
    })
}

/// Frees shards and keeps their last marks, where they are still held under the marks' epochs.
pub(super) async fn release(connection: &mut PgConnection, marks: &[ShardMark]) -> sqlx::Result<()> {
    query(
        "WITH held AS MATERIALIZED (SELECT shard FROM shards WHERE shard = ANY($1) ORDER BY shard FOR UPDATE)
         UPDATE shards SET owner = NULL, address = NULL, lease_until = 0, halted = NULL,
           published_head = greatest(shards.published_head, mark.published_head),
           reply_cursor = greatest(shards.reply_cursor, mark.reply_cursor)
         FROM unnest($1::INTEGER[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[])
           AS mark (shard, epoch, published_head, reply_cursor)
         WHERE shards.shard = mark.shard AND shards.epoch = mark.epoch
           AND shards.shard = ANY(ARRAY(SELECT shard FROM held))",
    )
    .bind(marks.iter().map(|mark| i32::from(mark.shard.0)).collect::<Vec<_>>())
    .bind(marks.iter().map(|mark| mark.epoch.0).collect::<Vec<_>>())
    .bind(marks.iter().map(|mark| mark.published_head).collect::<Vec<_>>())
    .bind(marks.iter().map(|mark| mark.reply_cursor).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes why a shard stands still, or that it does not.
pub(super) async fn note_halt(
    connection: &mut PgConnection,
    shard: Shard,
    epoch: Epoch,
    why: Option<&str>,
) -> sqlx::Result<()> {
    query("UPDATE shards SET halted = $1 WHERE shard = $2 AND epoch = $3")
        .bind(why.map(text))
        .bind(i32::from(shard.0))
        .bind(epoch.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Has every shard read its replies from the beginning, under a new owner.
pub(super) async fn rewind(connection: &mut PgConnection) -> sqlx::Result<()> {
    query(
        "WITH every AS MATERIALIZED (SELECT shard FROM shards ORDER BY shard FOR UPDATE)
         UPDATE shards SET reply_cursor = 0, owner = NULL, address = NULL, lease_until = 0, epoch = epoch + 1
         WHERE shard = ANY(ARRAY(SELECT shard FROM every))",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// All rows, in order.
pub(super) async fn all(connection: &mut PgConnection) -> sqlx::Result<Vec<ShardRow>> {
    let sql = concat!(
        "SELECT shard, owner, shards.address, lease_until, owner IS NULL OR lease_until <= ",
        now!(),
        " AS free, halted, epoch, journal_head, published_head, reply_cursor FROM shards ORDER BY shard"
    );
    query(sql).fetch_all(connection).await?.iter().map(shard_row).collect()
}

/// Reads a row of [`all`].
pub(super) fn shard_row(row: &PgRow) -> sqlx::Result<ShardRow> {
    let owner: Option<_> = row.try_get("owner")?;
    let address: Option<String> = row.try_get("address")?;
    Ok(ShardRow {
        shard: shard(row, "shard")?,
        owner: owner.zip(address).map(|(incarnation, address)| Owner { incarnation, address }),
        lease_until: Timestamp(row.try_get("lease_until")?),
        free: row.try_get("free")?,
        halted: row.try_get("halted")?,
        epoch: Epoch(row.try_get("epoch")?),
        journal_head: row.try_get("journal_head")?,
        published_head: row.try_get("published_head")?,
        reply_cursor: row.try_get("reply_cursor")?,
    })
}

/// How many there are.
pub(super) async fn count(connection: &mut PgConnection) -> sqlx::Result<u16> {
    let count: i64 = query_scalar("SELECT count(*) FROM shards").fetch_one(connection).await?;
    u16::try_from(count).map_err(super::decode::decoded)
}

/// Makes the rows of a new database. Of two that install at once one waits, and finds them there.
pub(super) async fn install(connection: &mut PgConnection, shards: u16) -> sqlx::Result<()> {
    let mut turn = sqlx::Connection::begin(connection).await?;
    query("LOCK TABLE shards IN SHARE ROW EXCLUSIVE MODE").execute(&mut *turn).await?;
    query("INSERT INTO shards (shard) SELECT generate_series(0, $1 - 1) WHERE NOT EXISTS (SELECT 1 FROM shards)")
        .bind(i32::from(shards))
        .execute(&mut *turn)
        .await?;
    turn.commit().await
}
