//! The conformance suite on a real server, and what only a server can do.

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};
use uuid::Uuid;

use super::{PostgresOptions, PostgresStore};
use crate::store::conformance::{self, Subject};

/// A place of its own on the server of `AMENDS_STORE`: a schema, dropped at the end.
pub(super) struct Place {
    pub(super) url: String,
    server: String,
    schema: String,
}

impl Place {
    pub(super) async fn new() -> Self {
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
