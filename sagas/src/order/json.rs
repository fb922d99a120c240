//! Reads JSON objects member by member, so that every complaint can name the field and no number is converted.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::front::FieldError;

/// The name under which complaints about the text as a whole go.
const BODY: &str = "body";

/// How much of a client's text a message repeats, in characters.
const QUOTE_MAX: usize = 40;

/// The members of one JSON object, unread.
pub(super) struct Fields<'j> {
    path: String,
    members: Vec<(String, &'j RawValue)>,
}

impl<'j> Fields<'j> {
    /// Reads a whole text that must be one object.
    pub(super) fn of_text(json: &'j str, known: &[&str]) -> Result<Self, FieldError> {
        let body =
            serde_json::from_str(json).map_err(|error| FieldError::new(BODY, format!("is not JSON: {error}")))?;
        Self::of_value(body, String::new(), known)
    }

    /// Reads a value that must be an object; `path` is how to name it, empty for the whole text.
    pub(super) fn of_value(value: &'j RawValue, path: String, known: &[&str]) -> Result<Self, FieldError> {
        let name = if path.is_empty() { BODY } else { &path };
        if !value.get().starts_with('{') {
            return Err(FieldError::new(name, "must be a JSON object"));
        }
        let Members(members) = serde_json::from_str(value.get())
            .map_err(|error| FieldError::new(name, format!("cannot be read: {error}")))?;
        let fields = Self { path, members };
        for (index, (member, _)) in fields.members.iter().enumerate() {
            if !known.contains(&member.as_str()) {
                let message = format!("is not a known field; known are {}", known.join(", "));
                return Err(FieldError::new(fields.name(&quote(member)), message));
            }
            if fields.members[..index].iter().any(|(other, _)| other == member) {
                return Err(FieldError::new(fields.name(member), "is given twice"));
            }
        }
        Ok(fields)
    }

    /// How to name a member.
    pub(super) fn name(&self, member: &str) -> String {
        if self.path.is_empty() { member.to_owned() } else { format!("{}.{member}", self.path) }
    }

    /// A member that must be there, unread; `null` counts as missing.
    pub(super) fn value(&self, member: &str) -> Result<&'j RawValue, FieldError> {
        self.optional(member).ok_or_else(|| FieldError::new(self.name(member), "is required"))
    }

    /// A member that must be a string.
    pub(super) fn text(&self, member: &str) -> Result<String, FieldError> {
        self.decoded(member, self.value(member)?)
    }

    /// A member that may be missing or `null`, and else must be a string.
    pub(super) fn optional_text(&self, member: &str) -> Result<Option<String>, FieldError> {
        self.optional(member).map(|value| self.decoded(member, value)).transpose()
    }

    /// A member that must be a list.
    pub(super) fn list(&self, member: &str) -> Result<Vec<&'j RawValue>, FieldError> {
        let value = self.value(member)?;
        serde_json::from_str(value.get()).map_err(|_| FieldError::new(self.name(member), "must be a list"))
    }

    fn optional(&self, member: &str) -> Option<&'j RawValue> {
        let (_, value) = self.members.iter().find(|(name, _)| name == member)?;
        (value.get() != "null").then_some(*value)
    }

    fn decoded(&self, member: &str, value: &RawValue) -> Result<String, FieldError> {
        serde_json::from_str(value.get()).map_err(|_| FieldError::new(self.name(member), "must be a string"))
    }
}

/// Repeats a client's text in a message: short, and without characters that would break the line.
pub(super) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTE_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTE_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}

struct Members<'j>(Vec<(String, &'j RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
