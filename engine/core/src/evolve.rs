//! The only code that changes a saga: live sagas and replayed ones take the same path.

use crate::event::Event;
use crate::saga::{Flight, Phase, Saga, Status};
use crate::time::Timestamp;
use crate::wire::Operation;

/// Changes a saga by one fact. The only code that does: live sagas and replayed ones take the same path.
///
/// A fact about a step that the definition does not have parks the saga (I7).
pub fn evolve(saga: &mut Saga, event: &Event, at: Timestamp) {
    match event {
        Event::SagaStarted { key, input, deadline_at, .. } => {
            saga.key.clone_from(key);
            saga.input = input.clone();
            saga.deadline_at = *deadline_at;
            saga.started_at = at;
        }
        Event::CompensationStarted { cause } => {
            for step in &mut saga.steps {
                if matches!(step.phase, Phase::Executing(_)) {
                    step.phase = Phase::Unknown;
                    step.executed.end = Some(at);
                }
            }
            saga.cause = Some(cause.clone());
            if saga.status == Status::Running {
                saga.status = Status::Compensating;
            }
        }
        Event::SagaCompleted => saga.status = Status::Completed,
        Event::SagaCompensated => saga.status = Status::Compensated,
        Event::SagaPaused => saga.paused = true,
        Event::SagaResumed => saga.paused = false,
        Event::SagaOverdue => saga.overdue = true,
        Event::OperatorActed { .. } => {}
        _ => evolve_step(saga, event, at),
    }
}

fn evolve_step(saga: &mut Saga, event: &Event, at: Timestamp) {
    let rank = 1 + saga.steps.iter().map(|step| rank_of(step.phase)).max().unwrap_or(0);
    let timeout = event
        .step()
        .and_then(|name| saga.definition.step_index(name))
        .map(|index| saga.definition.step(index).timeout)
        .unwrap_or_default();
    let Some(step) = event.step().and_then(|name| saga.step_mut(name)) else {
        saga.status = Status::Parked;
        return;
    };
    match event {
        Event::StepStarted { attempt, .. } => {
            step.attempt = *attempt;
            step.phase = Phase::Executing(Flight::Sent { until: at.after(timeout) });
            step.executed.open(at);
        }
        Event::StepCompensationStarted { attempt, .. } => {
            if !matches!(step.phase, Phase::Compensating(_)) && *attempt == 1 {
                (step.forgiven, step.revision, step.redrive, step.refused) = (0, 0, 0, false);
            }
            step.attempt = *attempt;
            step.phase = Phase::Compensating(Flight::Sent { until: at.after(timeout) });
            step.undone.open(at);
        }
        Event::StepSucceeded { output, .. } => {
            step.output = Some(output.clone());
            step.failure = None;
            step.phase = Phase::Succeeded { rank };
            step.executed.end = Some(at);
        }
        Event::StepRefused { failure, .. } => {
            step.failure = Some(failure.clone());
            step.refused = true;
            step.phase = Phase::Refused;
            step.executed.end = Some(at);
        }
        Event::RetryScheduled { operation, at: due, failure, .. } => {
            step.failure = Some(failure.clone());
            let flight = Flight::Waiting { at: *due };
            step.phase = match operation {
                Operation::Execute => Phase::Executing(flight),
                Operation::Compensate => Phase::Compensating(flight),
            };
        }
        Event::StepExhausted { failure, .. } => {
            step.failure = Some(failure.clone());
            step.phase = Phase::Unknown;
            step.executed.end = Some(at);
        }
        Event::StepSkipped { output, .. } => {
            step.output.clone_from(output);
            step.phase = Phase::Skipped;
            step.executed.end = Some(at);
        }
        Event::StepCompensated { .. } => {
            step.failure = None;
            step.phase = Phase::Compensated;
            step.undone.end = Some(at);
        }
        Event::SagaParked { operation, failure, .. } => {
            step.failure = Some(failure.clone());
            step.phase = Phase::Parked(*operation);
            saga.status = Status::Parked;
        }
        Event::StepRedriven { operation, revision, input, .. } => {
            step.refused = false;
            step.revision = *revision;
            step.redrive += 1;
            step.forgiven = step.attempt;
            if input.is_some() {
                step.input.clone_from(input);
            }
            let flight = Flight::Waiting { at };
            step.phase = match operation {
                Operation::Execute => Phase::Executing(flight),
                Operation::Compensate => Phase::Compensating(flight),
            };
        }
        _ => {}
    }
    saga.unpark();
}

const fn rank_of(phase: Phase) -> u32 {
    match phase {
        Phase::Succeeded { rank } => rank,
        _ => 0,
    }
}
