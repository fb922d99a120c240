//! Commands and events into the wire's words, replies out of them.

use amends_core::{Command, DomainEvent, Failure, Millis, Operation, Outcome, Payload, Reply, Timestamp};
use amends_proto::amends::v1 as proto;
use amends_proto::{Duration as ProtoDuration, Timestamp as ProtoTimestamp};

pub(super) fn command(command: &Command) -> proto::Command {
    let operation = match command.operation {
        Operation::Execute => proto::Operation::Execute,
        Operation::Compensate => proto::Operation::Compensate,
    };
    proto::Command {
        id: command.id.to_string(),
        saga_id: command.saga_id.to_string(),
        saga_type: command.saga_type.to_string(),
        step: command.step.to_string(),
        operation: operation.into(),
        command: command.command.clone(),
        attempt: command.attempt,
        revision: command.revision,
        redrive: command.redrive,
        deadline: Some(timestamp(command.deadline)),
        payload: command.payload.as_str().to_owned(),
        cause: command.cause.clone().map(|cause| proto::Failure { code: cause.code, message: cause.message }),
    }
}

pub(super) fn event(event: &DomainEvent) -> proto::DomainEvent {
    proto::DomainEvent {
        id: event.id.to_string(),
        topic: event.topic.clone(),
        saga_id: event.saga_id.to_string(),
        saga_type: event.saga_type.to_string(),
        time: Some(timestamp(event.at)),
        payload: event.payload.as_str().to_owned(),
    }
}

/// The reply to a command. An error says what is wrong with the participant's message; what it stands for is unknown.
pub(super) fn reply(command: &Command, reply: proto::Reply) -> Result<Reply, &'static str> {
    use proto::reply::Outcome as Wire;
    let outcome = match reply.outcome {
        // The parser's words may quote the value, which may hold what nobody shall see (I37).
        Some(Wire::Done(done)) => Outcome::Done(Payload::from_json(done.output).map_err(|_| "its output is not JSON")?),
        Some(Wire::Refused(why)) => Outcome::Refused(failure(why)?),
        Some(Wire::TryAgain(again)) => Outcome::TryAgain {
            failure: failure(again.failure.ok_or("it says to try again and not why")?)?,
            after: again.after.as_ref().map(millis),
        },
        None => return Err("it holds no outcome that this engine knows"),
    };
    Ok(Reply {
        command_id: command.id,
        saga_id: command.saga_id,
        step: command.step.clone(),
        operation: command.operation,
        attempt: command.attempt,
        outcome,
    })
}

fn failure(failure: proto::Failure) -> Result<Failure, &'static str> {
    if failure.code.is_empty() {
        return Err("its failure has no code");
    }
    Ok(Failure::new(failure.code, failure.message))
}

fn timestamp(at: Timestamp) -> ProtoTimestamp {
    // Within a second there are at most 999 million nanoseconds, which fit.
    let nanos = i32::try_from(at.0.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    ProtoTimestamp { seconds: at.0.div_euclid(1_000), nanos }
}

/// A wait; one below nothing is nothing.
fn millis(span: &ProtoDuration) -> Millis {
    let ms = span.seconds.saturating_mul(1_000).saturating_add(i64::from(span.nanos / 1_000_000));
    Millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::grpc::tests::command as sample;

    fn answer(outcome: Option<proto::reply::Outcome>) -> proto::Reply {
        proto::Reply { command_id: String::new(), outcome }
    }

    #[test]
    fn what_is_no_reply_is_unknown_and_quotes_nothing() {
        use proto::reply::Outcome as Wire;
        let command = sample(1);
        let nameless = proto::Failure { code: String::new(), message: "secret".into() };
        for outcome in [
            None,
            Some(Wire::Done(proto::Done { output: "{secret".into() })),
            Some(Wire::Refused(nameless)),
            Some(Wire::TryAgain(proto::TryAgain { failure: None, after: None })),
        ] {
            let error = reply(&command, answer(outcome)).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_wait_below_nothing_is_nothing() {
        assert_eq!(millis(&ProtoDuration { seconds: -5, nanos: 0 }), Millis(0));
        assert_eq!(millis(&ProtoDuration { seconds: i64::MAX, nanos: 0 }), Millis(i64::MAX as u64));
        assert_eq!(millis(&ProtoDuration { seconds: 1, nanos: 500_000_000 }), Millis(1_500));
    }

    #[test]
    fn times_before_1970_count_forward_within_their_second() {
        assert_eq!(timestamp(Timestamp(-1)), ProtoTimestamp { seconds: -1, nanos: 999_000_000 });
    }
}
