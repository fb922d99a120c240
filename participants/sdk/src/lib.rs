//! SDK for participant authors: the [`Step`] trait, the barrier, the host, the test kit.
//!
//! A participant is a set of steps on a database of its own. [`Host`] runs them: many commands per transaction, each
//! at most once, and it answers only what is durable. Duplicates, late commands and those out of order are the
//! [barrier](COMPENSATED_BEFORE)'s matter, not the author's.

mod barrier;
mod context;
mod database;
#[cfg(test)]
mod fixture;
mod guard;
mod host;
mod step;
mod subscription;
pub mod testkit;
mod value;

pub use amends_core::{
    Command, CommandId, DomainEvent, Failure, Millis, Operation, Outcome, Payload, Reply, SagaId, SagaType, StepName,
    Timestamp,
};
pub use barrier::{COMMAND_CONFLICT, COMPENSATED_BEFORE, SUPERSEDED};
pub use context::{EventContext, StepContext};
#[cfg(feature = "postgres")]
pub use database::PostgresDatabase;
pub use database::{
    Column, Database, DatabaseError, DatabaseKind, DriverError, Row, RowRef, SqliteDatabase, Transaction,
};
#[cfg(feature = "grpc")]
pub use host::grpc;
#[cfg(feature = "kafka")]
pub use host::kafka;
pub use host::{Host, HostBuilder, INVALID_INPUT, INVALID_OUTPUT, ReplySink, UNKNOWN_COMMAND};
pub use step::{Step, StepError};
pub use subscription::{DeliverError, PassedOver, Subscriber, Subscriptions};
pub use value::Value;
