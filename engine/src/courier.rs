//! How commands reach participants and replies come back.
//!
//! A courier delivers at least once and promises no order; the participants' barrier and the core's matching of
//! replies make that enough. Replies reach the engine through [`Inlet`]: those of a log with their position, which the
//! lane commits with what it decides, so that each record is accounted for exactly once.

pub mod by_participant;
pub mod conformance;
pub mod grpc;
mod hindered;
pub mod in_process;
#[cfg(feature = "kafka")]
pub mod kafka;

use amends_core::{Command, DomainEvent, Epoch, Reply, Shard, Timestamp};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::store::{DeadLetter, Lease};

/// Carries commands to participants.
#[async_trait]
pub trait Courier: Send + Sync + 'static {
    /// Hands a whole batch over. `Ok` means that each command is where the participant will find it ("sent"), is held
    /// (see [`Courier::holds`]), or is on its way there in a bounded queue; after an error some may have been delivered.
    /// Whatever is lost is sent again when its time-out fires (I25). What does not fit is reported, never waited for
    /// longer than a moment.
    async fn send(&self, commands: Vec<Command>) -> Result<(), CourierError>;

    /// Whom it can reach, as far as it knows, by name.
    fn served(&self) -> Vec<Served>;

    /// Whether a command to a participant, sent at that time, has not reached it yet, as far as is known: it is held back,
    /// since nobody takes it, or waits to be read. The clock of its attempt stands still meanwhile. Cheap: asked for
    /// every time-out.
    fn holds(&self, _participant: &str, _sent: Timestamp) -> bool {
        false
    }

    /// When a command to a participant, or its reply, was last hindered by what lies between: not handed over, perhaps lost,
    /// or late. What was sent before, and times out, is sent again as the same attempt. Cheap, like [`Courier::holds`].
    fn hindered(&self, _participant: &str) -> Timestamp {
        Timestamp(0)
    }

    /// Replies that a log has brought, each with its saga's shard, which this engine does not have: they are put where that
    /// shard's owner reads. `Ok` once all are durable there; waits for that a moment at most.
    async fn send_on(&self, _replies: &[(Shard, Source)]) -> Result<(), CourierError> {
        Err(CourierError::Unavailable("it keeps no log".to_owned()))
    }

    /// The engine has taken a shard over. A courier whose replies come from a log reads them from the lease's cursor and
    /// brings them under its epoch. Does not wait.
    fn assigned(&self, _lease: &Lease) {}

    /// The engine has lost a shard, or given it up. Does not wait.
    fn revoked(&self, _shard: Shard) {}
}

/// A participant as a courier sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its name, e.g. `payment`.
    pub participant: String,
    /// The word for the courier: `in-process`, `kafka` or `grpc`.
    pub courier: &'static str,
    /// Where it is reached: a topic or an address; empty in one process.
    pub target: String,
    /// Commands that it answers to, e.g. `payment.charge`; empty if that is not known.
    pub commands: Vec<String>,
    /// Why its commands do not reach it at present, if they do not.
    pub held: Option<String>,
}

/// Carries domain events to their topics.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Publishes in the given order; `Ok` once all are durable or consumed. Called again with the same events after an error.
    async fn publish(&self, events: &[DomainEvent]) -> Result<(), CourierError>;

    /// Shows dead letters where others look for them. A projection: what is lost here is still in the database.
    async fn show_dead_letters(&self, _letters: &[DeadLetter]) -> Result<(), CourierError> {
        Ok(())
    }
}

/// Why not all of a batch was handed over. Its time-outs have it sent again; nothing is lost.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CourierError {
    /// Nobody serves this command.
    #[error("no participant serves {0}")]
    Unserved(String),
    /// It does not take this command, however often it is tried.
    #[error("the courier refuses a command: {0}")]
    Refused(String),
    /// There is no room, or no connection, at present.
    #[error("the courier cannot take commands now: {0}")]
    Unavailable(String),
}

/// Takes replies in, on behalf of the engine. Bounded: waits when the engine is behind.
#[async_trait]
pub trait Inlet: Send + Sync + 'static {
    /// Brings replies, in any number and order.
    async fn replies(&self, replies: Vec<Reply>);

    /// Brings the next records of a shard's log, in their order and with none left out.
    async fn records(&self, records: Records);

    /// Says that a shard's log cannot be read on without skipping something: the shard stands still until `why` is `None`
    /// again. An epoch that is over changes nothing.
    async fn halt(&self, shard: Shard, epoch: Epoch, why: Option<String>);
}

/// A run of records from the log of one shard.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    /// Whose log.
    pub shard: Shard,
    /// The epoch under which it was assigned; the lane drops what belongs to an older one.
    pub epoch: Epoch,
    /// The position after the last of them: the cursor once they are accounted for (I22).
    pub next: i64,
    /// The replies among them, with where they come from. Most sagas are of this shard or of others in its lane.
    pub replies: Vec<(Reply, Source)>,
    /// Those that are no replies, or came the wrong way twice.
    pub poison: Vec<Poison>,
}

/// Where a reply was read, kept as it came for the case that no saga wants it. Shared, never copied.
pub type Source = std::sync::Arc<SourceRecord>;

/// A record that cannot be a reply to anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Poison {
    /// The record.
    pub source: Source,
    /// What is wrong with it: a stable code, e.g. `INVALID_REPLY`.
    pub code: &'static str,
    /// The same for people.
    pub message: String,
}

/// The reply's saga belongs to another shard, and sending it on has not helped.
const MISROUTED: &str = "MISROUTED";

impl Poison {
    /// A reply to a saga of another engine's shard that may not have reached it.
    pub(crate) fn misrouted(source: Source, right: Shard, why: &dyn std::fmt::Display) -> Self {
        let message = format!("belongs to partition {right} and may not have reached it: {why}");
        Self { source, code: MISROUTED, message }
    }
}

/// A record of a log, bit for bit (I33).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp, in milliseconds since 1970; -1 if it has none.
    pub timestamp: i64,
    /// Its key, if any.
    #[serde(with = "base64_bytes")]
    pub key: Option<Vec<u8>>,
    /// Its value, if any.
    #[serde(with = "base64_bytes")]
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<SourceHeader>,
}

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceHeader {
    /// Its name.
    pub name: String,
    /// Its value, if any.
    #[serde(with = "base64_bytes")]
    pub value: Option<Vec<u8>>,
}

/// Bytes as base64 in JSON.
mod base64_bytes {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| BASE64_STANDARD.decode(text)).transpose().map_err(serde::de::Error::custom)
    }
}
