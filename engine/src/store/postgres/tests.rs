//! The conformance suite on a real server, and what only a server can do.

use std::time::Duration;

use amends_core::{Millis, Shard, Status, Timestamp};
use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};
use uuid::Uuid;

use super::session::{IDLE_IN_TRANSACTION, LOCK};
use super::{OpenError, PostgresOptions, PostgresStore};
use crate::store::conformance::fixture::{self, Scribe};
use crate::store::conformance::{self, Subject};
use crate::store::{Archive, AuditEntry, Batch, Leases, SagaFilter, Store, StoreError, TopicBook, TopicRow};

/// A place of its own on the server of `AMENDS_STORE`: a schema, dropped at the end.
pub(in crate::store) struct Place {
    pub(in crate::store) url: String,
    server: String,
    schema: String,
}

impl Place {
    pub(in crate::store) async fn new() -> Self {
        let server = std::env::var("AMENDS_STORE")
            .expect("AMENDS_STORE names no database for the tests; `cargo xtask up` starts one and says its URL");
        let schema = format!("test_{}", Uuid::now_v7().simple());
        let place = Self { url: format!("{server}?options[search_path]={schema}"), server, schema };
        place.sql(&format!("CREATE SCHEMA {}", place.schema)).await.unwrap();
        place
    }

    /// A connection without any of the store's settings.
    pub(super) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Sends one statement, and reads the first column of its first row.
    pub(super) async fn sql(&self, statement: &str) -> Result<i64, String> {
        let row = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).fetch_optional(&mut self.connect().await).await;
        Ok(row.map_err(|error| error.to_string())?.map_or(0, |row| row.get(0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (server, schema) = (self.server.clone(), self.schema.clone());
        // A destructor cannot wait, and the test's runtime may be about to end.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await.unwrap();
                let sql = format!("SET lock_timeout = '5s'; DROP SCHEMA IF EXISTS {schema} CASCADE");
                let _ = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
            });
        });
        let _ = dropped.join();
    }
}

pub(super) struct Specimen {
    pub(super) store: PostgresStore,
    pub(super) place: Place,
}

impl Specimen {
    pub(super) async fn new() -> Self {
        let place = Place::new().await;
        PostgresStore::migrate(&place.url, Some(conformance::SHARDS)).await.unwrap();
        let store = PostgresStore::connect(&place.url, PostgresOptions::default()).await.unwrap();
        Self { store, place }
    }
}

