//! Opens connections, or says plainly why not.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Names a database in memory.
pub(super) const MEMORY: &str = ":memory:";
/// Another process may hold the write lock (a backup, a second worker): wait this long before giving up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Every statement of every participant, and the barrier's, stays prepared.
const STATEMENT_CACHE: usize = 256;
/// Barrier keys that clients chose are spread over the whole tree: keep its upper levels and hot leaves in memory.
const CACHE_KIB: i32 = 32 * 1024;
/// Pages (of 4 kB) in the log before they are copied into the database: a page changed often is copied once.
const CHECKPOINT_PAGES: u32 = 4000;

/// Opens the connection that writes; makes the file where there is none.
pub(super) fn writer(path: &str) -> Result<Connection, String> {
    check_file(path)?;
    let open = || -> Result<Connection, rusqlite::Error> {
        let connection = connect(path)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        // SQLite opens what it may not write as read-only and says so only at the first change: change something.
        connection.execute_batch("BEGIN IMMEDIATE; PRAGMA application_id = 1; ROLLBACK")?;
        Ok(connection)
    };
    open().map_err(|error| error.to_string())
}

/// Opens a connection that cannot write.
pub(super) fn reader(path: &str) -> Result<Connection, rusqlite::Error> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &str) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // Savepoints keep what they may have to restore there.
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

fn check_file(path: &str) -> Result<(), String> {
    if path == MEMORY {
        return Ok(());
    }
    match std::fs::metadata(path) {
        Ok(file) if file.is_dir() => return Err("it is a directory; name a file in it".into()),
        Ok(file) if file.permissions().readonly() => return Err("the file is read-only".into()),
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    match Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => Err(format!("the folder {} does not exist", folder.display())),
        _ => Ok(()),
    }
}
