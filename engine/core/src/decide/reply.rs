//! What a participant's answer means.

use super::Draft;
use crate::definition::{StepIndex, StepKind};
use crate::event::{CauseKind, Event};
use crate::input::Rejected;
use crate::saga::{Flight, Phase};
use crate::wire::{Failure, Operation, Outcome, Reply};

impl Draft {
    /// Applies a reply if it answers an outstanding command (I24), and says what it is otherwise.
    ///
    /// A definite answer counts whenever it comes: between two attempts, and even after the step was parked. *Try
    /// again* counts only for the attempt that it answers, so that a late copy does not use up the next one.
    pub(super) fn reply(&mut self, reply: &Reply) -> Result<(), Rejected> {
        let index = self.saga.definition.step_index(&reply.step).ok_or(Rejected::Stale)?;
        let (definition, state) = self.saga.step(index);
        if self.saga.status.is_terminal() || reply.command_id != self.saga.command_id(index, reply.operation) {
            return Err(settled_as(state.phase, reply));
        }
        let step = definition.name.clone();
        let current = reply.attempt == state.attempt;
        match (state.phase, reply.operation, &reply.outcome) {
            (Phase::Executing(_) | Phase::Parked(Operation::Execute), Operation::Execute, Outcome::Done(output)) => {
                self.record(Event::StepSucceeded { step, output: output.clone() });
            }
            (Phase::Executing(_), Operation::Execute, Outcome::Refused(failure)) => self.refused(index, failure),
            (
                Phase::Compensating(_) | Phase::Parked(Operation::Compensate),
                Operation::Compensate,
                Outcome::Done(_),
            ) => {
                self.record(Event::StepCompensated { step });
            }
            // A compensation has no business refusal (I13): somebody has to look.
            (Phase::Compensating(_), Operation::Compensate, Outcome::Refused(failure)) => {
                self.record(Event::SagaParked { step, operation: Operation::Compensate, failure: failure.clone() });
            }
            (Phase::Executing(Flight::Sent { .. }), Operation::Execute, Outcome::TryAgain { failure, after })
            | (Phase::Compensating(Flight::Sent { .. }), Operation::Compensate, Outcome::TryAgain { failure, after })
                if current =>
            {
                self.attempt_failed(index, reply.operation, failure.clone(), *after);
            }
            (phase, ..) => return Err(settled_as(phase, reply)),
        }
        Ok(())
    }

    fn refused(&mut self, index: StepIndex, failure: &Failure) {
        let definition = self.saga.definition.step(index);
        let kind = definition.kind;
        self.record(Event::StepRefused { step: definition.name.clone(), failure: failure.clone() });
        match kind {
            StepKind::Retriable => self.used_up(index, failure.clone()),
            StepKind::Compensatable | StepKind::Pivot => {
                self.compensate(CauseKind::Refused, Some(index), failure.clone());
            }
        }
    }
}

/// Tells a copy of the reply that settled a phase from one that comes too late.
const fn settled_as(phase: Phase, reply: &Reply) -> Rejected {
    match (phase, reply.operation, &reply.outcome) {
        (Phase::Succeeded { .. }, Operation::Execute, Outcome::Done(_))
        | (Phase::Refused, Operation::Execute, Outcome::Refused(_))
        | (Phase::Compensated, Operation::Compensate, Outcome::Done(_)) => Rejected::Duplicate,
        _ => Rejected::Stale,
    }
}
