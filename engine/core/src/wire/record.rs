//! Commands, replies and domain events as records of a broker: JSON in the value, everything else in headers
//! (CloudEvents in binary mode, and `amends-…` for what those do not know).
//!
//! Both ends use this one mapping. It knows no broker: headers go out as pairs and come in through a lookup.

use std::fmt::Display;
use std::str::FromStr;

use super::{Command, Failure, Operation, Outcome, Reply};
use crate::ids::SagaType;
use crate::payload::Payload;
use crate::react::DomainEvent;
use crate::time::{Millis, Timestamp};

/// The headers' names.
pub mod header {
    /// CloudEvents' version of its own format; always `1.0`.
    pub const SPEC: &str = "ce_specversion";
    /// The command's id; on a domain event its stable id.
    pub const ID: &str = "ce_id";
    /// The command, e.g. `payment.charge`; the topic of a domain event.
    pub const TYPE: &str = "ce_type";
    /// Who says it.
    pub const SOURCE: &str = "ce_source";
    /// The saga's id.
    pub const SUBJECT: &str = "ce_subject";
    /// When.
    pub const TIME: &str = "ce_time";
    /// What the value is.
    pub const CONTENT_TYPE: &str = "content-type";
    /// W3C trace context.
    pub const TRACE: &str = "traceparent";
    /// The saga's type.
    pub const SAGA_TYPE: &str = "amends-saga-type";
    /// The step's name within the saga.
    pub const STEP: &str = "amends-step";
    /// `execute` or `compensate`.
    pub const OPERATION: &str = "amends-operation";
    /// Counts the sends of the command, from 1.
    pub const ATTEMPT: &str = "amends-attempt";
    /// Counts the identities of the operation, from 0.
    pub const REVISION: &str = "amends-revision";
    /// Counts how often an operator has had it retried.
    pub const REDRIVE: &str = "amends-redrive";
    /// When the engine stops waiting, RFC 3339.
    pub const DEADLINE: &str = "amends-deadline";
    /// Where the reply belongs.
    pub const REPLY_TOPIC: &str = "amends-reply-topic";
    /// The partition there: explicit, since clients hash differently.
    pub const REPLY_PARTITION: &str = "amends-reply-partition";
    /// Why the saga is undone: the code.
    pub const CAUSE_CODE: &str = "amends-cause-code";
    /// The same for people.
    pub const CAUSE_MESSAGE: &str = "amends-cause-message";
    /// On a reply: the command answered.
    pub const COMMAND_ID: &str = "amends-command-id";
    /// On a reply: `done`, `refused` or `try-again`.
    pub const OUTCOME: &str = "amends-outcome";
    /// On a reply that is not `done`: a stable code.
    pub const ERROR_CODE: &str = "amends-error-code";
    /// The same for people.
    pub const ERROR_MESSAGE: &str = "amends-error-message";
    /// On `try-again`: the least wait, in milliseconds.
    pub const RETRY_AFTER_MS: &str = "amends-retry-after-ms";
}

/// Name and value of the headers of one record.
pub type Headers = Vec<(&'static str, String)>;

/// Where a reply belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
}

/// A record that is not what it should be; it names the header at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {why}")]
pub struct InvalidRecord {
    /// The header's name, or `value`.
    pub at: &'static str,
    /// What is wrong.
    pub why: String,
}

/// The headers of a command. Its value is the payload as it is.
pub fn command_headers(command: &Command, reply_to: &ReplyTo, now: Timestamp) -> Headers {
    let mut headers = vec![
        (header::SPEC, "1.0".to_owned()),
        (header::ID, command.id.to_string()),
        (header::TYPE, command.command.clone()),
        (header::SOURCE, "/amends".to_owned()),
        (header::SUBJECT, command.saga_id.to_string()),
        (header::TIME, now.to_string()),
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::TRACE, command.traceparent()),
        (header::SAGA_TYPE, command.saga_type.to_string()),
        (header::STEP, command.step.to_string()),
        (header::OPERATION, command.operation.as_str().to_owned()),
        (header::ATTEMPT, command.attempt.to_string()),
        (header::REVISION, command.revision.to_string()),
        (header::REDRIVE, command.redrive.to_string()),
        (header::DEADLINE, command.deadline.to_string()),
        (header::REPLY_TOPIC, reply_to.topic.clone()),
        (header::REPLY_PARTITION, reply_to.partition.to_string()),
    ];
    if let Some(cause) = &command.cause {
        headers.push((header::CAUSE_CODE, cause.code.clone()));
        headers.push((header::CAUSE_MESSAGE, cause.message.clone()));
    }
    headers
}

