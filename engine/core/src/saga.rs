//! The state of one saga.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::definition::{Definition, On, StepDefinition, StepIndex, StepKind};
use crate::event::{Cause, Transition};
use crate::evolve::evolve;
use crate::ids::{CommandId, IdempotencyKey, SagaId, StepName};
use crate::payload::Payload;
use crate::time::Timestamp;
use crate::wire::{Failure, Operation};

/// One saga as its journal tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Saga {
    /// Its name.
    pub id: SagaId,
    /// The definition that it pins.
    pub definition: Arc<Definition>,
    /// The client's key, if it gave one.
    pub key: Option<IdempotencyKey>,
    /// What the client sent.
    pub input: Payload,
    /// Where it stands.
    pub status: Status,
    /// Holds commands back until resumed.
    pub paused: bool,
    /// Why the way forward ended; set as long as and only if the saga is being, or has been, undone.
    pub cause: Option<Cause>,
    /// One per step of the definition, in its order.
    pub steps: Vec<StepState>,
    /// Journal rows so far; 0 before the first.
    pub seq: u64,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// When its last transition was decided.
    pub updated_at: Timestamp,
    /// When it must be past the pivot.
    pub deadline_at: Option<Timestamp>,
    /// The deadline passed after the pivot.
    pub overdue: bool,
}

/// Where a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// On its way forward.
    Running,
    /// On its way back.
    Compensating,
    /// All steps are confirmed. Terminal.
    Completed,
    /// All that was done is undone. Terminal.
    Compensated,
    /// Waits for an operator. Not terminal.
    Parked,
}

impl Status {
    /// All of them, in the order of a saga's life.
    pub const ALL: [Self; 5] = [Self::Running, Self::Compensating, Self::Parked, Self::Completed, Self::Compensated];

    /// Whether nothing can follow.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated)
    }

    /// The word in tables, APIs and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Parked => "parked",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

/// One step of one saga.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepState {
    /// How far it has come.
    pub phase: Phase,
    /// Sends of the current operation so far.
    pub attempt: u32,
    /// Sends of the current operation that happened before the last redrive; they do not count against the policy.
    pub forgiven: u32,
    /// Identity of the current operation; see [`CommandId::derive`].
    pub revision: u32,
    /// How often an operator had the current operation retried.
    pub redrive: u32,
    /// Whether the participant has said no under the current identity.
    pub refused: bool,
    /// What the participant, or an operator who skipped the step, answered.
    pub output: Option<Payload>,
    /// An operator's replacement for the mapped input.
    pub input: Option<Payload>,
    /// What last went wrong.
    pub failure: Option<Failure>,
    /// When it was first commanded, and when that was settled; for display.
    pub executed: Span,
    /// The same for its compensation.
    pub undone: Span,
}

/// From when to when something was under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First command.
    pub start: Option<Timestamp>,
    /// Settled; stays open while it is not.
    pub end: Option<Timestamp>,
}

impl Span {
    pub(crate) fn open(&mut self, at: Timestamp) {
        self.start.get_or_insert(at);
        self.end = None;
    }
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not commanded yet.
    #[default]
    Pending,
    /// Commanded and not yet settled.
    Executing(Flight),
    /// Confirmed; `rank` counts the confirmations of the saga, from 1.
    Succeeded {
        /// Position in the order of confirmation.
        rank: u32,
    },
    /// The participant said no; nothing happened.
    Refused,
    /// Commanded, and given up without a definite answer: compensated like a confirmed one.
    Unknown,
    /// Passed over.
    Skipped,
    /// Its compensation is commanded and not yet settled.
    Compensating(Flight),
    /// Its compensation is confirmed.
    Compensated,
    /// Waits for an operator to say how this operation goes on.
    Parked(Operation),
}

/// Where a command in flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// Sent; its outcome counts as unknown from `until` on.
    Sent {
        /// When the attempt times out.
        until: Timestamp,
    },
    /// Failed for now; due again at `at`.
    Waiting {
        /// When the next attempt is due.
        at: Timestamp,
    },
}

impl StepState {
    /// The operation that is outstanding, and where it is.
    pub const fn flight(&self) -> Option<(Operation, Flight)> {
        match self.phase {
            Phase::Executing(flight) => Some((Operation::Execute, flight)),
            Phase::Compensating(flight) => Some((Operation::Compensate, flight)),
            _ => None,
        }
    }

