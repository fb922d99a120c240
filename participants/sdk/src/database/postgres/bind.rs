//! Arguments on their way to the server, in the form that it expects for each placeholder.
//!
//! The server itself says what type a placeholder has. So one statement text serves both databases: a number, or
//! nothing, needs no type of its own.

use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments, Postgres, Type, TypeInfo};

use super::super::DriverError;
use crate::value::Value;

/// What the server expects for a placeholder.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    Int8,
    Int4,
    Int2,
    Bool,
    Text,
    Jsonb,
    Uuid,
    Bytes,
    Other,
}

impl Expected {
    pub(super) fn of(parameter: &PgTypeInfo) -> Self {
        match parameter.name() {
            "INT8" => Self::Int8,
            "INT4" => Self::Int4,
            "INT2" => Self::Int2,
            "BOOL" => Self::Bool,
            "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "JSON" | "UNKNOWN" => Self::Text,
            "JSONB" => Self::Jsonb,
            "UUID" => Self::Uuid,
            "BYTEA" => Self::Bytes,
            _ => Self::Other,
        }
    }
}

/// One argument, and what it is to be sent as.
struct Bound<'a>(Value<'a>, Expected);

impl Type<Postgres> for Bound<'_> {
    /// Of no consequence: the statement is prepared by the time it is asked for.
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Bound<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match (self.0, self.1) {
            (Value::Null, _) => return Ok(IsNull::Yes),
            (Value::Int(number), Expected::Int8) => buffer.extend_from_slice(&number.to_be_bytes()),
            (Value::Int(number), Expected::Int4) => buffer.extend_from_slice(&i32::try_from(number)?.to_be_bytes()),
            (Value::Int(number), Expected::Int2) => buffer.extend_from_slice(&i16::try_from(number)?.to_be_bytes()),
            (Value::Int(number @ 0..=1), Expected::Bool) => buffer.push(u8::from(number == 1)),
            (Value::Text(text), Expected::Text) => buffer.extend_from_slice(text.as_bytes()),
            (Value::Text(text), Expected::Jsonb) => {
                // The version of the format.
                buffer.push(1);
                buffer.extend_from_slice(text.as_bytes());
            }
            (Value::Text(text), Expected::Uuid) => buffer.extend_from_slice(uuid::Uuid::parse_str(text)?.as_bytes()),
            (Value::Bytes(bytes), Expected::Uuid) if bytes.len() == 16 => buffer.extend_from_slice(bytes),
            (Value::Bytes(bytes), Expected::Bytes) => buffer.extend_from_slice(bytes),
            (value, expected) => return Err(format!("{} where {expected:?} is expected", kind(value)).into()),
        }
        Ok(IsNull::No)
    }
}

/// Names the kind only: a value may be a secret.
const fn kind(value: Value<'_>) -> &'static str {
    match value {
        Value::Int(_) => "a number",
        Value::Text(_) => "a text",
        Value::Bytes(_) => "bytes",
        Value::Null => "nothing",
    }
}

/// Puts the arguments of a statement together.
pub(super) fn bind(args: &[Value<'_>], expected: &[Expected]) -> Result<PgArguments, DriverError> {
    let mut arguments = PgArguments::default();
    for (at, expected) in expected.iter().enumerate() {
        let wrong = |why: &dyn std::fmt::Display| DriverError::Argument(format!("argument {}: {why}", at + 1));
        let value = args.get(at).ok_or_else(|| wrong(&"it is missing"))?;
        arguments.add(Bound(*value, *expected)).map_err(|error| wrong(&error))?;
    }
    Ok(arguments)
}
