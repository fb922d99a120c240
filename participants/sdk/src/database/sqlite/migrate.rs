//! Brings tables up to date, and keeps book of it as `sqlx` does: its tool can read it, and files of earlier programs
//! open.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::Connection;
use sqlx::migrate::{MigrateError, Migration, Migrator};

use super::{DatabaseError, DriverError};

const BOOK: &str = "\
    CREATE TABLE IF NOT EXISTS _sqlx_migrations (\
        version BIGINT PRIMARY KEY, \
        description TEXT NOT NULL, \
        installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
        success BOOLEAN NOT NULL, \
        checksum BLOB NOT NULL, \
        execution_time BIGINT NOT NULL)";
const APPLIED: &str = "SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version";
const ENTER: &str = "\
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
    VALUES (?1, ?2, TRUE, ?3, ?4)";

/// Applies what is missing, each migration in a transaction of its own.
pub(super) fn migrate(connection: &Connection, migrations: &Migrator) -> Result<(), DatabaseError> {
    let ups = || migrations.iter().filter(|migration| !migration.migration_type.is_down_migration());
    connection.execute_batch(BOOK).map_err(DriverError::from)?;
    let mut applied = applied(connection)?;
    let missing: Vec<&Migration> = ups().filter(|migration| !applied.contains_key(&migration.version)).collect();
    for migration in ups() {
        if let Some(checksum) = applied.remove(&migration.version)
            && migration.checksum != checksum
        {
            return Err(DatabaseError::Foreign(MigrateError::VersionMismatch(migration.version)));
        }
    }
    let known = ups().map(|migration| migration.version).max().unwrap_or(0);
    // The first one that is not known, as `sqlx` names it.
    match applied.into_keys().min() {
        Some(found) if found > known => return Err(DatabaseError::Newer { found, known }),
        Some(found) => return Err(DatabaseError::Foreign(MigrateError::VersionMissing(found))),
        None => {}
    }
    for migration in missing {
        apply(connection, migration).inspect_err(|_| {
            // An error here says that SQLite has rolled back already.
            let _ = connection.execute_batch("ROLLBACK");
        })?;
    }
    Ok(())
}

fn applied(connection: &Connection) -> Result<HashMap<i64, Vec<u8>>, DatabaseError> {
    let mut applied = HashMap::new();
    let read = || -> Result<Vec<(i64, bool, Vec<u8>)>, rusqlite::Error> {
        let mut statement = connection.prepare(APPLIED)?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
    };
    for (version, success, checksum) in read().map_err(DriverError::from)? {
        if !success {
            return Err(DatabaseError::Foreign(MigrateError::Dirty(version)));
        }
        applied.insert(version, checksum);
    }
    Ok(applied)
}

fn apply(connection: &Connection, migration: &Migration) -> Result<(), DriverError> {
    let started = Instant::now();
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.execute_batch(migration.sql.as_str())?;
    let took = i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX);
    connection.execute(ENTER, (migration.version, &*migration.description, &*migration.checksum, took))?;
    connection.execute_batch("COMMIT")?;
    Ok(())
}
