//! Brings tables up to date. Programs that start at the same time take turns.

use std::borrow::Cow;

use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;

use super::super::{DatabaseError, DriverError};

/// Where migrations are entered, unless their author has named another place. Not sqlx's own: the engine uses that one,
/// and may share the database.
const BOOK: &str = "_amends_participants_migrations";

/// Applies what is missing, each migration in a transaction of its own.
pub(super) async fn migrate(mut session: PgConnection, migrations: &Migrator) -> Result<(), DatabaseError> {
    let table_name = match &*migrations.table_name {
        "_sqlx_migrations" => Cow::Borrowed(BOOK),
        _ => migrations.table_name.clone(),
    };
    let migrations = Migrator {
        migrations: migrations.migrations.clone(),
        table_name,
        create_schemas: migrations.create_schemas.clone(),
        ..Migrator::DEFAULT
    };
    let applied = migrations.run_direct(None, &mut session, false).await;
    // Closing it gives up the turn, too, which an error leaves taken.
    if let Err(error) = session.close().await {
        tracing::debug!(%error, "the connection for migrations was not closed cleanly");
    }
    applied.map_err(|error| {
        let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
        match error {
            MigrateError::VersionMissing(found) if found > known => DatabaseError::Newer { found, known },
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => DriverError::from(error).into(),
            error => DatabaseError::Foreign(error),
        }
    })
}
