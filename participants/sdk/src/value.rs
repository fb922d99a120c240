//! What a statement's placeholder stands for.

use amends_core::Timestamp;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use uuid::Uuid;

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

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Int(number) => ValueRef::Integer(number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Null => ValueRef::Null,
        }))
    }
}

/// Copies arguments, for a statement that runs on another thread.
pub(crate) fn owned(values: &[Value<'_>]) -> Vec<rusqlite::types::Value> {
    let copy = |value: &Value<'_>| match *value {
        Value::Int(number) => number.into(),
        Value::Text(text) => text.to_owned().into(),
        Value::Bytes(bytes) => bytes.to_vec().into(),
        Value::Null => rusqlite::types::Value::Null,
    };
    values.iter().map(copy).collect()
}
