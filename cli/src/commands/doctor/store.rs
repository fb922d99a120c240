//! The engine's database.

#[cfg(feature = "postgres")]
use amends_engine::store::Storage;
use amends_engine::store::TopicRow;
use amends_engine::store::sqlite::SqliteStore;
use secrecy::SecretString;

use super::Findings;
#[cfg(feature = "postgres")]
use super::PATIENCE;
use crate::config::Settings;
use crate::config::secret::redact;
use crate::engine_store::Place;

/// Clocks that differ more than this make times in logs and lists hard to compare. Leases do not suffer: they go by the
/// database's clock alone.
#[cfg(feature = "postgres")]
const CLOCK_MAX_MS: i64 = 1_000;

/// What the database says of the bus: needed to judge it.
#[cfg_attr(not(all(feature = "kafka", feature = "postgres")), allow(dead_code, reason = "nobody judges"))]
pub(super) struct Recorded {
    pub(super) topics: Vec<TopicRow>,
    pub(super) shards: u16,
}

/// Looks at it; answers what it knows of the bus, if it can be read.
pub(super) async fn look(url: &SecretString, settings: &Settings, findings: &mut Findings) -> Option<Recorded> {
    match Place::of(url) {
        Place::Sqlite(path) => {
            sqlite(path, findings);
            None
        }
        #[cfg(feature = "postgres")]
        Place::Postgres(address) => {
            match tokio::time::timeout(PATIENCE * 2, postgres(address, settings, findings)).await {
                Ok(recorded) => recorded,
                Err(_) => {
                    findings.fail("store", format!("{} does not answer in time", redact(address)), "look at its log");
                    None
                }
            }
        }
        #[cfg(not(feature = "postgres"))]
        Place::Postgres(address) => {
            let _ = settings;
            findings.fail(
                "store",
                redact(address),
                "this program was built without Postgres: cargo install --path cli",
            );
            None
        }
    }
}

fn sqlite(path: &str, findings: &mut Findings) {
    match (std::path::Path::new(path).exists(), SqliteStore::check_unused(path)) {
        (false, _) => {
            findings.warn("store", format!("{path} does not exist yet"), format!("amends serve --store {path} …"))
        }
        (true, Ok(())) => findings.ok("store", format!("{path}, not in use at present")),
        (true, Err(error)) => findings.ok("store", format!("{path}: {error}")),
    }
}

#[cfg(feature = "postgres")]
async fn postgres(address: &str, settings: &Settings, findings: &mut Findings) -> Option<Recorded> {
    use crate::engine_store::{self, EngineStore};
    use amends_engine::store::postgres::PostgresStore;

    let shown = redact(address);
    let status = match PostgresStore::migration_status(address).await {
        Ok(status) => status,
        Err(error) => {
            findings.error("store", &engine_store::unusable(address, &error));
            return None;
        }
    };
    let missing = status.iter().filter(|migration| !migration.applied).count();
    if status.iter().any(|migration| !migration.known) {
        let what = format!("{shown} was migrated by a newer amends");
        findings.fail("store", what, "run the version that migrated it, or a later one");
        return None;
    }
    if missing > 0 {
        let what = format!("{shown} lacks {missing} of {} migrations", status.len());
        findings.fail("store", what, format!("amends migrate up --store {shown}"));
        return None;
    }
    findings.ok("store", format!("{shown}, all {} migrations", status.len()));
    server_settings(address, findings).await;
    let store = match EngineStore::connect(address, settings).await {
        Ok(store) => store,
        Err(error) => {
            findings.error("store", &error);
            return None;
        }
    };
    let recorded = recorded(&store.storage(), store.shards(), findings).await;
    store.close().await;
    recorded
}

/// What the promises rest on.
#[cfg(feature = "postgres")]
async fn server_settings(address: &str, findings: &mut Findings) {
    use amends_engine::store::postgres::PostgresStore;

    let asked = std::time::Instant::now();
    let facts = match PostgresStore::server(address).await {
        Ok(facts) => facts,
        Err(error) => return findings.error("store", &crate::engine_store::unusable(address, &error)),
    };
    let durable = facts.fsync && facts.full_page_writes && facts.synchronous_commit != "off";
    match durable {
        true => findings.ok("store", format!("Postgres {}, commits are durable", facts.version)),
        false => {
            let on = |on: bool| if on { "on" } else { "off" };
            let what = format!(
                "commits may be lost: fsync={}, full_page_writes={}, synchronous_commit={}",
                on(facts.fsync),
                on(facts.full_page_writes),
                facts.synchronous_commit
            );
            findings.fail("store", what, "switch all three on in postgresql.conf");
        }
    }
    let now = chrono::Utc::now().timestamp_millis();
    // The database read its clock at some moment since it was asked.
    let error = i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX);
    let apart = (now - facts.clock_ms).abs();
    if apart > CLOCK_MAX_MS.saturating_add(error) {
        let what = format!("its clock and this machine's are {apart} ms apart");
        findings.warn(
            "store",
            what,
            "synchronise both by NTP; leases go by the database's clock alone and do not suffer",
        );
    }
}

#[cfg(feature = "postgres")]
async fn recorded(storage: &Storage, shards: u16, findings: &mut Findings) -> Option<Recorded> {
    match storage.topics.topics().await {
        Ok(topics) => Some(Recorded { topics, shards }),
        Err(error) => {
            findings.fail("store", error.to_string(), "amends migrate status");
            None
        }
    }
}
