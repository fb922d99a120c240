//! JSON that passes through: kept as the text it came in, shared instead of copied, parsed only where it is used.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// One JSON value as text. Numbers keep every digit they came with; a clone copies a pointer.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Arc<RawValue>);

/// The text is not JSON, or the JSON is not of the shape asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PayloadError(#[from] serde_json::Error);

impl Payload {
    /// Checks that a text is one JSON value, and keeps it.
    pub fn from_json(text: String) -> Result<Self, PayloadError> {
        Ok(Self(RawValue::from_string(text)?.into()))
    }

    /// Writes a value as JSON.
    pub fn encode(value: &impl Serialize) -> Result<Self, PayloadError> {
        Ok(Self(serde_json::value::to_raw_value(value)?.into()))
    }

    /// The JSON value `null`.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }

    /// Reads the value into a type of the caller's.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        Ok(serde_json::from_str(self.0.get())?)
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Digest of the text: equal for copies of one command, different for another payload.
    pub fn digest(&self) -> Uuid {
        crate::ids::digest(self.0.get().as_bytes())
    }

    /// The part that a JSON pointer (RFC 6901) names, still as text; `None` if there is none.
    pub fn pointer(&self, pointer: &str) -> Option<&RawValue> {
        let mut here: &RawValue = &self.0;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let mut reader = serde_json::Deserializer::from_str(here.get());
            here = serde::Deserializer::deserialize_any(&mut reader, Child(&token)).ok().flatten()?;
        }
        Some(here)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

/// Finds one member of an object or array and borrows its text; the other members are passed over.
struct Child<'t>(&'t str);

impl<'de> Visitor<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let wanted: Option<usize> = self.0.parse().ok();
        let mut found = None;
        let mut index = 0;
        while let Some(value) = seq.next_element::<&'de RawValue>()? {
            if Some(index) == wanted {
                found = Some(value);
            }
            index += 1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_through_with_every_digit() {
        let payload = Payload::from_json(r#"{"price":1299.99,"n":[1e400,9223372036854775808]}"#.into()).unwrap();
        assert_eq!(payload.pointer("/price").unwrap().get(), "1299.99");
        assert_eq!(payload.pointer("/n/0").unwrap().get(), "1e400");
        assert_eq!(payload.pointer("/n/1").unwrap().get(), "9223372036854775808");
    }

    #[test]
    fn a_pointer_to_nothing_is_none() {
        let payload = Payload::from_json(r#"{"a/b":{"c":1},"s":"x"}"#.into()).unwrap();
        assert_eq!(payload.pointer("/a~1b/c").unwrap().get(), "1");
        for missing in ["/x", "/s/0", "/a~1b/c/d", "/a~1b/9"] {
            assert!(payload.pointer(missing).is_none(), "{missing}");
        }
        assert_eq!(payload.pointer("").unwrap().get(), payload.as_str());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "NaN", "{}x"] {
            assert!(Payload::from_json(text.into()).is_err(), "{text}");
        }
    }
}
