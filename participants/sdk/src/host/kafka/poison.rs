//! Commands that cannot be read: answered where that is possible, kept where it is not. None stops the worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use amends_core::record::{self, InvalidRecord, ReplyTo, header};
use amends_core::{Command, CommandId, Failure, Operation, Outcome, Reply, SagaId, StepName};
use rdkafka::message::Headers;

use super::INVALID_COMMAND;

/// Longest name that Kafka gives a topic.
const TOPIC_NAME_MAX: usize = 249;

/// What a record turned out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    /// Give it to the participant.
    Command(Box<Command>, ReplyTo),
    /// It is no command of ours, but it is known who asks: refuse it.
    Answer(Reply, ReplyTo),
    /// Keep it as a dead letter.
    Keep(InvalidRecord),
}

/// The headers of a record, read once.
pub(super) struct Pairs<'r>(Vec<(&'r str, &'r [u8])>);

impl<'r> Pairs<'r> {
    /// Fails if a name is not UTF-8: the library panics on those, and they come from outside.
    pub(super) fn read(headers: Option<&'r impl Headers>) -> Result<Self, InvalidRecord> {
        let Some(headers) = headers else { return Ok(Self(Vec::new())) };
        let mut pairs = Vec::with_capacity(headers.count());
        let read = AssertUnwindSafe(|| pairs.extend(headers.iter().filter_map(|h| Some((h.key, h.value?)))));
        match catch_unwind(read) {
            Ok(()) => Ok(Self(pairs)),
            Err(_) => Err(InvalidRecord { at: "headers", why: "hold a name that is not UTF-8".to_owned() }),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'r [u8]> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn parse<T: FromStr>(&self, name: &str) -> Option<T> {
        std::str::from_utf8(self.get(name)?).ok()?.parse().ok()
    }
}

/// Reads a record of `participant`'s.
pub(super) fn read(participant: &str, headers: Option<&impl Headers>, value: Option<&[u8]>) -> Read {
    let pairs = match Pairs::read(headers) {
        Ok(pairs) => pairs,
        Err(invalid) => return Read::Keep(invalid),
    };
    let get = |name: &str| pairs.get(name);
    let command = record::read_command(participant, get, value);
    match (record::read_reply_to(get).and_then(check), command) {
        (Ok(to), Ok(command)) => Read::Command(Box::new(command), to),
        (Ok(to), Err(invalid)) => match refusal(&pairs, &invalid) {
            Some(reply) => Read::Answer(reply, to),
            None => Read::Keep(invalid),
        },
        (Err(invalid), _) => Read::Keep(invalid),
    }
}

/// Keeps what is no topic from the producer, which would wait for it to be made.
fn check(to: ReplyTo) -> Result<ReplyTo, InvalidRecord> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let named = !to.topic.is_empty() && to.topic.len() <= TOPIC_NAME_MAX && to.topic.chars().all(legal);
    if !named || matches!(to.topic.as_str(), "." | "..") {
        return Err(InvalidRecord { at: header::REPLY_TOPIC, why: "is no name of a topic".to_owned() });
    }
    if to.partition < 0 {
        return Err(InvalidRecord { at: header::REPLY_PARTITION, why: "is negative".to_owned() });
    }
    Ok(to)
}

/// Says no, if it can be read who asks for what.
fn refusal(pairs: &Pairs<'_>, why: &InvalidRecord) -> Option<Reply> {
    let step = std::str::from_utf8(pairs.get(header::STEP)?).ok()?;
    Some(Reply {
        command_id: pairs.parse::<CommandId>(header::ID)?,
        saga_id: pairs.parse::<SagaId>(header::SUBJECT)?,
        step: StepName::new(step).ok()?,
        operation: pairs.parse::<Operation>(header::OPERATION)?,
        attempt: pairs.parse(header::ATTEMPT).unwrap_or(1),
        outcome: Outcome::Refused(Failure::new(INVALID_COMMAND, why.to_string())),
    })
}

#[cfg(test)]
mod tests;
