//! The table `topics`: the broker's topics as they were when they were first seen.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Row, query};

use super::decode::uuid;
use super::error::store_error;
use crate::store::{StoreError, TopicRow};

/// All of them, by name.
pub(super) async fn all(connection: &mut SqliteConnection) -> sqlx::Result<Vec<TopicRow>> {
    let rows = query("SELECT name, topic_id, partitions FROM topics ORDER BY name").fetch_all(connection).await?;
    let topic = |row: &sqlx::sqlite::SqliteRow| {
        Ok(TopicRow {
            name: row.try_get("name")?,
            topic_id: uuid(row, "topic_id")?,
            partitions: row.try_get("partitions")?,
        })
    };
    rows.iter().map(topic).collect()
}

/// Records a topic, or finds that the same is there.
pub(super) async fn record(connection: &mut SqliteConnection, row: &TopicRow) -> Result<(), StoreError> {
    query("INSERT INTO topics (name, topic_id, partitions) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(&row.name)
        .bind(row.topic_id.as_bytes().as_slice())
        .bind(row.partitions)
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
    let known = all(connection).await.map_err(store_error)?;
    if known.contains(row) {
        return Ok(());
    }
    Err(StoreError::Conflict(format!("the topic {} is recorded as another one", row.name)))
}

/// Records a topic in the place of the one known by its name.
pub(super) async fn replace(connection: &mut SqliteConnection, row: &TopicRow) -> sqlx::Result<()> {
    query(
        "INSERT INTO topics (name, topic_id, partitions) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET topic_id = excluded.topic_id, partitions = excluded.partitions",
    )
    .bind(&row.name)
    .bind(row.topic_id.as_bytes().as_slice())
    .bind(row.partitions)
    .execute(connection)
    .await?;
    Ok(())
}
