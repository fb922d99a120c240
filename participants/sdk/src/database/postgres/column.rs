//! Columns on their way from the server.

use sqlx::postgres::{PgRow, PgValueRef};
use sqlx::{Row as _, TypeInfo, ValueRef};

use super::super::DriverError;

/// What a column can be read as here.
pub(in crate::database) trait FromPostgres: Sized {
    fn read(row: &PgRow, index: usize) -> Result<Self, DriverError>;
}

impl FromPostgres for Option<i64> {
    fn read(row: &PgRow, index: usize) -> Result<Self, DriverError> {
        value(row, index, "a whole number", |kind, bytes| match (kind, bytes) {
            ("INT8", bytes) => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
            ("INT4", bytes) => Some(i32::from_be_bytes(bytes.try_into().ok()?).into()),
            ("INT2", bytes) => Some(i16::from_be_bytes(bytes.try_into().ok()?).into()),
            ("BOOL", [truth]) => Some((*truth).into()),
            _ => None,
        })
    }
}

impl FromPostgres for Option<String> {
    fn read(row: &PgRow, index: usize) -> Result<Self, DriverError> {
        value(row, index, "a text", |kind, bytes| match kind {
            "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "JSON" | "UNKNOWN" => String::from_utf8(bytes.to_vec()).ok(),
            // Its first byte is the version of the format.
            "JSONB" => String::from_utf8(bytes.get(1..)?.to_vec()).ok(),
            "UUID" => uuid::Uuid::from_slice(bytes).ok().map(|id| id.to_string()),
            _ => None,
        })
    }
}

impl FromPostgres for Option<Vec<u8>> {
    fn read(row: &PgRow, index: usize) -> Result<Self, DriverError> {
        value(row, index, "bytes", |kind, bytes| matches!(kind, "BYTEA" | "UUID").then(|| bytes.to_vec()))
    }
}

/// A column that may not be null.
pub(in crate::database) fn required<T>(row: &PgRow, index: usize) -> Result<T, DriverError>
where
    Option<T>: FromPostgres,
{
    let value = <Option<T> as FromPostgres>::read(row, index)?;
    value.ok_or_else(|| DriverError::Column(format!("column {index} is null")))
}

fn value<T>(
    row: &PgRow,
    index: usize,
    wanted: &str,
    read: impl FnOnce(&str, &[u8]) -> Option<T>,
) -> Result<Option<T>, DriverError> {
    let value: PgValueRef<'_> = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(None);
    }
    let bytes = value.as_bytes().map_err(|error| DriverError::Column(error.to_string()))?;
    let kind = value.type_info();
    let read = read(kind.name(), bytes);
    read.map(Some).ok_or_else(|| DriverError::Column(format!("column {index} is {}, not {wanted}", kind.name())))
}
