//! What the server is and promises, for those who look after it.

use sqlx::postgres::PgConnection;
use sqlx::query_as;

const FACTS: &str = "
SELECT current_setting('server_version'),
       current_setting('fsync') = 'on',
       current_setting('full_page_writes') = 'on',
       current_setting('synchronous_commit'),
       (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT";

/// A server's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version in its own words.
    pub version: String,
    /// Commits reach the disk.
    pub fsync: bool,
    /// Pages torn by a crash are repaired.
    pub full_page_writes: bool,
    /// What a commit waits for, as this user's sessions have it.
    pub synchronous_commit: String,
    /// Its clock, in milliseconds since 1970.
    pub clock_ms: i64,
}

pub(super) async fn facts(connection: &mut PgConnection) -> sqlx::Result<ServerFacts> {
    let (version, fsync, full_page_writes, synchronous_commit, clock_ms) =
        query_as(FACTS).fetch_one(connection).await?;
    Ok(ServerFacts { version, fsync, full_page_writes, synchronous_commit, clock_ms })
}
