//! A saga's definition: its steps, the order between them, and what is told to the world.
//!
//! A definition is data (TOML), pinned by every saga under its type and version. Everything that can be wrong with
//! it is found when it is loaded, so that the state machine never meets an illegal one.

mod check;
mod checksum;
mod mapping;
mod parse;
mod read;
#[cfg(test)]
mod tests;
mod word;

use std::sync::Arc;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::ids::{SagaType, StepName};
use crate::time::Millis;

/// A checked definition; [`Definition::parse`] is the only way to get one.
#[derive(Debug)]
pub struct Definition {
    /// The type that it defines.
    pub saga_type: SagaType,
    /// Its version, from 1. Under one version a definition never changes.
    pub version: u32,
    /// Digest of the meaning, not of the spelling: comments and layout do not count.
    pub checksum: Uuid,
    /// The TOML text it was read from.
    pub source: Arc<str>,
    /// How long a saga may take until it is undone (before the pivot) or marked overdue (after it).
    pub deadline: Option<Millis>,
    /// The steps in the order they are written.
    pub steps: Vec<StepDefinition>,
    /// What is published, and when.
    pub events: Vec<EventRule>,
}

/// One step.
#[derive(Debug)]
pub struct StepDefinition {
    /// Unique within the definition.
    pub name: StepName,
    /// What the participant knows it by, e.g. `payment.charge`.
    pub command: String,
    /// Who carries it out.
    pub participant: String,
    /// Whether and how it can be undone.
    pub kind: StepKind,
    /// When it runs.
    pub on: On,
    /// The steps that must be confirmed before it is commanded.
    pub after: Vec<StepIndex>,
    /// How long one attempt may take until its outcome counts as unknown.
    pub timeout: Millis,
    /// How often and how fast it is tried again.
    pub retry: RetryPolicy,
    /// The same for its compensation.
    pub compensation_retry: RetryPolicy,
    /// What happens when a retriable step is used up. `Park` for the other kinds, where it has no meaning.
    pub exhausted: Exhaustion,
    /// Where its input comes from; without it the saga's whole input is passed on.
    pub input: Option<Mapping>,
}

/// Position of a step in [`Definition::steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(pub usize);

/// Whether a step can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Can be undone, and is, when a later step fails.
    Compensatable,
    /// The point of no return: once it is confirmed there is only forward. At most one.
    Pivot,
    /// Retried until it succeeds or is parked; never undone.
    Retriable,
}

/// When a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On the way forward.
    Forward,
    /// After a compensation has finished, e.g. to tell the customer.
    Compensated,
}

/// What happens when a retriable step has used up its attempts or is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhaustion {
    /// The saga waits for an operator.
    Park,
    /// The step is passed over and the saga goes on.
    Skip,
}

/// How often and how fast something is tried again: `initial * factor^(attempt-1)`, at most `max`, with jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// All attempts, the first included; at least 1.
    pub attempts: u32,
    /// The wait after the first failure.
    pub initial: Millis,
    /// Growth per attempt, at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Millis,
}

/// Builds a JSON object, member by member.
#[derive(Debug)]
pub struct Mapping(pub Vec<(String, Source)>);

/// Where one member comes from.
#[derive(Debug)]
pub enum Source {
    /// A part of what the saga knows. A part that is not there is left out.
    Pointer(Pointer),
    /// The same for every saga.
    Literal(Box<RawValue>),
}

/// Names a part of what the saga knows, written `/input/total` or `/charge_payment/payment_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The first segment.
    pub root: Root,
    /// The rest, a JSON pointer: empty or beginning with `/`.
    pub path: String,
}

/// What the first segment of a [`Pointer`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `/input`: what the client sent.
    Input,
    /// `/failure`: `code`, `message`, `step` and `kind` of what ended the way forward.
    Failure,
    /// `/saga`: `id`, `type` and `key`.
    Saga,
    /// The output of a step.
    Step(StepIndex),
}

/// Publishes a domain event when something happens.
#[derive(Debug)]
pub struct EventRule {
    /// What must happen.
    pub on: Trigger,
    /// Where it is published.
    pub topic: String,
    /// What it says; without it the saga's whole input.
    pub payload: Option<Mapping>,
}

/// What an [`EventRule`] waits for, written `charge_payment.refused` or `saga.completed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// `STEP.succeeded`
    StepSucceeded(StepIndex),
    /// `STEP.refused`
    StepRefused(StepIndex),
    /// `STEP.compensated`
    StepCompensated(StepIndex),
    /// `saga.started`
    SagaStarted,
    /// `saga.completed`
    SagaCompleted,
    /// `saga.compensated`
    SagaCompensated,
    /// `saga.parked`
    SagaParked,
}

/// Says what is wrong with a definition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct DefinitionError {
    /// Line in the source, from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Definition {
    /// Reads and checks a definition. All that is wrong is reported at once, in the order of the lines.
    pub fn parse(source: &str) -> Result<Self, Vec<DefinitionError>> {
        parse::parse(source)
    }

    /// Finds a step by name.
    pub fn step_index(&self, name: &StepName) -> Option<StepIndex> {
        self.steps.iter().position(|step| step.name == *name).map(StepIndex)
    }

    /// The step at a position.
    pub fn step(&self, index: StepIndex) -> &StepDefinition {
        &self.steps[index.0]
    }

    /// Positions of the steps that run at `on`.
    pub fn steps_on(&self, on: On) -> impl Iterator<Item = StepIndex> + '_ {
        (0..self.steps.len()).map(StepIndex).filter(move |index| self.step(*index).on == on)
    }
}
