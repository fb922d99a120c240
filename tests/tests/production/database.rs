//! Looks into the databases beside the programs, and keeps a witness in the engines' one: who wrote what, under which
//! epoch, in the order of the commits.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{Executor as _, PgPool};

use crate::process::eventually;

/// Statement by statement. Each engine's connections say whose they are, each start
/// being another engine; triggers run while the
/// writer holds the lock of the shard's row, so that the numbers are in the order of the shard's commits.
const WITNESS: &str = "
CREATE TABLE witness_marks (
    n BIGINT GENERATED ALWAYS AS IDENTITY, app TEXT NOT NULL, shard INTEGER NOT NULL,
    epoch_before BIGINT NOT NULL, epoch BIGINT NOT NULL,
    cursor_before BIGINT NOT NULL, cursor BIGINT NOT NULL,
    head_before BIGINT NOT NULL, head BIGINT NOT NULL
);
CREATE TABLE witness_writes (
    n BIGINT GENERATED ALWAYS AS IDENTITY, app TEXT NOT NULL, shard INTEGER NOT NULL, epoch BIGINT NOT NULL,
    first BIGINT NOT NULL, last BIGINT NOT NULL, count BIGINT NOT NULL
);
CREATE FUNCTION witness_marks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness_marks (app, shard, epoch_before, epoch, cursor_before, cursor, head_before, head)
    VALUES (COALESCE(current_setting('witness.app', true), 'nobody'), NEW.shard, OLD.epoch, NEW.epoch, OLD.reply_cursor, NEW.reply_cursor,
            OLD.journal_head, NEW.journal_head);
    RETURN NULL;
END
$$;
CREATE TRIGGER witness_marks AFTER UPDATE ON shards FOR EACH ROW
WHEN ((OLD.epoch, OLD.reply_cursor, OLD.journal_head) IS DISTINCT FROM (NEW.epoch, NEW.reply_cursor, NEW.journal_head))
EXECUTE FUNCTION witness_marks();
CREATE FUNCTION witness_writes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness_writes (app, shard, epoch, first, last, count)
    SELECT COALESCE(current_setting('witness.app', true), 'nobody'), shards.shard, shards.epoch, min(position), max(position), count(*)
    FROM written JOIN shards USING (shard) GROUP BY shards.shard, shards.epoch;
    RETURN NULL;
END
$$;
CREATE TRIGGER witness_writes AFTER INSERT ON journal REFERENCING NEW TABLE AS written
FOR EACH STATEMENT EXECUTE FUNCTION witness_writes();
";

/// One database.
pub(crate) struct Database(PgPool);

impl Database {
    pub(crate) fn new(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().expect("a URL of Postgres");
        // Unnamed statements: the tables are altered beside them.
        let options = options.application_name("judge").statement_cache_capacity(0);
        Self(
            PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(20)).connect_lazy_with(options),
        )
    }

    /// Adds the witness; before anything is written.
    pub(crate) async fn install_witness(&self) {
        self.0.execute(WITNESS).await.unwrap_or_else(|error| panic!("the witness: {error}"));
    }

    pub(crate) const fn pool(&self) -> &PgPool {
        &self.0
    }

    /// All rows of a query. Tried again while Postgres is down.
    pub(crate) async fn rows<T>(&self, sql: &'static str) -> Vec<T>
    where
        T: for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin,
    {
        eventually(sql, || async {
            match sqlx::query_as(sql).fetch_all(&self.0).await {
                Ok(rows) => Some(rows),
                Err(error) => {
                    let down = matches!(&error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)
                        || error
                            .as_database_error()
                            .and_then(|error| error.code())
                            .is_some_and(|code| code.starts_with("57"));
                    assert!(down, "{sql}: {error}");
                    None
                }
            }
        })
        .await
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        let (number,) = self.rows::<(i64,)>(sql).await.pop().expect("one row");
        number
    }
}

/// Who owns a shard, by the database's clock.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct ShardRow {
    pub(crate) shard: i32,
    /// Empty if nobody does, or the lease has expired.
    pub(crate) address: String,
    pub(crate) epoch: i64,
    pub(crate) reply_cursor: i64,
    pub(crate) halted: Option<String>,
}

impl Database {
    /// All shards as they stand.
    pub(crate) async fn shards(&self) -> Vec<ShardRow> {
        let sql = "SELECT shard, CASE WHEN owner IS NULL OR lease_until <= extract(epoch FROM clock_timestamp()) * 1000 \
                   THEN '' ELSE COALESCE(address, '') END AS address, epoch, reply_cursor, halted \
                   FROM shards ORDER BY shard";
        self.rows(sql).await
    }
}
