//! How commands reach participants and replies come back.
//!
//! A courier delivers at least once and promises no order; the participants' barrier and the core's matching of
//! replies make that enough. Replies and the word that a domain event arrived reach the engine through [`Inlet`].

pub mod conformance;
pub mod in_process;

use amends_core::{Command, DomainEvent, Reply};
use async_trait::async_trait;

/// Carries commands to participants.
#[async_trait]
pub trait Courier: Send + Sync + 'static {
    /// Hands a whole batch over. `Ok` means that each command is where the participant will find it ("sent"); after an
    /// error some may have been delivered, and all are sent again when their time-out fires.
    async fn send(&self, commands: Vec<Command>) -> Result<(), CourierError>;

    /// The word for lists: `in-process`, `kafka` or `grpc`.
    fn name(&self) -> &'static str;

    /// The commands that it can deliver now, as far as it knows, e.g. `payment.charge`.
    fn commands(&self) -> Vec<String>;
}

/// Carries domain events to their topics.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Publishes in the given order; `Ok` once all are durable or consumed. Called again with the same events after an error.
    async fn publish(&self, events: &[DomainEvent]) -> Result<(), CourierError>;
}

/// Why a batch was not handed over. The engine retries; nothing is lost.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CourierError {
    /// Nobody serves this command.
    #[error("no participant serves {0}")]
    Unserved(String),
    /// There is no room, or no connection, at present.
    #[error("the courier cannot take commands now: {0}")]
    Unavailable(String),
}

/// Takes replies in, on behalf of the engine. Bounded: waits when the engine is behind.
#[async_trait]
pub trait Inlet: Send + Sync + 'static {
    /// Brings replies, in any number and order.
    async fn replies(&self, replies: Vec<Reply>);
}
