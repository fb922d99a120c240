//! Runs one statement.

use rusqlite::{Connection, ToSql};

use super::{DriverError, RowRef};

/// Runs one statement to its end, shows its rows to `each` and returns how many rows it changed.
pub(super) fn run<A: ToSql>(
    connection: &Connection,
    sql: &str,
    args: &[A],
    mut each: impl FnMut(&RowRef<'_>) -> Result<(), DriverError>,
) -> Result<u64, DriverError> {
    let mut statement = connection.prepare_cached(sql)?;
    for index in 1..=statement.parameter_count() {
        // SQLite numbers `$2` by where it stands, not by its name.
        let name = statement.parameter_name(index);
        let number = name.and_then(|name| name.get(1..)?.parse().ok()).unwrap_or(index);
        let arg = args.get(number.wrapping_sub(1)).ok_or(rusqlite::Error::InvalidParameterCount(args.len(), number))?;
        statement.raw_bind_parameter(index, arg)?;
    }
    let changes = !statement.readonly();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        each(&RowRef::Sqlite(row))?;
    }
    drop(rows);
    Ok(if changes { connection.changes() } else { 0 })
}
