//! Between the messages of `amends.v1` and the types of the core.

use std::fmt::Display;
use std::str::FromStr;

use amends_core::{
    Command, DomainEvent, Failure, Millis, Operation, Outcome, Payload, Reply, SagaType, StepName, Timestamp,
};
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::reply::Outcome as ProtoOutcome;

/// A message that is not what it should be; it names the field at fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub(super) struct InvalidField {
    pub(super) field: &'static str,
    pub(super) why: String,
}

/// Reads a command.
pub(super) fn command(message: proto::Command) -> Result<Command, InvalidField> {
    let operation = match message.operation() {
        proto::Operation::Execute => Operation::Execute,
        proto::Operation::Compensate => Operation::Compensate,
        proto::Operation::Unspecified => return Err(invalid("operation", "is neither EXECUTE nor COMPENSATE")),
    };
    if message.command.is_empty() {
        return Err(invalid("command", "is missing"));
    }
    let participant = message.command.split('.').next().unwrap_or_default().to_owned();
    Ok(Command {
        id: parse("id", &message.id)?,
        saga_id: parse("saga_id", &message.saga_id)?,
        saga_type: SagaType::new(&message.saga_type).map_err(|error| invalid("saga_type", error))?,
        step: StepName::new(&message.step).map_err(|error| invalid("step", error))?,
        operation,
        command: message.command,
        participant,
        // What is not said is the first.
        attempt: message.attempt.max(1),
        revision: message.revision,
        redrive: message.redrive,
        deadline: message.deadline.map_or(Timestamp(i64::MAX), time),
        payload: payload("payload", message.payload)?,
        cause: message.cause.map(|cause| Failure::new(cause.code, cause.message)),
    })
}

/// Writes a reply.
pub(super) fn reply(reply: Reply) -> proto::Reply {
    let failure = |failure: Failure| proto::Failure { code: failure.code, message: failure.message };
    let outcome = match reply.outcome {
        Outcome::Done(output) => ProtoOutcome::Done(proto::Done { output: output.as_str().to_owned() }),
        Outcome::Refused(why) => ProtoOutcome::Refused(failure(why)),
        Outcome::TryAgain { failure: why, after } => {
            ProtoOutcome::TryAgain(proto::TryAgain { failure: Some(failure(why)), after: after.map(span) })
        }
    };
    proto::Reply { command_id: reply.command_id.to_string(), outcome: Some(outcome) }
}

/// Reads a domain event.
pub(super) fn event(message: proto::DomainEvent) -> Result<DomainEvent, InvalidField> {
    Ok(DomainEvent {
        id: parse("id", &message.id)?,
        topic: message.topic,
        saga_id: parse("saga_id", &message.saga_id)?,
        saga_type: SagaType::new(&message.saga_type).map_err(|error| invalid("saga_type", error))?,
        at: message.time.map(time).ok_or_else(|| invalid("time", "is missing"))?,
        payload: payload("payload", message.payload)?,
    })
}

fn invalid(field: &'static str, why: impl Display) -> InvalidField {
    InvalidField { field, why: why.to_string() }
}

fn parse<T: FromStr>(field: &'static str, text: &str) -> Result<T, InvalidField> {
    text.parse().map_err(|_| invalid(field, "is not a UUID"))
}

fn payload(field: &'static str, text: String) -> Result<Payload, InvalidField> {
    // The parser's words may quote the value, which may hold what nobody shall see (I37).
    Payload::from_json(text).map_err(|_| invalid(field, "is not JSON"))
}

fn time(time: amends_proto::Timestamp) -> Timestamp {
    Timestamp(time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000)))
}

fn span(Millis(ms): Millis) -> amends_proto::Duration {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(ms % 1000 * 1_000_000).unwrap_or_default();
    amends_proto::Duration { seconds, nanos }
}