/// Reads a command that came for `participant`.
pub fn read_command<'h>(
    participant: &str,
    headers: impl Fn(&str) -> Option<&'h [u8]>,
    value: Option<&[u8]>,
) -> Result<Command, InvalidRecord> {
    let headers = Lookup(headers);
    let cause = headers.text(header::CAUSE_CODE)?.map(|code| {
        let message = headers.text(header::CAUSE_MESSAGE)?.unwrap_or_default();
        Ok(Failure::new(code, message))
    });
    Ok(Command {
        id: headers.required(header::ID)?,
        saga_id: headers.required(header::SUBJECT)?,
        saga_type: headers.name(header::SAGA_TYPE, SagaType::new)?,
        step: headers.name(header::STEP, crate::StepName::new)?,
        operation: headers.operation()?,
        command: headers.required_text(header::TYPE)?.to_owned(),
        participant: participant.to_owned(),
        attempt: headers.parse(header::ATTEMPT)?.unwrap_or(1),
        revision: headers.parse(header::REVISION)?.unwrap_or(0),
        redrive: headers.parse(header::REDRIVE)?.unwrap_or(0),
        deadline: headers.parse(header::DEADLINE)?.unwrap_or(Timestamp(i64::MAX)),
        payload: payload(value)?,
        cause: cause.transpose()?,
    })
}

/// Reads where the reply to a command belongs. Apart from [`read_command`]: a command that cannot be read is answered, too.
pub fn read_reply_to<'h>(headers: impl Fn(&str) -> Option<&'h [u8]>) -> Result<ReplyTo, InvalidRecord> {
    let headers = Lookup(headers);
    let topic = headers.required_text(header::REPLY_TOPIC)?.to_owned();
    Ok(ReplyTo { topic, partition: headers.required(header::REPLY_PARTITION)? })
}

/// The headers and the value of a reply. Its value is the output of what is done, `null` otherwise.
pub fn reply_record(reply: &Reply, source: &str, now: Timestamp) -> (Headers, Payload) {
    let mut headers = vec![
        (header::SPEC, "1.0".to_owned()),
        (header::ID, format!("{}/{}", reply.command_id, reply.attempt)),
        (header::TYPE, "amends.reply".to_owned()),
        (header::SOURCE, source.to_owned()),
        (header::SUBJECT, reply.saga_id.to_string()),
        (header::TIME, now.to_string()),
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::COMMAND_ID, reply.command_id.to_string()),
        (header::STEP, reply.step.to_string()),
        (header::OPERATION, reply.operation.as_str().to_owned()),
        (header::ATTEMPT, reply.attempt.to_string()),
        (header::OUTCOME, reply.outcome.as_str().to_owned()),
    ];
    let mut failed = |failure: &Failure| {
        headers.push((header::ERROR_CODE, failure.code.clone()));
        headers.push((header::ERROR_MESSAGE, failure.message.clone()));
    };
    let value = match &reply.outcome {
        Outcome::Done(output) => output.clone(),
        Outcome::Refused(failure) => {
            failed(failure);
            Payload::null()
        }
        Outcome::TryAgain { failure, after } => {
            failed(failure);
            if let Some(after) = after {
                headers.push((header::RETRY_AFTER_MS, after.0.to_string()));
            }
            Payload::null()
        }
    };
    (headers, value)
}

