//! What goes wrong with a SQLite file, in the words of its callers.

use std::path::PathBuf;

use crate::store::StoreError;

/// Why a database file could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The folder that should hold the file is not there.
    #[error("the folder {0} does not exist")]
    NoFolder(PathBuf),
    /// The file, or its folder, may not be written.
    #[error("{0} cannot be written")]
    ReadOnly(PathBuf),
    /// There is something else under this name.
    #[error("{0} is not a database of Amends")]
    NotADatabase(PathBuf),
    /// Another process has it open.
    #[error("another amends is using {0}")]
    InUse(PathBuf),
    /// A newer program wrote it; its migration of this number is unknown here.
    #[error("{path} was written by a newer amends (its migration {migration} is not known to this one)")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The first migration that this program does not have.
        migration: i64,
    },
    /// Its tables were made by another text of a migration than this program's.
    #[error("{path} was written by another build of amends (its migration {migration} differs)")]
    Differs {
        /// The file.
        path: PathBuf,
        /// The migration.
        migration: i64,
    },
    /// The number of shards is fixed at install.
    #[error("{path} was installed with {installed} shards and cannot be opened with {asked}")]
    Shards {
        /// The file.
        path: PathBuf,
        /// As many as it has.
        installed: u16,
        /// As many as were asked for.
        asked: u16,
    },
    /// The database said something else.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Primary result codes, see <https://www.sqlite.org/rescode.html>; the extended ones keep them in the low byte.
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CONSTRAINT: i32 = 19;
const NOTADB: i32 = 26;

/// Names an error by what the caller does next.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(database) => match primary_code(&error) {
            Some(CONSTRAINT) => StoreError::Conflict(database.message().to_owned()),
            Some(CORRUPT | NOTADB) => StoreError::Corrupt(database.message().to_owned()),
            Some(FULL) => StoreError::Unavailable("the disk is full".to_owned()),
            Some(IOERR) => StoreError::Unavailable(format!("the disk is full or fails ({})", database.message())),
            Some(READONLY) => StoreError::Unavailable("the database file cannot be written".to_owned()),
            _ => StoreError::Unavailable(database.message().to_owned()),
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            StoreError::Corrupt(error.to_string())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Whether the file's first page is not that of a database.
pub(super) fn is_not_a_database(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(NOTADB)
}

/// Whether the file or its folder refuses writes.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(READONLY)
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
