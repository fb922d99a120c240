//! Opens a database file, or says plainly why not.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlitePool};

use super::error::{OpenError, is_not_a_database, is_read_only, store_error};
use super::shards;

/// The tables, as every program since the first has made them. Under a name of its own, so that a participant's tables
/// may live in the same file.
const MIGRATIONS: Migrator = sqlx::migrate!("../migrations/engine/sqlite");
const MIGRATIONS_TABLE: &str = "engine_migrations";

/// Connections for queries. More would wait for the processor, not for the disk.
const READERS: u32 = 4;

/// Page cache of the writer in KiB: it must hold what a burst of commits touches and the upper pages of the indexes of
/// a large archive. A larger one slows commits down, since each looks through it.
const WRITER_CACHE_KIB: u32 = 16 * 1024;

/// Pages of log after which a commit moves them into the file. Hot pages are logged again and again and moved once, so
/// a longer log means less to write; much longer, and reads have to search it.
const CHECKPOINT_PAGES: u32 = 4000;

/// What every database file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What a store is made of.
pub(super) struct Opened {
    pub(super) writer: SqliteConnection,
    /// None if the database is in memory: there it is that of one connection.
    pub(super) readers: Option<SqlitePool>,
    /// Held for the life of the store. The lock ends with the process, however it ends; the file stays.
    pub(super) lock: Option<File>,
    pub(super) shards: u16,
}

/// Opens a file, or memory.
pub(super) async fn open(path: &str, shards: Option<u16>) -> Result<Opened, OpenError> {
    if path == ":memory:" {
        let writer = prepare(Path::new(path), options().in_memory(true), shards).await?;
        return Ok(Opened { writer: writer.0, readers: None, lock: None, shards: writer.1 });
    }
    let path = place(Path::new(path))?;
    let lock = lock(&path)?;
    inspect(&path)?;
    let options = options()
        .filename(&path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("temp_store", "memory");
    let writing = options
        .clone()
        .create_if_missing(true)
        .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string());
    let (writer, shards) = prepare(&path, writing, shards).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .connect_lazy_with(options.pragma("query_only", "on"));
    Ok(Opened { writer, readers: Some(readers), lock: Some(lock), shards })
}

fn options() -> SqliteConnectOptions {
    // Statements carry what clients sent (I37), and looking each up in the log's filter costs time.
    SqliteConnectOptions::new().disable_statement_logging()
}

/// The one name of a file, so that two ways to write it lead to one lock.
fn place(path: &Path) -> Result<PathBuf, OpenError> {
    if let Ok(known) = path.canonicalize() {
        return if known.is_dir() { Err(OpenError::NotADatabase(known)) } else { Ok(known) };
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let no_folder = || OpenError::NoFolder(folder.to_owned());
    let name = path.file_name().ok_or_else(no_folder)?;
    Ok(folder.canonicalize().ok().filter(|folder| folder.is_dir()).ok_or_else(no_folder)?.join(name))
}

fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let name = lock_name(path);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
    let file = file.map_err(|error| refused(&name, &error))?;
    try_lock(path, &file)?;
    Ok(file)
}

fn try_lock(path: &Path, file: &File) -> Result<(), OpenError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse(path.to_owned()),
        TryLockError::Error(error) => refused(path, &error),
    })
}

/// Asks whether a lock could be had, without making anything.
pub(super) fn check_unused(path: &str) -> Result<(), OpenError> {
    let path = match place(Path::new(path)) {
        Err(OpenError::NoFolder(_)) => return Ok(()),
        place => place?,
    };
    match File::open(lock_name(&path)) {
        Ok(file) => try_lock(&path, &file),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(&path, &error)),
    }
}

/// Looks at a file before SQLite does, which would take a text file's word for its page size.
fn inspect(path: &Path) -> Result<(), OpenError> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(path, &error)),
    };
    let mut start = Vec::new();
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start).map_err(|error| refused(path, &error))?;
    if start.is_empty() || start == MAGIC { Ok(()) } else { Err(OpenError::NotADatabase(path.to_owned())) }
}

fn refused(path: &Path, error: &std::io::Error) -> OpenError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly(path.to_owned()),
        ErrorKind::StorageFull => OpenError::Store(crate::store::StoreError::Unavailable("the disk is full".into())),
        _ => OpenError::Store(crate::store::StoreError::Unavailable(format!("{}: {error}", path.display()))),
    }
}

/// Connects, brings the tables up to date, and installs the shards.
async fn prepare(
    path: &Path,
    options: SqliteConnectOptions,
    asked: Option<u16>,
) -> Result<(SqliteConnection, u16), OpenError> {
    let sql_error = |error: sqlx::Error| match error {
        error if is_not_a_database(&error) => OpenError::NotADatabase(path.to_owned()),
        error if is_read_only(&error) => OpenError::ReadOnly(path.to_owned()),
        error => OpenError::Store(store_error(error)),
    };
    let mut connection = options.connect().await.map_err(sql_error)?;
    let mut migrations = MIGRATIONS;
    migrations.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrations.run_direct(None, &mut connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(migration) => OpenError::Newer { path: path.to_owned(), migration },
        MigrateError::VersionMismatch(migration) => OpenError::Differs { path: path.to_owned(), migration },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => sql_error(error),
        error => OpenError::Store(crate::store::StoreError::Unavailable(error.to_string())),
    })?;
    let installed = shards::install(&mut connection, asked.unwrap_or(super::SHARDS).max(1)).await.map_err(sql_error)?;
    match asked {
        Some(asked) if asked != installed => Err(OpenError::Shards { path: path.to_owned(), installed, asked }),
        _ => Ok((connection, installed)),
    }
}