#[async_trait]
impl Subject for Specimen {
    type Store = PostgresStore;

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    async fn sql(&self, statement: &'static str) -> Result<i64, String> {
        self.place.sql(statement).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_conforms() {
    conformance::run(Specimen::new).await;
}

async fn refused(url: &str) -> OpenError {
    match PostgresStore::connect(url, PostgresOptions::default()).await {
        Ok(_) => panic!("it was connected to"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_not_one_that_is_down() {
    let place = Place::new().await;
    let server = place.url.split('?').next().and_then(|url| url.rsplit_once('/')).map(|(server, _)| server).unwrap();
    let error = refused(&format!("{server}/nobody_made_this_one")).await;
    assert!(matches!(&error, OpenError::Refused { why, .. } if why.contains("does not exist")), "{error}");
}

#[tokio::test]
async fn a_database_without_tables_is_refused_with_the_next_command() {
    let place = Place::new().await;
    let error = refused(&place.url).await;
    assert!(matches!(error, OpenError::NotMigrated { migration: 1, .. }), "{error}");
    assert!(error.to_string().contains("amends migrate up --store postgres://"), "{error}");
    let before = PostgresStore::migration_status(&place.url).await.unwrap();
    assert!(before.len() >= 3 && before.iter().all(|migration| migration.known && !migration.applied));
    let (applied, shards) = PostgresStore::migrate(&place.url, None).await.unwrap();
    assert_eq!((applied.len(), shards), (before.len(), super::SHARDS));
    assert_eq!(PostgresStore::migrate(&place.url, None).await.unwrap(), (vec![], super::SHARDS));
    let after = PostgresStore::migration_status(&place.url).await.unwrap();
    assert!(after.iter().all(|migration| migration.known && migration.applied));
    let store = PostgresStore::connect(&place.url, PostgresOptions::default()).await.unwrap();
    assert_eq!(store.shard_count(), super::SHARDS);
    place.sql("DELETE FROM shards").await.unwrap();
    assert!(matches!(refused(&place.url).await, OpenError::NotInstalled { .. }));
    place.sql("DELETE FROM engine_migrations WHERE version > 1").await.unwrap();
    assert!(matches!(refused(&place.url).await, OpenError::NotMigrated { migration: 2, .. }));
}

#[tokio::test]
async fn the_number_of_shards_is_fixed_at_install() {
    let place = Place::new().await;
    assert_eq!(PostgresStore::migrate(&place.url, Some(4)).await.unwrap().1, 4);
    let error = PostgresStore::migrate(&place.url, Some(8)).await.unwrap_err();
    assert!(matches!(error, OpenError::Shards { installed: 4, asked: 8, .. }), "{error}");
    assert_eq!(PostgresStore::migrate(&place.url, None).await.unwrap().1, 4);
}

#[tokio::test]
async fn engines_that_start_at_once_migrate_once() {
    let place = Place::new().await;
    let all = (0..4).map(|_| PostgresStore::migrate(&place.url, Some(4)));
    for (_, shards) in futures::future::try_join_all(all).await.unwrap() {
        assert_eq!(shards, 4);
    }
    assert_eq!(place.sql("SELECT count(*) FROM shards").await, Ok(4));
}

#[tokio::test]
async fn a_database_of_a_newer_or_another_program_is_left_alone() {
    let specimen = Specimen::new().await;
    let newer = "INSERT INTO engine_migrations VALUES (9999, 'later', now(), TRUE, '', 0)";
    specimen.place.sql(newer).await.unwrap();
    let url = &specimen.place.url;
    assert!(matches!(refused(url).await, OpenError::Newer { migration: 9999, .. }));
    assert!(matches!(PostgresStore::migrate(url, None).await, Err(OpenError::Newer { migration: 9999, .. })));
    let last = PostgresStore::migration_status(url).await.unwrap().pop().unwrap();
    assert_eq!((last.name.as_str(), last.applied, last.known), ("later", true, false));
    specimen.place.sql("DELETE FROM engine_migrations WHERE version = 9999").await.unwrap();
    specimen.place.sql("UPDATE engine_migrations SET checksum = '' WHERE version = 2").await.unwrap();
    assert!(matches!(refused(url).await, OpenError::Differs { migration: 2, .. }));
}

#[tokio::test]
async fn nothing_that_is_said_of_a_database_holds_its_password() {
    for url in ["postgres://me:secret@127.0.0.1:1/db", "postgres://me:secret@no.such.host.invalid/db"] {
        let error = refused(url).await;
        let said = format!("{error} {error:?}");
        assert!(said.contains("postgres://me@") && !said.contains("secret"), "{said}");
    }
}

#[tokio::test]
async fn a_lease_must_outlast_the_wait_for_a_lock() {
    let options = |lease| PostgresOptions { lease_ttl: Millis(lease), ..PostgresOptions::default() };
    let short = PostgresStore::connect("postgres://nobody@127.0.0.1:1/db", options(4000)).await;
    assert!(matches!(short.err().unwrap(), OpenError::Lease { asked_ms: 4000 }));
    assert!(IDLE_IN_TRANSACTION < LOCK && LOCK.as_millis() < u128::from(PostgresOptions::default().lease_ttl.0));
}

#[tokio::test]
async fn every_connection_has_its_settings() {
    let specimen = Specimen::new().await;
    for (sessions, statement) in
        [(&specimen.store.0.writers, "30s"), (&specimen.store.0.readers, "10s"), (&specimen.store.0.leases, "4s")]
    {
        let mut session = sessions.take().await.unwrap();
        for (setting, expected) in [
            ("application_name", "amends"),
            ("idle_in_transaction_session_timeout", "2s"),
            ("lock_timeout", "4s"),
            ("statement_timeout", statement),
            ("synchronous_commit", "on"),
        ] {
            let sql = AssertSqlSafe(format!("SHOW {setting}"));
            let found: String = sqlx::query_scalar(sql).fetch_one(session.connection()).await.unwrap();
            assert_eq!(found, expected, "{setting}");
        }
    }
}

#[tokio::test]
async fn a_closed_store_answers_at_once() {
    let specimen = Specimen::new().await;
    specimen.store.close();
    assert!(matches!(specimen.store.shards().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(specimen.store.commit(Batch::default().into()).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_query_whose_caller_goes_away_costs_no_connection() {
    let specimen = Specimen::new().await;
    let store =
        PostgresStore::connect(&specimen.place.url, PostgresOptions { readers: 1, ..PostgresOptions::default() });
    let store = store.await.unwrap();
    for _ in 0..3 {
        let query = store.shards();
        futures::pin_mut!(query);
        let _ = tokio::time::timeout(Duration::from_micros(200), query).await;
    }
    assert_eq!(store.shards().await.unwrap().len(), 4);
}

/// The grants of docs/operations.md.
const GRANTS: &str = "
GRANT SELECT ON ALL TABLES IN SCHEMA place TO engine;
GRANT INSERT ON sagas, journal, dead_letters, audit, definitions, topics, engines TO engine;
GRANT UPDATE ON shards, sagas, topics, engines TO engine;
GRANT DELETE ON engines TO engine;
GRANT USAGE ON SEQUENCE saga_numbers TO engine;";

#[tokio::test]
async fn an_engine_needs_no_more_than_the_manual_grants_it() {
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
    for grant in GRANTS.lines().filter(|line| !line.is_empty()) {
        let grant = grant.replace("SCHEMA place", "SCHEMA public").replace("TO engine", "TO amends_engine");
        assert!(manual.contains(&grant), "{grant}");
    }
    let specimen = Specimen::new().await;
    let (place, schema) = (&specimen.place, &specimen.place.schema);
    let role = format!("{schema}_engine");
    let grants =
        GRANTS.replace("SCHEMA place", &format!("SCHEMA {schema}")).replace("TO engine", &format!("TO {role}"));
    place.sql(&format!("CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role}; {grants}")).await.unwrap();
    let url = format!("{}&options[role]={role}", place.url);
    let result = tokio::spawn(async move { act_as_an_engine(&url).await }).await;
    specimen.store.close();
    place.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    result.unwrap();
}

async fn act_as_an_engine(url: &str) {
    let store = PostgresStore::connect(url, PostgresOptions::default()).await.unwrap();
    store.heartbeat(&fixture::owner(1), Millis(60_000)).await.unwrap();
    let mut scribe = Scribe::new(&store).await;
    scribe.start(&fixture::saga(1, 0, 5));
    scribe.commit().await.unwrap();
    let parked = fixture::state(fixture::id(1), Status::Parked, 6);
    scribe.change(&fixture::saga(1, 0, 5), 2, fixture::PAID, parked);
    scribe.batch.dead_letters.push(fixture::letter(1, 6));
    let (who, action, reason) = ("ops".to_owned(), "retry".to_owned(), String::new());
    let entry = AuditEntry { saga_id: fixture::id(1), seq: 2, at: Timestamp(6), who, action, reason };
    scribe.batch.audit.push(entry);
    scribe.commit().await.unwrap();
    assert_eq!(store.saga(fixture::id(1)).await.unwrap().unwrap().journal.len(), 2);
    assert_eq!(fixture::list(&store, SagaFilter::default()).await.total, 1);
    assert!(store.recover(Shard(0)).await.unwrap().is_empty());
    let topic = TopicRow { name: "replies".to_owned(), topic_id: Uuid::nil(), partitions: 4 };
    store.record_topic(&topic).await.unwrap();
    store.replace_topic(&topic, true).await.unwrap();
    store.leave(&fixture::owner(1)).await.unwrap();
    let mut session = store.0.writers.take().await.unwrap();
    for forbidden in ["UPDATE journal SET at = 0", "DELETE FROM sagas", "DELETE FROM shards", "TRUNCATE journal"] {
        let error = sqlx::raw_sql(forbidden).execute(session.connection()).await.unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{forbidden}: {error}");
    }
}
