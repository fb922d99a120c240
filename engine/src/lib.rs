//! The async shell of Amends: it drives the pure core of `amends-core` against real databases, couriers and clients.
//!
//! Reading order: `store` and `courier` (the two ports), `shard` (who owns what, and the lane that moves sagas),
//! `service` (one use case a file), `api` (thin translations), `engine` (puts them together).

pub mod api;
pub mod courier;
mod definitions;
mod engine;
mod metrics;
pub mod service;
mod shard;
pub mod store;

pub use definitions::{Definitions, DefinitionsError};
pub use engine::{Ended, Engine, EngineConfig, EngineError};
pub use shard::LEASE_MIN;
