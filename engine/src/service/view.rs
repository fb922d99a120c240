//! A saga as people and clients see it: its journal folded into one answer, with the sentences that say what it waits
//! for and why it is where it is.
//!
//! Everything here is a function of the journal, the definition and the time of asking.

mod convert;
mod detail;
mod history;
mod plan;
mod sentence;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use amends_core::{
    Cause, CauseKind, Definition, Flight, On, Operation, Phase, SagaId, StepDefinition, StepIndex, StepKind, StepState,
    Transition,
};
use amends_proto::amends::v1 as proto;

pub use convert::{handle, span, status_from_proto, status_to_proto, timestamp};
pub use detail::detail;
pub use plan::{plan, plan_of_cancelled};

use history::{History, StepHistory};

/// Folds a journal into the answer of `GetSaga`. `now` is what spans of time in its sentences are measured against.
pub fn view(
    id: SagaId,
    definition: &Arc<Definition>,
    journal: &[Transition],
    now: amends_core::Timestamp,
) -> proto::Saga {
    let history = History::fold(id, definition.clone(), journal);
    let saga = &history.saga;
    proto::Saga {
        id: saga.id.to_string(),
        r#type: definition.saga_type.to_string(),
        version: definition.version,
        idempotency_key: saga.key.as_ref().map(ToString::to_string).unwrap_or_default(),
        status: status_to_proto(saga.status).into(),
        paused: saga.paused,
        cause: saga.cause.as_ref().map(cause),
        steps: saga
            .iter()
            .zip(&history.steps)
            .map(|((_, definition, state), past)| step(saga, definition, state, past))
            .collect(),
        start_time: Some(timestamp(saga.started_at)),
        update_time: Some(timestamp(saga.updated_at)),
        deadline: saga.deadline_at.map(timestamp),
        overdue: saga.overdue,
        input: saga.input.as_str().to_owned(),
        waiting_for: sentence::waiting_for(&history, now),
        why: sentence::why(&history),
        committed: saga.is_committed(),
        journal_rows: saga.seq,
    }
}

fn step(saga: &amends_core::Saga, definition: &StepDefinition, state: &StepState, past: &StepHistory) -> proto::Step {
    let name_of = |index: &StepIndex| saga.definition.step(*index).name.to_string();
    let failure = past.failure();
    let next_attempt = match state.flight() {
        Some((_, Flight::Waiting { at })) if !saga.is_held() => Some(at),
        _ => None,
    };
    proto::Step {
        name: definition.name.to_string(),
        command: definition.command.clone(),
        participant: definition.participant.clone(),
        kind: kind_word(definition.kind).to_owned(),
        on: on_word(definition.on).to_owned(),
        after: definition.after.iter().map(name_of).collect(),
        state: state_word(state.phase).to_owned(),
        attempts: past.attempts,
        compensation_attempts: past.compensation_attempts,
        start_time: past.started_at.map(timestamp),
        end_time: past.ended_at.map(timestamp),
        compensation_start_time: past.compensation_started_at.map(timestamp),
        compensation_end_time: past.compensation_ended_at.map(timestamp),
        next_attempt_time: next_attempt.map(timestamp),
        error_code: failure.map(|failure| failure.code.clone()).unwrap_or_default(),
        error_message: failure.map(|failure| failure.message.clone()).unwrap_or_default(),
        output: state.output.as_ref().map(|output| output.as_str().to_owned()).unwrap_or_default(),
        rank: past.rank,
    }
}

fn cause(cause: &Cause) -> proto::Cause {
    proto::Cause {
        kind: cause_word(cause.kind).to_owned(),
        step: cause.step.as_ref().map(ToString::to_string).unwrap_or_default(),
        code: cause.failure.code.clone(),
        message: cause.failure.message.clone(),
    }
}

const fn cause_word(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::Refused => "refused",
        CauseKind::Exhausted => "exhausted",
        CauseKind::Deadline => "deadline",
        CauseKind::Cancelled => "cancelled",
    }
}

/// The word for a kind of step, as definitions write it.
pub const fn kind_word(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Compensatable => "compensatable",
        StepKind::Pivot => "pivot",
        StepKind::Retriable => "retriable",
    }
}

/// The word for when a step runs, as definitions write it.
pub const fn on_word(on: On) -> &'static str {
    match on {
        On::Forward => "forward",
        On::Compensated => "compensated",
    }
}

const fn state_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "pending",
        Phase::Executing(Flight::Sent { .. }) => "executing",
        Phase::Executing(Flight::Waiting { .. }) => "waiting",
        Phase::Succeeded { .. } => "succeeded",
        Phase::Refused => "refused",
        Phase::Unknown => "unknown",
        Phase::Skipped => "skipped",
        Phase::Compensating(_) => "compensating",
        Phase::Compensated => "compensated",
        Phase::Parked(Operation::Execute | Operation::Compensate) => "parked",
    }
}
