//! Makes a database ready, or says plainly why it is not.

use std::str::FromStr;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, query, query_scalar};

use super::error::{OpenError, is_missing_table, refusal, store_error};
use super::server::{self, ServerFacts};
use super::shards;
use crate::store::StoreError;

/// The tables, as every program since the first has made them. Under a name of its own, as in SQLite, so that a
/// participant's tables may live in the same database.
const MIGRATIONS: Migrator = sqlx::migrate!("../migrations/engine/postgres");
const MIGRATIONS_TABLE: &str = "engine_migrations";

/// The oldest server that notices by itself that a client is gone while a statement runs.
const SERVER: i32 = 14;

/// How long a migration waits for another program's to end, and for the tables' users.
const MIGRATION_LOCK: &str = "60s";

/// A migration, and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number; they are applied in this order.
    pub version: i64,
    /// What it is about.
    pub name: String,
    /// The database has it.
    pub applied: bool,
    /// This program has it; if not, a newer one has migrated the database.
    pub known: bool,
}

/// A database by its URL.
pub(super) struct Target {
    /// How to connect.
    pub(super) options: PgConnectOptions,
    /// The URL for people: without a password.
    pub(super) url: String,
}

impl Target {
    /// Reads a URL.
    pub(super) fn new(url: &str) -> Result<Self, OpenError> {
        let wrong = || OpenError::Url(without_secrets(url));
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(wrong());
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| wrong())?;
        Ok(Self { options, url: without_secrets(url) })
    }

    fn failed(&self, error: sqlx::Error) -> OpenError {
        if let Some(why) = refusal(&error) {
            return OpenError::Refused { url: self.url.clone(), why };
        }
        OpenError::Store { url: self.url.clone(), error: store_error(error) }
    }

    /// Opens one connection.
    async fn connect(&self, options: PgConnectOptions) -> Result<PgConnection, OpenError> {
        let mut connection = options.disable_statement_logging().connect().await.map_err(|error| self.failed(error))?;
        let number: String = query_scalar("SHOW server_version_num")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| self.failed(error))?;
        match number.parse::<i32>().unwrap_or_default() / 10_000 {
            found if found < SERVER => Err(OpenError::Server { url: self.url.clone(), found, needed: SERVER }),
            _ => Ok(connection),
        }
    }

    /// Checks that the database has this program's tables and its shards, and counts them.
    pub(super) async fn inspect(&self) -> Result<u16, OpenError> {
        let mut connection = self.connect(self.options.clone()).await?;
        for migration in self.migrations(&mut connection).await? {
            let (url, migration) = match migration {
                Migration { known: false, version, .. } => (self.url.clone(), version),
                Migration { applied: false, version, .. } => {
                    return Err(OpenError::NotMigrated { url: self.url.clone(), migration: version });
                }
                _ => continue,
            };
            return Err(OpenError::Newer { url, migration });
        }
        match shards::count(&mut connection).await.map_err(|error| self.failed(error))? {
            0 => Err(OpenError::NotInstalled { url: self.url.clone() }),
            count => Ok(count),
        }
    }

    /// All migrations that the database or this program has, in order.
    pub(super) async fn status(&self) -> Result<Vec<Migration>, OpenError> {
        let mut connection = self.connect(self.options.clone()).await?;
        self.migrations(&mut connection).await
    }

    /// Asks the server what it is.
    pub(super) async fn server(&self) -> Result<ServerFacts, OpenError> {
        let mut connection = self.connect(self.options.clone()).await?;
        server::facts(&mut connection).await.map_err(|error| self.failed(error))
    }

    async fn migrations(&self, connection: &mut PgConnection) -> Result<Vec<Migration>, OpenError> {
        let sql = format!("SELECT version, description, checksum FROM {MIGRATIONS_TABLE} ORDER BY version");
        let applied = match query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await {
            Ok(rows) => rows,
            Err(error) if is_missing_table(&error) => Vec::new(),
            Err(error) => return Err(self.failed(error)),
        };
        let read = |row: &sqlx::postgres::PgRow| -> sqlx::Result<(i64, String, Vec<u8>)> {
            Ok((row.try_get("version")?, row.try_get("description")?, row.try_get("checksum")?))
        };
        let mut migrations: Vec<_> = MIGRATIONS
            .iter()
            .map(|own| Migration {
                version: own.version,
                name: own.description.to_string(),
                applied: false,
                known: true,
            })
            .collect();
        for row in &applied {
            let (version, name, checksum) = read(row).map_err(|error| self.failed(error))?;
            let Some(own) = MIGRATIONS.iter().position(|own| own.version == version) else {
                migrations.push(Migration { version, name, applied: true, known: false });
                continue;
            };
            if *MIGRATIONS.migrations[own].checksum != *checksum {
                return Err(OpenError::Differs { url: self.url.clone(), migration: version });
            }
            migrations[own].applied = true;
        }
        migrations.sort_by_key(|migration| migration.version);
        Ok(migrations)
    }

    /// Makes the tables that are missing, and the shards if there are none. Answers the migrations that it applied, and
    /// the number of shards. Of several programs that do this at once one works, and the others wait for it.
    pub(super) async fn migrate(&self, asked: Option<u16>) -> Result<(Vec<Migration>, u16), OpenError> {
        let options = self.options.clone().application_name("amends migrate");
        let mut connection = self.connect(options.options([("lock_timeout", MIGRATION_LOCK)])).await?;
        let before = self.migrations(&mut connection).await?;
        let mut migrations = MIGRATIONS;
        migrations.dangerous_set_table_name(MIGRATIONS_TABLE);
        migrations.run_direct(None, &mut connection, false).await.map_err(|error| self.migration_failed(error))?;
        let installed = shards::count(&mut connection).await.map_err(|error| self.failed(error))?;
        if installed == 0 {
            let wanted = asked.unwrap_or(super::SHARDS).max(1);
            shards::install(&mut connection, wanted).await.map_err(|error| self.failed(error))?;
        }
        let installed = shards::count(&mut connection).await.map_err(|error| self.failed(error))?;
        match asked {
            Some(asked) if asked != installed => Err(OpenError::Shards { url: self.url.clone(), installed, asked }),
            _ => Ok((before.into_iter().filter(|migration| !migration.applied).collect(), installed)),
        }
    }

    fn migration_failed(&self, error: MigrateError) -> OpenError {
        match error {
            MigrateError::VersionMissing(migration) => OpenError::Newer { url: self.url.clone(), migration },
            MigrateError::VersionMismatch(migration) => OpenError::Differs { url: self.url.clone(), migration },
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.failed(error),
            error => OpenError::Store { url: self.url.clone(), error: StoreError::Unavailable(error.to_string()) },
        }
    }
}

/// A URL without its password, wherever it says one, and without its other parameters.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        // Not a URL; it might be anything, even a password.
        return "...".to_owned();
    };
    match rest.rsplit_once('@') {
        Some((user, place)) => format!("{scheme}://{}@{place}", user.split(':').next().unwrap_or_default()),
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("postgres://me:secret@host:1/db?sslmode=require", "postgres://me@host:1/db"),
            ("postgres://me:se@cr:et@host/db", "postgres://me@host/db"),
            ("postgres://host/db?user=me&password=secret", "postgres://host/db"),
            ("host=a password=secret", "..."),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
        let error = Target::new("mysql://me:secret@host/db").err().unwrap().to_string();
        assert!(error.starts_with("\"mysql://me@host/db\" is not the URL"), "{error}");
        let error = Target::new("postgres://me:secret@host:port/db").err().unwrap().to_string();
        assert!(error.starts_with("\"postgres://me@host:port/db\" is not"), "{error}");
    }
}
