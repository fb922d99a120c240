//! The sans-IO core of Amends: what a saga is and how it moves.
//!
//! Three pure functions carry the whole engine (`decide`, `evolve`, `react`):
//!
//! ```text
//! decide(saga, input, now)  -> events | rejected     what follows from this input
//! evolve(saga, event, at)                            the only code that changes a saga
//! react(saga, event, at)    -> effects               what the shell must do once the event is committed
//! ```
//!
//! Nothing here reads a clock, draws a random number, or waits: time and chance come in as arguments.

mod decide;
mod definition;
mod event;
mod evolve;
mod ids;
mod input;
mod payload;
mod react;
mod retry;
mod saga;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod time;
mod wire;

pub use decide::decide;
pub use definition::{
    Definition, DefinitionError, EventRule, Exhaustion, Mapping, On, Pointer, RetryPolicy, Root, Source,
    StepDefinition, StepIndex, StepKind, Trigger,
};
pub use event::{Action, Cause, CauseKind, Event, JOURNAL_FORMAT, Transition};
pub use evolve::evolve;
pub use ids::{CommandId, Epoch, IdempotencyKey, InvalidName, SagaId, SagaType, Shard, StepName};
pub use input::{Input, Operator, Rejected, Timer};
pub use payload::{Payload, PayloadError};
pub use react::{DomainEvent, Effect, command, outstanding, react, timers};
pub use saga::{Flight, Phase, Saga, Span, Status, StepState};
pub use time::{InvalidDuration, InvalidTimestamp, Millis, Timestamp};
pub use wire::{Command, Failure, Operation, Outcome, Reply, record};
