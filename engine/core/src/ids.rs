//! Ids and names, each its own type so that none stands in for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::wire::Operation;

/// Namespace of every name-based id that Amends derives.
const NAMESPACE: Uuid = Uuid::from_u128(0x8f0c_51f2_3c74_5a0e_9d0a_616d_656e_6473);

/// Longest accepted name of a saga type or step, in characters: it is repeated in every journal row.
const NAME_MAX: usize = 64;

/// Longest accepted idempotency key, in characters.
const KEY_MAX: usize = 255;

/// Names one saga for ever.
///
/// With an idempotency key it is a UUIDv5 of type and key, so that the key alone finds the saga; without one the
/// shell supplies a time-ordered UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SagaId(Uuid);

impl SagaId {
    /// Derives the id of the saga that a client's key names.
    pub fn from_key(saga_type: &SagaType, key: &IdempotencyKey) -> Self {
        Self(derive(&["saga", saga_type.as_str(), key.as_str()]))
    }

    /// Wraps an id made elsewhere (a UUIDv7 of the shell, or one read back from a store).
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The bare UUID, for stores.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

/// Names one command, whatever its attempt: the idempotency key that participants and gateways see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(Uuid);

impl CommandId {
    /// Derives the id from what the command is. `revision` is 0 until an operator has a *refused* retriable step run
    /// again or edits its input; only then a new identity is safe and needed, since the old one has its stored answer.
    pub fn derive(saga: SagaId, step: &StepName, operation: Operation, revision: u32) -> Self {
        let mut name = Vec::with_capacity(16 + NAME_MAX + 16);
        name.extend_from_slice(saga.0.as_bytes());
        name.extend_from_slice(step.as_str().as_bytes());
        name.push(0);
        name.extend_from_slice(operation.as_str().as_bytes());
        if revision > 0 {
            name.extend_from_slice(&revision.to_be_bytes());
        }
        Self(Uuid::new_v5(&NAMESPACE, &name))
    }

    /// Wraps an id read from the wire or a store.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The bare UUID, for stores and headers.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

macro_rules! uuid_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidName::NotAUuid)
            }
        }
    )*};
}
uuid_text!(SagaId, CommandId);

/// Says why a name, key or id is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text is longer than the given number of characters.
    #[error("is longer than {0} characters")]
    TooLong(usize),
    /// The text holds a character that the kind of name does not allow.
    #[error("holds the character {0:?}, which is not allowed")]
    Character(char),
    /// The text is not a UUID.
    #[error("is not a UUID")]
    NotAUuid,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Arc<str>", into = "Arc<str>")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a text.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                check(text.as_ref(), $max, $allowed).map(|()| Self(Arc::from(text.as_ref())))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<Arc<str>> for $name {
            type Error = InvalidName;
            fn try_from(text: Arc<str>) -> Result<Self, InvalidName> {
                check(&text, $max, $allowed).map(|()| Self(text))
            }
        }
        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Self {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// The kind of a saga, e.g. `order`: lower-case letters, digits, `_` and `-`, at most 64 characters.
    SagaType, NAME_MAX, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-')
);
name!(
    /// The name of a step within its definition, e.g. `charge_payment`; same alphabet as [`SagaType`].
    StepName, NAME_MAX, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-')
);
name!(
    /// A client's idempotency key: 1 to 255 characters, no control characters.
    IdempotencyKey, KEY_MAX, |c| !c.is_control()
);

fn check(text: &str, max: usize, allowed: fn(char) -> bool) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty);
    }
    if text.chars().count() > max {
        return Err(InvalidName::TooLong(max));
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(InvalidName::Character(c)),
        None => Ok(()),
    }
}

/// Joins the parts by NUL, which no name or key may hold, so that no two lists of parts give the same id.
pub(crate) fn derive(parts: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, parts.join("\0").as_bytes())
}

/// Digests bytes into 128 bits: tells payloads and definitions apart. Not a defence against forgery.
pub(crate) fn digest(bytes: &[u8]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, bytes)
}

/// One of the fixed number of slices of all sagas; each has one owner at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shard(pub u16);

impl Shard {
    /// The shard of a saga, given the number of shards fixed at install. The last eight bytes of the id are random
    /// in a UUIDv7 and a digest in a UUIDv5; they are mixed once more so that neither's fixed bits show.
    pub fn of(saga: SagaId, shards: u16) -> Self {
        let low = saga.0.as_u128() as u64;
        let mixed = (low ^ (low >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        Self(((mixed >> 32) % u64::from(shards.max(1))) as u16)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the owners that a shard has had; a commit carries it as proof of ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_always_names_the_same_saga_and_types_do_not_mix() {
        let key = IdempotencyKey::new("k1").unwrap();
        let order = SagaType::new("order").unwrap();
        assert_eq!(SagaId::from_key(&order, &key), SagaId::from_key(&order, &key));
        assert_ne!(SagaId::from_key(&order, &key), SagaId::from_key(&SagaType::new("refund").unwrap(), &key));
    }

    #[test]
    fn a_command_id_depends_on_saga_step_operation_and_revision_only() {
        let saga = SagaId::from_uuid(Uuid::from_u128(7));
        let step = StepName::new("pay").unwrap();
        let ids: Vec<_> = [(Operation::Execute, 0), (Operation::Compensate, 0), (Operation::Execute, 1)]
            .map(|(operation, revision)| CommandId::derive(saga, &step, operation, revision))
            .to_vec();
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        assert_eq!(ids[0], CommandId::derive(saga, &step, Operation::Execute, 0));
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(SagaType::new(""), Err(InvalidName::Empty));
        assert_eq!(StepName::new("Pay"), Err(InvalidName::Character('P')));
        assert_eq!(IdempotencyKey::new("a\0b"), Err(InvalidName::Character('\0')));
        assert_eq!(IdempotencyKey::new("x".repeat(1001)), Err(InvalidName::TooLong(255)));
        assert!(serde_json::from_str::<StepName>("\"a b\"").is_err());
    }

    #[test]
    fn shards_are_even_for_both_kinds_of_id() {
        let order = SagaType::new("order").unwrap();
        let mut counts = [0u32; 16];
        for n in 0..16_000 {
            let key = IdempotencyKey::new(format!("k{n}")).unwrap();
            counts[usize::from(Shard::of(SagaId::from_key(&order, &key), 16).0)] += 1;
        }
        assert!(counts.iter().all(|c| (800..1200).contains(c)), "{counts:?}");
    }
}
