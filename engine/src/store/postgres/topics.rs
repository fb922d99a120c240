//! The table `topics`: the broker's topics as they were when they were first seen.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row, query};

use super::decode::text;
use super::error::store_error;
use crate::store::{StoreError, TopicRow};

/// All of them, by name.
pub(super) async fn all(connection: &mut PgConnection) -> sqlx::Result<Vec<TopicRow>> {
    let sql = "SELECT name, topic_id, partitions FROM topics ORDER BY name COLLATE \"C\"";
    query(sql).fetch_all(connection).await?.iter().map(topic).collect()
}

fn topic(row: &PgRow) -> sqlx::Result<TopicRow> {
    let (name, topic_id) = (row.try_get("name")?, row.try_get("topic_id")?);
    Ok(TopicRow { name, topic_id, partitions: row.try_get("partitions")? })
}

/// Records a topic, or finds that the same is there.
pub(super) async fn record(connection: &mut PgConnection, row: &TopicRow) -> Result<(), StoreError> {
    query("INSERT INTO topics (name, topic_id, partitions) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(text(&row.name))
        .bind(row.topic_id)
        .bind(row.partitions)
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
    let known = query("SELECT name, topic_id, partitions FROM topics WHERE name = $1")
        .bind(text(&row.name))
        .fetch_one(connection)
        .await
        .and_then(|known| topic(&known))
        .map_err(store_error)?;
    if known == *row {
        return Ok(());
    }
    Err(StoreError::Conflict(format!("the topic {} is recorded as another one", row.name)))
}

/// Records a topic in the place of the one known by its name.
pub(super) async fn replace(connection: &mut PgConnection, row: &TopicRow) -> sqlx::Result<()> {
    query(
        "INSERT INTO topics (name, topic_id, partitions) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET topic_id = excluded.topic_id, partitions = excluded.partitions",
    )
    .bind(text(&row.name))
    .bind(row.topic_id)
    .bind(row.partitions)
    .execute(connection)
    .await?;
    Ok(())
}