    /// Whether steps that come after it may start.
    pub const fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Succeeded { .. } | Phase::Skipped)
    }

    /// Sends that count against the retry policy.
    pub const fn attempts_used(&self) -> u32 {
        self.attempt - self.forgiven
    }
}

impl Saga {
    /// An empty saga, to fold a journal into.
    pub fn new(id: SagaId, definition: Arc<Definition>) -> Self {
        let steps = vec![StepState::default(); definition.steps.len()];
        Self {
            id,
            definition,
            key: None,
            input: Payload::null(),
            status: Status::Running,
            paused: false,
            cause: None,
            steps,
            seq: 0,
            started_at: Timestamp(0),
            updated_at: Timestamp(0),
            deadline_at: None,
            overdue: false,
        }
    }

    /// The saga that a journal tells of.
    pub fn replay(id: SagaId, definition: Arc<Definition>, journal: &[Transition]) -> Self {
        let mut saga = Self::new(id, definition);
        for transition in journal {
            saga.apply(transition);
        }
        saga
    }

    /// Applies one journal row.
    pub fn apply(&mut self, transition: &Transition) {
        for event in &transition.events {
            evolve(self, event, transition.at);
        }
        self.seq = transition.seq;
        self.updated_at = transition.at;
    }

    /// A step with its definition.
    pub fn step(&self, index: StepIndex) -> (&StepDefinition, &StepState) {
        (self.definition.step(index), &self.steps[index.0])
    }

    /// All steps with their positions and definitions.
    pub fn iter(&self) -> impl Iterator<Item = (StepIndex, &StepDefinition, &StepState)> + '_ {
        let steps = self.definition.steps.iter().zip(&self.steps);
        steps.enumerate().map(|(index, (definition, state))| (StepIndex(index), definition, state))
    }

    /// The identity of a step's command.
    pub fn command_id(&self, index: StepIndex, operation: Operation) -> CommandId {
        let (definition, state) = self.step(index);
        CommandId::derive(self.id, &definition.name, operation, state.revision)
    }

    /// Whether the point of no return is behind: the pivot is confirmed or, where there is none, a retriable step has
    /// been commanded.
    pub fn is_committed(&self) -> bool {
        let has_pivot = self.definition.steps.iter().any(|step| step.kind == StepKind::Pivot);
        self.iter().any(|(_, definition, state)| match definition.kind {
            StepKind::Pivot => state.is_settled(),
            StepKind::Retriable => !has_pivot && definition.on == On::Forward && state.phase != Phase::Pending,
            StepKind::Compensatable => false,
        })
    }

    /// Whether the way forward has ended and nothing is left to undo; steps `on = "compensated"` may be outstanding.
    pub fn is_undone(&self) -> bool {
        let undoing =
            |step: &StepState| matches!(step.phase, Phase::Compensating(_) | Phase::Parked(Operation::Compensate));
        self.cause.is_some() && self.next_compensation().is_none() && !self.steps.iter().any(undoing)
    }

    /// Whether no command may be sent at present.
    pub const fn is_held(&self) -> bool {
        self.paused || matches!(self.status, Status::Parked)
    }

    /// Whether a command is on its way or due again.
    pub fn has_flight(&self) -> bool {
        self.steps.iter().any(|step| step.flight().is_some())
    }

    /// Position of the next step to compensate: what is unknown first, then against the order of confirmation (I10).
    pub fn next_compensation(&self) -> Option<StepIndex> {
        self.iter()
            .filter(|(_, definition, _)| definition.kind != StepKind::Retriable)
            .filter_map(|(index, _, state)| match state.phase {
                Phase::Unknown => Some((u32::MAX, index)),
                Phase::Succeeded { rank } => Some((rank, index)),
                _ => None,
            })
            .max()
            .map(|(_, index)| index)
    }

    pub(crate) fn step_mut(&mut self, name: &StepName) -> Option<&mut StepState> {
        let index = self.definition.step_index(name)?;
        self.steps.get_mut(index.0)
    }

    /// A saga leaves `Parked` when none of its steps is parked any more.
    pub(crate) fn unpark(&mut self) {
        let parked = self.steps.iter().any(|step| matches!(step.phase, Phase::Parked(_)));
        if self.status == Status::Parked && !parked {
            self.status = if self.cause.is_some() { Status::Compensating } else { Status::Running };
        }
    }
}

impl PartialEq for Definition {
    /// Same type, version and meaning.
    fn eq(&self, other: &Self) -> bool {
        (&self.saga_type, self.version, self.checksum) == (&other.saga_type, other.version, other.checksum)
    }
}