/// Reads a reply.
pub fn read_reply<'h>(
    headers: impl Fn(&str) -> Option<&'h [u8]>,
    value: Option<&[u8]>,
) -> Result<Reply, InvalidRecord> {
    let headers = Lookup(headers);
    let failure = || {
        let code = headers.required_text(header::ERROR_CODE)?;
        Ok(Failure::new(code, headers.text(header::ERROR_MESSAGE)?.unwrap_or_default()))
    };
    let outcome = match headers.required_text(header::OUTCOME)? {
        "done" => Outcome::Done(payload(value)?),
        "refused" => Outcome::Refused(failure()?),
        "try-again" => {
            Outcome::TryAgain { failure: failure()?, after: headers.parse(header::RETRY_AFTER_MS)?.map(Millis) }
        }
        other => {
            let why = format!("{other:?} is not done, refused or try-again");
            return Err(InvalidRecord { at: header::OUTCOME, why });
        }
    };
    Ok(Reply {
        command_id: headers.required(header::COMMAND_ID)?,
        saga_id: headers.required(header::SUBJECT)?,
        step: headers.name(header::STEP, crate::StepName::new)?,
        operation: headers.operation()?,
        attempt: headers.parse(header::ATTEMPT)?.unwrap_or(1),
        outcome,
    })
}

/// The headers of a domain event. Its value is the payload as it is.
pub fn event_headers(event: &DomainEvent) -> Headers {
    vec![
        (header::SPEC, "1.0".to_owned()),
        (header::ID, event.id.to_string()),
        (header::TYPE, event.topic.clone()),
        (header::SOURCE, "/amends".to_owned()),
        (header::SUBJECT, event.saga_id.to_string()),
        (header::TIME, event.at.to_string()),
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::SAGA_TYPE, event.saga_type.to_string()),
    ]
}

/// Reads a domain event from the topic that it came by.
pub fn read_event<'h>(
    topic: &str,
    headers: impl Fn(&str) -> Option<&'h [u8]>,
    value: Option<&[u8]>,
) -> Result<DomainEvent, InvalidRecord> {
    let headers = Lookup(headers);
    Ok(DomainEvent {
        id: headers.required(header::ID)?,
        topic: topic.to_owned(),
        saga_id: headers.required(header::SUBJECT)?,
        saga_type: headers.name(header::SAGA_TYPE, SagaType::new)?,
        at: headers.required(header::TIME)?,
        payload: payload(value)?,
    })
}

fn payload(value: Option<&[u8]>) -> Result<Payload, InvalidRecord> {
    let invalid = |why: String| InvalidRecord { at: "value", why };
    let bytes = value.ok_or_else(|| invalid("is missing".to_owned()))?;
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("is not UTF-8".to_owned()))?;
    // The parser's words may quote the value, which may hold what nobody shall see (I37).
    Payload::from_json(text.to_owned()).map_err(|_| invalid("is not JSON".to_owned()))
}

/// Reads headers by name.
struct Lookup<F>(F);

impl<'h, F: Fn(&str) -> Option<&'h [u8]>> Lookup<F> {
    fn text(&self, at: &'static str) -> Result<Option<&'h str>, InvalidRecord> {
        let text = (self.0)(at).map(std::str::from_utf8).transpose();
        text.map_err(|_| InvalidRecord { at, why: "is not UTF-8".to_owned() })
    }

    fn required_text(&self, at: &'static str) -> Result<&'h str, InvalidRecord> {
        self.text(at)?.ok_or_else(|| InvalidRecord { at, why: "is missing".to_owned() })
    }

    fn parse<T: FromStr>(&self, at: &'static str) -> Result<Option<T>, InvalidRecord> {
        self.text(at)?.map(|text| parse(at, text)).transpose()
    }

    fn required<T: FromStr>(&self, at: &'static str) -> Result<T, InvalidRecord> {
        parse(at, self.required_text(at)?)
    }

    fn name<T, E: Display>(
        &self,
        at: &'static str,
        read: impl FnOnce(&'h str) -> Result<T, E>,
    ) -> Result<T, InvalidRecord> {
        read(self.required_text(at)?).map_err(|error| InvalidRecord { at, why: error.to_string() })
    }

    fn operation(&self) -> Result<Operation, InvalidRecord> {
        let text = self.required_text(header::OPERATION)?;
        let why = || format!("{text:?} is not execute or compensate");
        text.parse().map_err(|()| InvalidRecord { at: header::OPERATION, why: why() })
    }
}

fn parse<T: FromStr>(at: &'static str, text: &str) -> Result<T, InvalidRecord> {
    text.parse().map_err(|_| InvalidRecord { at, why: format!("{text:?} cannot be read") })
}

#[cfg(test)]
mod tests;
