//! One journal event as a sentence.

use amends_core::{Cause, CauseKind, Definition, Event, Failure, Operation, StepName, Timestamp};

use super::convert::span;

/// Says in a few words what an event, decided `at`, is about; step and kind stand beside it.
pub fn detail(definition: &Definition, event: &Event, at: Timestamp) -> String {
    match event {
        Event::SagaStarted { saga_type, version, deadline_at, .. } => match deadline_at {
            Some(deadline) => {
                format!("accepted as {saga_type} version {version}, due within {}", span(deadline.since(at)))
            }
            None => format!("accepted as {saga_type} version {version}"),
        },
        Event::StepStarted { step, .. } => {
            format!("{} goes to {}", command(definition, step), participant(definition, step))
        }
        Event::StepCompensationStarted { step, .. } => {
            format!("compensation of {} goes to {}", command(definition, step), participant(definition, step))
        }
        Event::StepSucceeded { step, .. } => format!("confirmed by {}", participant(definition, step)),
        Event::StepRefused { step, failure } => {
            format!("refused by {} ({})", participant(definition, step), said(failure))
        }
        Event::StepTimedOut { operation, attempt, .. } => {
            format!("no answer to attempt {attempt}{}; whether it took effect is unknown", of(*operation))
        }
        Event::RetryScheduled { operation, attempt, at: due, failure, .. } => {
            format!("attempt {attempt}{} failed ({}); next in {}", of(*operation), said(failure), span(due.since(at)))
        }
        Event::StepExhausted { failure, .. } => {
            format!("attempts used up ({}); whether it took effect is unknown", said(failure))
        }
        Event::StepSkipped { output, .. } => match output {
            Some(_) => "passed over, with a result given by hand".to_owned(),
            None => "passed over".to_owned(),
        },
        Event::CompensationStarted { cause } => format!("turns back: {}", because(cause)),
        Event::StepCompensated { .. } => "undone".to_owned(),
        Event::SagaCompleted => "all steps are settled".to_owned(),
        Event::SagaCompensated => "everything that was done is undone".to_owned(),
        Event::SagaParked { operation, failure, .. } => {
            format!("waits for an operator{} ({})", of(*operation), said(failure))
        }
        Event::StepRedriven { operation, input, .. } => {
            let with = if input.is_some() { " with another input" } else { "" };
            format!("tried again{with} on an operator's word{}", of(*operation))
        }
        Event::SagaPaused => "commands are held back".to_owned(),
        Event::SagaResumed => "commands go out again".to_owned(),
        Event::SagaOverdue => "the deadline passed after the point of no return".to_owned(),
        Event::OperatorActed { action, who, reason } if reason.is_empty() => format!("{} by {who}", action.as_str()),
        Event::OperatorActed { action, who, reason } => format!("{} by {who}: {reason}", action.as_str()),
    }
}

/// `CODE: message`, or the code alone where there is no message.
pub(super) fn said(failure: &Failure) -> String {
    if failure.message.is_empty() { failure.code.clone() } else { format!("{}: {}", failure.code, failure.message) }
}

fn because(cause: &Cause) -> String {
    let step = cause.step.as_ref().map_or("a step", StepName::as_str);
    match cause.kind {
        CauseKind::Refused => format!("{step} was refused ({})", said(&cause.failure)),
        CauseKind::Exhausted => format!("{step} used up its attempts ({})", said(&cause.failure)),
        CauseKind::Deadline => "the deadline passed".to_owned(),
        CauseKind::Cancelled => format!("cancelled ({})", cause.failure.message),
    }
}

const fn of(operation: Operation) -> &'static str {
    match operation {
        Operation::Execute => "",
        Operation::Compensate => " of the compensation",
    }
}

fn command<'d>(definition: &'d Definition, step: &'d StepName) -> &'d str {
    let found = definition.step_index(step).map(|index| definition.step(index).command.as_str());
    found.unwrap_or(step.as_str())
}

fn participant<'d>(definition: &'d Definition, step: &StepName) -> &'d str {
    definition.step_index(step).map_or("an unknown participant", |index| definition.step(index).participant.as_str())
}
