//! What can happen to a saga from outside.

use serde::{Deserialize, Serialize};

use crate::event::Action;
use crate::ids::{IdempotencyKey, StepName};
use crate::payload::Payload;
use crate::saga::Status;
use crate::time::Timestamp;
use crate::wire::{Operation, Reply};

/// One thing that reaches a saga. Imperative; what follows from it is [`crate::decide`]'s to say. As JSON it travels
/// between the engines of one installation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Accept a new saga.
    Start {
        /// The client's key, if it gave one.
        key: Option<IdempotencyKey>,
        /// What the steps work on.
        input: Payload,
        /// Overrides the definition's deadline.
        deadline_at: Option<Timestamp>,
    },
    /// A participant answered.
    Reply(Reply),
    /// One of the saga's [`crate::timers`] is due.
    TimerFired(Timer),
    /// Undo the saga, while that is possible.
    Cancel(Operator),
    /// Try again now: the parked steps, or those that wait for their next attempt.
    Retry {
        /// Who asks.
        operator: Operator,
        /// Only this step.
        step: Option<StepName>,
        /// Replaces the step's input; needs `step`.
        input: Option<Payload>,
    },
    /// Pass over a parked step.
    Skip {
        /// Who asks.
        operator: Operator,
        /// Which.
        step: StepName,
        /// What later steps see as its output.
        result: Option<Payload>,
    },
    /// Declare a parked saga ended, its matters settled by hand.
    Resolve {
        /// Who asks.
        operator: Operator,
        /// [`Status::Completed`] or [`Status::Compensated`].
        status: Status,
    },
    /// Hold back all commands.
    Pause(Operator),
    /// Let commands go again.
    Resume(Operator),
}

/// Who acts on a saga, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The principal's name.
    pub who: String,
    /// In their own words; may be empty.
    pub reason: String,
}

/// What a timer is for. Void, and so harmless, once the step has moved on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// An attempt has waited long enough for its reply.
    StepTimeout {
        /// Which step.
        step: StepName,
        /// Which of its two commands.
        operation: Operation,
        /// Which send.
        attempt: u32,
    },
    /// A failed attempt has waited long enough for the next.
    Retry {
        /// Which step.
        step: StepName,
        /// Which of its two commands.
        operation: Operation,
        /// The attempt that failed.
        attempt: u32,
    },
    /// The saga's deadline.
    Deadline,
}

/// Why an input changes nothing. Each is an answer, not a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// A copy of a reply that was applied before.
    #[error("the reply was applied before")]
    Duplicate,
    /// A reply to a command that is no longer, or never was, outstanding.
    #[error("no such command is outstanding")]
    Stale,
    /// A timer whose step has moved on, or that went off early.
    #[error("the timer is void")]
    Void,
    /// An operator's wish that the saga's state does not allow.
    #[error("cannot {} this saga: {why}", .action.as_str())]
    NotAllowed {
        /// What was asked.
        action: Action,
        /// Why not, and what would be possible.
        why: String,
    },
    /// The saga has no such step.
    #[error("the saga has no step {0}")]
    UnknownStep(StepName),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_travels_letter_by_letter() {
        let operator = Operator { who: "ann".into(), reason: "\u{e4} \"quoted\"".into() };
        let step = StepName::new("pay").ok();
        let input = Payload::from_json(r#"{"n": 1299.990,"big":9223372036854775808}"#.into()).ok();
        for input in [
            Input::Retry { operator: operator.clone(), step, input },
            Input::Cancel(operator.clone()),
            Input::Resolve { operator, status: Status::Compensated },
            Input::TimerFired(Timer::Deadline),
        ] {
            let text = serde_json::to_string(&input).unwrap();
            assert_eq!(serde_json::from_str::<Input>(&text).unwrap(), input, "{text}");
        }
    }
}
