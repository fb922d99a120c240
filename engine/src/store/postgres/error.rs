//! What goes wrong with a Postgres database, in the words of its callers.

use amends_core::Shard;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::session::LOCK;
use crate::store::StoreError;

/// What a commit's fence raises, with the shard as the message.
pub(super) const FENCED: &str = "FENCE";

/// Why a database could not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The text says no database.
    #[error("{0:?} is not the URL of a Postgres database, such as postgres://user@host/database")]
    Url(String),
    /// It has none of the tables, or not all.
    #[error("{url} lacks migration {migration}; make its tables with: amends migrate up --store {url}")]
    NotMigrated {
        /// The database, without its password.
        url: String,
        /// The first migration that it lacks.
        migration: i64,
    },
    /// It has the tables, but no shards.
    #[error("{url} has no shards yet; install them with: amends migrate up --store {url}")]
    NotInstalled {
        /// The database, without its password.
        url: String,
    },
    /// A newer program made its tables; its migration of this number is unknown here.
    #[error(
        "{url} was migrated by a newer amends (its migration {migration} is not known to this one); \
         `amends migrate status --store {url}` lists them"
    )]
    Newer {
        /// The database, without its password.
        url: String,
        /// The first migration that this program does not have.
        migration: i64,
    },
    /// Its tables were made by another text of a migration than this program's.
    #[error("{url} was migrated by another build of amends (its migration {migration} differs)")]
    Differs {
        /// The database, without its password.
        url: String,
        /// The migration.
        migration: i64,
    },
    /// The number of shards is fixed at install.
    #[error("{url} was installed with {installed} shards and cannot be used with {asked}")]
    Shards {
        /// The database, without its password.
        url: String,
        /// As many as it has.
        installed: u16,
        /// As many as were asked for.
        asked: u16,
    },
    /// The server cannot do what the store needs.
    #[error("{url} is a Postgres {found}; Amends needs {needed} or newer")]
    Server {
        /// The database, without its password.
        url: String,
        /// Its major version.
        found: i32,
        /// The oldest that will do.
        needed: i32,
    },
    /// The server is there and lets nobody in: no such database, no such user, a wrong password.
    #[error("{url}: {why}")]
    Refused {
        /// The database, without its password.
        url: String,
        /// In the server's words.
        why: String,
    },
    /// Leases must outlast every wait for a lock.
    #[error("a lease of {asked_ms} ms is too short; it must be longer than {} ms, the wait for a lock", LOCK.as_millis())]
    Lease {
        /// As long as was asked for.
        asked_ms: u64,
    },
    /// The database said something else.
    #[error("{url}: {error}")]
    Store {
        /// The database, without its password.
        url: String,
        /// What it said.
        error: StoreError,
    },
}

/// Names an error by what the caller does next. Classes and codes: appendix A of the Postgres manual.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    let Some(database) = of_database(&error) else {
        return match &error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                StoreError::Corrupt(error.to_string())
            }
            _ => StoreError::Unavailable(error.to_string()),
        };
    };
    let message = database.message();
    match database.code() {
        FENCED => {
            message.parse().map_or_else(|_| StoreError::Corrupt(message.to_owned()), |n| StoreError::Fenced(Shard(n)))
        }
        "25006" => StoreError::Unavailable("it can only be read, as a standby can".to_owned()),
        "55P03" => StoreError::Unavailable(format!("a lock was not released within {} s", LOCK.as_secs())),
        "57014" => StoreError::Unavailable("it took too long".to_owned()),
        // Damaged pages and indexes.
        code if code.starts_with("XX00") && code != "XX000" => StoreError::Corrupt(message.to_owned()),
        code => match &code[..2] {
            // A constraint, a trigger of ours, or a value that its column cannot hold.
            "22" | "23" => StoreError::Conflict(message.to_owned()),
            "53" => StoreError::Unavailable(format!("it is out of something ({message})")),
            // Tables or columns that are not there, or not ours to use.
            "42" | "3F" => StoreError::Corrupt(message.to_owned()),
            _ => StoreError::Unavailable(message.to_owned()),
        },
    }
}

/// Whether the statement was rolled back for reasons that are none of its own, so that it may simply run again.
pub(super) fn is_to_be_repeated(error: &sqlx::Error) -> bool {
    of_database(error).is_some_and(|database| {
        // Serialization, deadlock; and a number of a saga that was given twice: the next one is another.
        matches!(database.code(), "40001" | "40P01") || database.constraint() == Some("sagas_pkey")
    })
}

/// Whether it is unknown what became of a statement: everything but the server's own word that it failed. The server
/// also says so when it ends a connection, be it before the statement or after it.
pub(super) fn is_unknown(error: &sqlx::Error) -> bool {
    of_database(error).is_none_or(|database| {
        matches!(database.severity(), PgSeverity::Fatal | PgSeverity::Panic)
            || matches!(database.code(), "40003" | "08007")
    })
}

/// Why the server lets nobody in, if that is what an error says. Asking again is of no use.
pub(super) fn refusal(error: &sqlx::Error) -> Option<String> {
    let database = of_database(error)?;
    matches!(&database.code()[..2], "28" | "3D").then(|| database.message().to_owned())
}

/// Whether a table is missing.
pub(super) fn is_missing_table(error: &sqlx::Error) -> bool {
    of_database(error).is_some_and(|database| database.code() == "42P01")
}

fn of_database(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()
}
