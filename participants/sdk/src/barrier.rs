//! The barrier: at most one effect per command, and none after its compensation, however often and in whatever order
//! commands arrive.
//!
//! This file decides, from what is stored about a step, what a command may do; it touches no database. What was
//! decided is stored in the transaction of the effect ([`table`]).

pub(crate) mod table;

use amends_core::{Command, Failure, Operation, Outcome, Payload};
use uuid::Uuid;

/// The command came after its compensation; nothing was done and nothing will be.
pub const COMPENSATED_BEFORE: &str = "COMPENSATED_BEFORE";
/// An operator has had the step run anew since; nothing was done and nothing will be under the old identity.
pub const SUPERSEDED: &str = "SUPERSEDED";
/// The command's id was seen before with another payload.
pub const COMMAND_CONFLICT: &str = "COMMAND_CONFLICT";

/// One stored row about a step of a saga.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) operation: Operation,
    pub(crate) revision: u32,
    pub(crate) mark: Mark,
}

/// Who took the key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mark {
    /// A compensation, before the execute command came.
    Tombstone,
    /// The command itself.
    Own { digest: Uuid, answer: Answer },
}

/// What was answered, and will be again. A command that should be tried again leaves nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Done(Payload),
    Refused(Failure),
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Done(output) => Self::Done(output),
            Answer::Refused(failure) => Self::Refused(failure),
        }
    }
}

/// What a command may do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing: this is the answer.
    Answer(Answer),
    /// The step's work.
    Execute,
    /// Undo what was done: once for each of these outputs, the last first. There is one at the most.
    Undo(Vec<Payload>),
    /// Nothing, as nothing was done; keep the late command out with a tombstone.
    Entomb,
}

/// Decides what a command may do, given all that is stored about its step.
///
/// A compensation concerns the step, whatever identity (revision) its execution had. So does an effect: an operator
/// may have given a step a new identity while a copy of the old command was still under way, and only one of them
/// takes effect. What was done under another identity is the answer, and an old identity that comes after a newer one
/// has been answered does nothing.
pub(crate) fn judge(command: &Command, digest: Uuid, stored: &[Entry]) -> Verdict {
    let own = stored.iter().find(|entry| entry.operation == command.operation && entry.revision == command.revision);
    if let Some(Mark::Own { digest: seen, answer }) = own.map(|entry| &entry.mark) {
        return if *seen == digest { Verdict::Answer(answer.clone()) } else { refuse(command, COMMAND_CONFLICT) };
    }
    let is_compensated = |entry: &Entry| entry.operation == Operation::Compensate || entry.mark == Mark::Tombstone;
    match command.operation {
        Operation::Execute if stored.iter().any(is_compensated) => refuse(command, COMPENSATED_BEFORE),
        Operation::Execute => match outputs(stored).into_iter().next() {
            Some(done) => Verdict::Answer(Answer::Done(done)),
            None if stored.iter().any(|entry| entry.revision > command.revision) => refuse(command, SUPERSEDED),
            None => Verdict::Execute,
        },
        Operation::Compensate if stored.is_empty() => Verdict::Entomb,
        Operation::Compensate if stored.iter().any(is_compensated) => Verdict::Undo(Vec::new()),
        Operation::Compensate => Verdict::Undo(outputs(stored)),
    }
}

/// What the step's executions have answered, the last first. One that was refused has nothing to undo.
fn outputs(stored: &[Entry]) -> Vec<Payload> {
    let mut done: Vec<(u32, &Payload)> = stored
        .iter()
        .filter_map(|entry| match &entry.mark {
            Mark::Own { answer: Answer::Done(output), .. } => Some((entry.revision, output)),
            _ => None,
        })
        .collect();
    done.sort_by_key(|(revision, _)| std::cmp::Reverse(*revision));
    done.into_iter().map(|(_, output)| output.clone()).collect()
}

fn refuse(command: &Command, code: &str) -> Verdict {
    let message = match code {
        COMMAND_CONFLICT => format!("command {} was seen before with another payload", command.id),
        SUPERSEDED => format!("too late: step {} was run anew since", command.step),
        _ => format!("too late: step {} was compensated before", command.step),
    };
    Verdict::Answer(Answer::Refused(Failure::new(code, message)))
}

#[cfg(test)]
mod tests;
