//! What a statement's placeholder stands for.

use std::sync::Arc;

use amends_core::Timestamp;
use sqlx::Arguments;
use sqlx::sqlite::SqliteArguments;
use uuid::Uuid;

use crate::database::DatabaseError;

/// One argument of a statement, in the order of its `$1`, `$2`, … placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A whole number; amounts are in minor units.
    Int(i64),
    /// A text.
    Text(&'a str),
    /// Bytes as they are, e.g. the sixteen of a UUID.
    Bytes(&'a [u8]),
    /// Nothing.
    Null,
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Int(truth.into())
    }
}

impl From<Timestamp> for Value<'_> {
    /// Milliseconds since 1970.
    fn from(time: Timestamp) -> Self {
        Self::Int(time.0)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Uuid> for Value<'a> {
    fn from(id: &'a Uuid) -> Self {
        Self::Bytes(id.as_bytes())
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Copies the arguments into the driver's own form: the statement runs on another thread.
pub(crate) fn arguments(values: &[Value<'_>]) -> Result<SqliteArguments, DatabaseError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        let added = match *value {
            Value::Int(number) => arguments.add(number),
            Value::Text(text) => arguments.add(Arc::<str>::from(text)),
            Value::Bytes(bytes) => arguments.add(bytes.to_vec()),
            Value::Null => arguments.add(None::<i64>),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
