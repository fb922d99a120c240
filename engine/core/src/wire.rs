//! What crosses the courier: a command out, a reply in.

pub mod record;

use serde::{Deserialize, Serialize};

use crate::ids::{CommandId, SagaId, SagaType, StepName};
use crate::payload::Payload;
use crate::time::{Millis, Timestamp};

/// What a participant is asked to do with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Do the step.
    Execute,
    /// Undo what the step has done, or make sure that it never will be done.
    Compensate,
}

impl Operation {
    /// The word on the wire and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::Compensate => "compensate",
        }
    }
}

impl std::str::FromStr for Operation {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "execute" => Ok(Self::Execute),
            "compensate" => Ok(Self::Compensate),
            _ => Err(()),
        }
    }
}

/// Says what went wrong: a stable code for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable, upper-case, e.g. `OUT_OF_STOCK`.
    pub code: String,
    /// For people; no secrets.
    pub message: String,
}

impl Failure {
    /// Builds a failure from its two parts.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// Asks a participant to execute or compensate one step of one saga.
///
/// Delivered at least once, in any order; every copy has the same id and payload, so the receiver's barrier can tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The idempotency key of the effect; the same for every attempt.
    pub id: CommandId,
    /// The saga that asks.
    pub saga_id: SagaId,
    /// Its type.
    pub saga_type: SagaType,
    /// The step within it.
    pub step: StepName,
    /// Execute or compensate.
    pub operation: Operation,
    /// What the participant knows the step by, e.g. `payment.charge`.
    pub command: String,
    /// Who is asked, e.g. `payment`; chooses the courier.
    pub participant: String,
    /// Counts the sends of this command, from 1; grows over operator retries too.
    pub attempt: u32,
    /// Counts the identities of this operation (see [`CommandId::derive`]).
    pub revision: u32,
    /// Counts how often an operator has had it retried.
    pub redrive: u32,
    /// When the engine stops waiting for this attempt; a reply after it still counts if it is the first.
    pub deadline: Timestamp,
    /// The step's input; for a compensation the same as for its execution.
    pub payload: Payload,
    /// Why it is undone; only on a compensation and on steps that run after one.
    pub cause: Option<Failure>,
}

impl Command {
    /// Its W3C trace context: the trace of a saga is the saga's id, the span that of the command. A function of what is
    /// committed, so that a command sent again after a crash belongs to the same trace.
    pub fn traceparent(&self) -> String {
        let span = self.id.as_uuid().as_u64_pair().0;
        format!("00-{}-{span:016x}-01", self.saga_id.as_uuid().simple())
    }
}

/// A participant's answer to one command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The command answered.
    pub command_id: CommandId,
    /// Repeated from the command.
    pub saga_id: SagaId,
    /// Repeated from the command.
    pub step: StepName,
    /// Repeated from the command.
    pub operation: Operation,
    /// Repeated from the command.
    pub attempt: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command. The fourth outcome, *unknown*, is never said: it is what silence means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done, durably.
    Done(Payload),
    /// A business no; nothing has changed and a retry would not help.
    Refused(Failure),
    /// Nothing has changed; a later attempt may succeed.
    TryAgain {
        /// What stood in the way.
        failure: Failure,
        /// The least wait that the participant asks for.
        after: Option<Millis>,
    },
}

impl Outcome {
    /// The word on the wire: `done`, `refused` or `try-again`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Refused(_) => "refused",
            Self::TryAgain { .. } => "try-again",
        }
    }
}
