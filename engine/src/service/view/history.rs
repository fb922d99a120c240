//! What the state of a saga forgets and a reader wants to know: when, how often, who.

use std::sync::Arc;

use amends_core::{Action, Definition, Event, Failure, Operation, Saga, SagaId, StepIndex, Timestamp, Transition};

/// A saga with its past.
pub(super) struct History {
    /// Where it stands.
    pub(super) saga: Saga,
    /// One per step, in the definition's order.
    pub(super) steps: Vec<StepHistory>,
    /// Steps whose compensation is confirmed, in that order.
    pub(super) undone: Vec<StepIndex>,
    acts: Vec<Act>,
    confirmed: u32,
}

/// The past of one step.
#[derive(Default, Clone)]
pub(super) struct StepHistory {
    pub(super) attempts: u32,
    pub(super) compensation_attempts: u32,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) compensation_started_at: Option<Timestamp>,
    pub(super) compensation_ended_at: Option<Timestamp>,
    /// Position in the order of confirmation; unlike the state's it outlives the compensation.
    pub(super) rank: u32,
    /// Who settled it by hand, if somebody did.
    pub(super) settled_by: Option<String>,
    execution_failure: Option<Failure>,
    compensation_failure: Option<Failure>,
}

impl StepHistory {
    /// What last went wrong and was not made good since.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.compensation_failure.as_ref().or(self.execution_failure.as_ref())
    }

    fn failed(&mut self, operation: Operation, failure: &Failure) {
        let place = match operation {
            Operation::Execute => &mut self.execution_failure,
            Operation::Compensate => &mut self.compensation_failure,
        };
        *place = Some(failure.clone());
    }
}

/// Something that an operator did.
pub(super) struct Act {
    pub(super) action: Action,
    pub(super) who: String,
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

impl History {
    pub(super) fn fold(id: SagaId, definition: Arc<Definition>, journal: &[Transition]) -> Self {
        let steps = vec![StepHistory::default(); definition.steps.len()];
        let mut history =
            Self { saga: Saga::new(id, definition), steps, undone: Vec::new(), acts: Vec::new(), confirmed: 0 };
        for transition in journal {
            history.saga.apply(transition);
            let mut skipped_by = None;
            for event in &transition.events {
                history.observe(event, transition.at, &mut skipped_by);
            }
        }
        history
    }

    /// The last thing of its kind that an operator did.
    pub(super) fn act(&self, action: Action) -> Option<&Act> {
        self.acts.iter().rev().find(|act| act.action == action)
    }

    /// `skipped_by` carries the name of an operator who skips from one event of a transition to those that follow from it.
    fn observe(&mut self, event: &Event, at: Timestamp, skipped_by: &mut Option<String>) {
        match event {
            Event::OperatorActed { action, who, reason } => {
                if *action == Action::Skip {
                    *skipped_by = Some(who.clone());
                }
                self.acts.push(Act { action: *action, who: who.clone(), reason: reason.clone(), at });
            }
            // Whatever was in flight is given up here, its outcome unknown.
            Event::CompensationStarted { .. } => {
                for step in self.steps.iter_mut().filter(|step| step.started_at.is_some()) {
                    step.ended_at.get_or_insert(at);
                }
            }
            _ => {
                if let Some(index) = event.step().and_then(|name| self.saga.definition.step_index(name)) {
                    self.observe_step(event, index, at, skipped_by);
                }
            }
        }
    }

    fn observe_step(&mut self, event: &Event, index: StepIndex, at: Timestamp, skipped_by: &mut Option<String>) {
        let step = &mut self.steps[index.0];
        match event {
            Event::StepStarted { attempt, .. } => {
                step.attempts = *attempt;
                step.started_at.get_or_insert(at);
            }
            Event::StepSucceeded { .. } => {
                self.confirmed += 1;
                step.rank = self.confirmed;
                step.execution_failure = None;
                step.ended_at = Some(at);
            }
            Event::StepRefused { failure, .. } | Event::StepExhausted { failure, .. } => {
                step.failed(Operation::Execute, failure);
                step.ended_at = Some(at);
            }
            Event::StepSkipped { .. } => {
                step.settled_by = skipped_by.take();
                step.ended_at = Some(at);
            }
            Event::RetryScheduled { operation, failure, .. } => step.failed(*operation, failure),
            Event::SagaParked { operation, failure, .. } => {
                step.failed(*operation, failure);
                if *operation == Operation::Execute {
                    step.ended_at = None;
                }
            }
            Event::StepCompensationStarted { attempt, .. } => {
                step.compensation_attempts = *attempt;
                step.compensation_started_at.get_or_insert(at);
            }
            Event::StepCompensated { .. } => {
                step.settled_by = skipped_by.take();
                step.compensation_failure = None;
                step.compensation_ended_at = Some(at);
                self.undone.push(index);
            }
            _ => {}
        }
    }
}
