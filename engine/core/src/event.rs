//! Past facts. The journal holds nothing else; a saga is the fold of its events.

use serde::{Deserialize, Serialize};

use crate::ids::{IdempotencyKey, SagaType, StepName};
use crate::payload::Payload;
use crate::time::Timestamp;
use crate::wire::{Failure, Operation};

/// Version of the journal's encoding of [`Event`]; stored with every row so that later engines read older journals.
pub const JOURNAL_FORMAT: i16 = 1;

/// What one input made of one saga: the unit that the journal stores as one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Position within the saga, from 1, gapless.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened; never empty.
    pub events: Vec<Event>,
}

/// One fact about a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The saga was accepted.
    SagaStarted {
        /// Its type.
        saga_type: SagaType,
        /// The version of the definition that it pins.
        version: u32,
        /// The client's key, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<IdempotencyKey>,
        /// What the client sent.
        input: Payload,
        /// When it must be past the pivot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_at: Option<Timestamp>,
    },
    /// A step was commanded.
    StepStarted {
        /// Which.
        step: StepName,
        /// Counts the sends, from 1.
        attempt: u32,
    },
    /// A step was confirmed.
    StepSucceeded {
        /// Which.
        step: StepName,
        /// What the participant answered.
        output: Payload,
    },
    /// A participant said no for business reasons.
    StepRefused {
        /// Which.
        step: StepName,
        /// Why.
        failure: Failure,
    },
    /// No answer came in time; whether the command took effect is unknown.
    StepTimedOut {
        /// Which.
        step: StepName,
        /// Which of its two commands.
        operation: Operation,
        /// Which send.
        attempt: u32,
    },
    /// The same command will be sent again.
    RetryScheduled {
        /// Which.
        step: StepName,
        /// Which of its two commands.
        operation: Operation,
        /// The attempt that failed.
        attempt: u32,
        /// When it is sent again.
        at: Timestamp,
        /// Why the attempt failed.
        failure: Failure,
    },
    /// A step that can be undone has used up its attempts; whether it took effect is unknown.
    StepExhausted {
        /// Which.
        step: StepName,
        /// Why the last attempt failed.
        failure: Failure,
    },
    /// A retriable step was passed over, by its policy or by an operator.
    StepSkipped {
        /// Which.
        step: StepName,
        /// What later steps see as its output.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Payload>,
    },
    /// The way forward has ended; what was done will be undone.
    CompensationStarted {
        /// Why.
        cause: Cause,
    },
    /// A step's compensation was commanded.
    StepCompensationStarted {
        /// Which.
        step: StepName,
        /// Counts the sends, from 1.
        attempt: u32,
    },
    /// A step's compensation was confirmed.
    StepCompensated {
        /// Which.
        step: StepName,
    },
    /// All steps are confirmed. Terminal.
    SagaCompleted,
    /// All that was done is undone. Terminal.
    SagaCompensated,
    /// A step can go neither forward nor back; the saga waits for an operator.
    SagaParked {
        /// Which.
        step: StepName,
        /// Which of its two commands.
        operation: Operation,
        /// Why.
        failure: Failure,
    },
    /// An operator had a parked step tried again. Its next send follows as an event of its own.
    StepRedriven {
        /// Which.
        step: StepName,
        /// Which of its two commands.
        operation: Operation,
        /// The identity that its command has from here on.
        revision: u32,
        /// The input that replaces the mapped one, if the operator gave one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<Payload>,
    },
    /// No command is sent until the saga is resumed.
    SagaPaused,
    /// Commands are sent again.
    SagaResumed,
    /// The deadline passed after the pivot; a mark for operators.
    SagaOverdue,
    /// An operator did something; its consequences are the other events of the transition.
    OperatorActed {
        /// What.
        action: Action,
        /// Who.
        who: String,
        /// Why, in the operator's words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
}

/// What an operator can do to a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Undo it.
    Cancel,
    /// Try a parked or waiting step again now.
    Retry,
    /// Pass over a parked step.
    Skip,
    /// Declare a parked saga ended.
    Resolve,
    /// Hold its commands back.
    Pause,
    /// Let its commands go.
    Resume,
}

impl Action {
    /// The word in the journal, the audit and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Resolve => "resolve",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// Why the way forward ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Which kind of end.
    pub kind: CauseKind,
    /// The step that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// What it said.
    pub failure: Failure,
}

/// The kinds of end that the way forward can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A participant refused.
    Refused,
    /// A step used up its attempts.
    Exhausted,
    /// The saga's deadline passed.
    Deadline,
    /// A client or an operator cancelled.
    Cancelled,
}

impl Event {
    /// The name of the fact, as it stands in the journal.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SagaStarted { .. } => "saga_started",
            Self::StepStarted { .. } => "step_started",
            Self::StepSucceeded { .. } => "step_succeeded",
            Self::StepRefused { .. } => "step_refused",
            Self::StepTimedOut { .. } => "step_timed_out",
            Self::RetryScheduled { .. } => "retry_scheduled",
            Self::StepExhausted { .. } => "step_exhausted",
            Self::StepSkipped { .. } => "step_skipped",
            Self::CompensationStarted { .. } => "compensation_started",
            Self::StepCompensationStarted { .. } => "step_compensation_started",
            Self::StepCompensated { .. } => "step_compensated",
            Self::SagaCompleted => "saga_completed",
            Self::SagaCompensated => "saga_compensated",
            Self::SagaParked { .. } => "saga_parked",
            Self::StepRedriven { .. } => "step_redriven",
            Self::SagaPaused => "saga_paused",
            Self::SagaResumed => "saga_resumed",
            Self::SagaOverdue => "saga_overdue",
            Self::OperatorActed { .. } => "operator_acted",
        }
    }

    /// The step that the fact is about, if it is about one.
    pub const fn step(&self) -> Option<&StepName> {
        match self {
            Self::StepStarted { step, .. }
            | Self::StepSucceeded { step, .. }
            | Self::StepRefused { step, .. }
            | Self::StepTimedOut { step, .. }
            | Self::RetryScheduled { step, .. }
            | Self::StepExhausted { step, .. }
            | Self::StepSkipped { step, .. }
            | Self::StepCompensationStarted { step, .. }
            | Self::StepCompensated { step }
            | Self::SagaParked { step, .. }
            | Self::StepRedriven { step, .. } => Some(step),
            _ => None,
        }
    }
}
