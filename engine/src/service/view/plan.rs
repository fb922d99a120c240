//! What undoing a saga would do, step by step.

use std::sync::Arc;

use amends_core::{Cause, CauseKind, Definition, Event, Failure, Phase, Saga, SagaId, StepState, Transition, evolve};
use amends_proto::amends::v1::PlannedCompensation;

/// The compensations that a cancellation of this saga, as it stands, would run, in their order.
///
/// It plays the undoing through on a copy, with the core's own choice of what comes next.
pub fn plan(saga: &Saga) -> Vec<PlannedCompensation> {
    let mut saga = saga.clone();
    let at = saga.updated_at;
    if saga.cause.is_none() {
        let cause = Cause { kind: CauseKind::Cancelled, step: None, failure: Failure::new("CANCELLED", "planned") };
        evolve(&mut saga, &Event::CompensationStarted { cause }, at);
    }
    let mut planned = Vec::new();
    while let Some(index) = saga.next_compensation() {
        let (definition, state) = saga.step(index);
        planned.push(PlannedCompensation {
            step: definition.name.to_string(),
            command: definition.command.clone(),
            participant: definition.participant.clone(),
            outcome: outcome(state).to_owned(),
            output: state.output.as_ref().map(|output| output.as_str().to_owned()).unwrap_or_default(),
        });
        let step = definition.name.clone();
        evolve(&mut saga, &Event::StepCompensated { step }, at);
    }
    planned
}

/// The same for a saga that is being, or has been, undone: the plan as it was at that moment, whatever is done of it by now.
pub fn plan_of_cancelled(id: SagaId, definition: &Arc<Definition>, journal: &[Transition]) -> Vec<PlannedCompensation> {
    let mut saga = Saga::new(id, definition.clone());
    for transition in journal {
        for event in &transition.events {
            evolve(&mut saga, event, transition.at);
            if matches!(event, Event::CompensationStarted { .. }) {
                return plan(&saga);
            }
        }
    }
    Vec::new()
}

const fn outcome(state: &StepState) -> &'static str {
    match state.phase {
        Phase::Succeeded { .. } => "confirmed",
        _ => "unknown",
    }
}
