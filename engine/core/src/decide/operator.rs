//! What operators may do, and when.

use super::{Draft, ended};
use crate::definition::StepIndex;
use crate::event::{Action, CauseKind, Event};
use crate::ids::StepName;
use crate::input::{Operator, Rejected};
use crate::payload::Payload;
use crate::saga::{Flight, Phase, Status};
use crate::wire::{Failure, Operation};

impl Draft {
    pub(super) fn cancel(&mut self, operator: &Operator) -> Result<(), Rejected> {
        let saga = &self.saga;
        let why_not = ended(saga.status).or_else(|| {
            if saga.cause.is_some() {
                Some("it is being undone already".to_owned())
            } else if saga.is_committed() {
                Some("it is past its pivot, from where there is only forward".to_owned())
            } else {
                None
            }
        });
        allow(Action::Cancel, why_not)?;
        self.acted(Action::Cancel, operator);
        let message =
            if operator.reason.is_empty() { format!("cancelled by {}", operator.who) } else { operator.reason.clone() };
        self.compensate(CauseKind::Cancelled, None, Failure::new("CANCELLED", message));
        Ok(())
    }

    /// Redrives parked steps; without any, sends those again that wait for their next attempt.
    pub(super) fn retry(
        &mut self,
        operator: &Operator,
        step: Option<&StepName>,
        input: Option<&Payload>,
    ) -> Result<(), Rejected> {
        allow(Action::Retry, ended(self.saga.status))?;
        let wanted = step.map(|step| self.index(step)).transpose()?;
        let chosen = |index: &StepIndex| wanted.is_none_or(|wanted| wanted == *index);
        let all = (0..self.saga.steps.len()).map(StepIndex).filter(chosen);
        let parked: Vec<_> =
            all.clone().filter(|index| matches!(self.saga.steps[index.0].phase, Phase::Parked(_))).collect();
        let waiting: Vec<_> = all
            .filter(|index| matches!(self.saga.steps[index.0].flight(), Some((_, Flight::Waiting { .. }))))
            .collect();
        let why_not = if parked.is_empty() && waiting.is_empty() {
            Some("nothing of it is parked or waits for a next attempt")
        } else if parked.is_empty() && self.saga.paused {
            Some("it is paused; resume it instead")
        } else if input.is_some() && (wanted.is_none() || parked.is_empty()) {
            Some("another input can be given only for one step, and only while it is parked")
        } else {
            None
        };
        allow(Action::Retry, why_not.map(str::to_owned))?;
        self.acted(Action::Retry, operator);
        if parked.is_empty() {
            for index in waiting {
                self.resend(index);
            }
        }
        for index in parked {
            self.redrive(index, input);
        }
        Ok(())
    }

    /// A stored refusal would be answered again, and another input must not come under the old id (I21): both need
    /// a new identity. In every other case the old one is what keeps the effect single.
    fn redrive(&mut self, index: StepIndex, input: Option<&Payload>) {
        let (definition, state) = self.saga.step(index);
        let Phase::Parked(operation) = state.phase else { return };
        let renewed = operation == Operation::Execute && (state.refused || input.is_some());
        let (step, revision) = (definition.name.clone(), state.revision + u32::from(renewed));
        self.record(Event::StepRedriven { step, operation, revision, input: input.cloned() });
        if !self.saga.paused {
            self.send(index, operation);
        }
    }

    fn resend(&mut self, index: StepIndex) {
        if let Some((operation, _)) = self.saga.steps[index.0].flight() {
            self.send(index, operation);
        }
    }

    pub(super) fn skip(
        &mut self,
        operator: &Operator,
        step: &StepName,
        result: Option<&Payload>,
    ) -> Result<(), Rejected> {
        allow(Action::Skip, ended(self.saga.status))?;
        let index = self.index(step)?;
        let Phase::Parked(operation) = self.saga.steps[index.0].phase else {
            return allow(Action::Skip, Some(format!("step {step} is not parked")));
        };
        self.acted(Action::Skip, operator);
        let step = step.clone();
        self.record(match operation {
            Operation::Execute => Event::StepSkipped { step, output: result.cloned() },
            Operation::Compensate => Event::StepCompensated { step },
        });
        Ok(())
    }

    pub(super) fn resolve(&mut self, operator: &Operator, status: Status) -> Result<(), Rejected> {
        allow(Action::Resolve, ended(self.saga.status))?;
        let parked = self.saga.status == Status::Parked;
        allow(Action::Resolve, (!parked).then(|| "it is not parked".to_owned()))?;
        let end = match status {
            Status::Completed => Event::SagaCompleted,
            Status::Compensated => Event::SagaCompensated,
            _ => return allow(Action::Resolve, Some(format!("{} is not an end", status.as_str()))),
        };
        self.acted(Action::Resolve, operator);
        self.record(end);
        Ok(())
    }

    pub(super) fn pause(&mut self, operator: &Operator) -> Result<(), Rejected> {
        let paused = self.saga.paused.then(|| "it is paused already".to_owned());
        allow(Action::Pause, ended(self.saga.status).or(paused))?;
        self.acted(Action::Pause, operator);
        self.record(Event::SagaPaused);
        Ok(())
    }

    pub(super) fn resume(&mut self, operator: &Operator) -> Result<(), Rejected> {
        let running = (!self.saga.paused).then(|| "it is not paused".to_owned());
        allow(Action::Resume, ended(self.saga.status).or(running))?;
        self.acted(Action::Resume, operator);
        self.record(Event::SagaResumed);
        self.check_deadline();
        Ok(())
    }

    fn acted(&mut self, action: Action, operator: &Operator) {
        let Operator { who, reason } = operator.clone();
        self.record(Event::OperatorActed { action, who, reason });
    }

    fn index(&self, step: &StepName) -> Result<StepIndex, Rejected> {
        self.saga.definition.step_index(step).ok_or_else(|| Rejected::UnknownStep(step.clone()))
    }
}

fn allow(action: Action, why_not: Option<String>) -> Result<(), Rejected> {
    match why_not {
        Some(why) => Err(Rejected::NotAllowed { action, why }),
        None => Ok(()),
    }
}
