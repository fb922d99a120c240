//! A participant as a process of its own, behind Kafka: commands from `amends.<participant>.commands`, replies to where
//! each command says, domain events from their topics.
//!
//! ```text
//!           poll thread                   answerer                sender task              producer's thread
//! records ──► poll.rs, commands.rs ──► Host::run, or any ──► sender.rs: produce ──► delivery report ──► offset done
//!                    ▲                                                                                      │
//!                    └────────────── commit, each second: offsets.rs ◄──────────────────────────────────────┘
//! ```
//!
//! An offset is committed when every command up to it has had its reply delivered. Whatever comes twice because of a
//! crash or a rebalance, the barrier answers alike.

mod commands;
mod config;
mod events;
mod notices;
mod offsets;
mod outgoing;
mod poison;
mod poll;
mod sender;
mod tracker;

use std::time::Duration;

pub use commands::serve;
pub use config::KafkaConfig;
pub use events::subscribe;

/// The topic of records that nobody could deal with, unless configured otherwise.
pub const DEAD_LETTERS: &str = "amends.dead-letters";

/// The code of the refusal that a command gets which cannot be read.
pub const INVALID_COMMAND: &str = "INVALID_COMMAND";

/// Most records in hand: given to the participant, or answered and not yet delivered. More than the replies that a host
/// holds back, which must not stop all others.
const IN_HAND_MAX: usize = 16_384;

/// How long a worker that is told to stop takes to finish what it has in hand.
const GRACE: Duration = Duration::from_secs(5);
/// How long it then takes to commit and to leave its group, which needs the brokers.
const LEAVE: Duration = Duration::from_secs(5);

/// Why a worker could not start, or stopped without being told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Correct the configuration.
    #[error("the Kafka client does not accept its configuration: {0}")]
    Configuration(#[source] rdkafka::error::KafkaError),
    /// Start it again; see its log.
    #[error("{0} has ended without being told to")]
    Ended(&'static str),
}

#[cfg(test)]
mod tests;
