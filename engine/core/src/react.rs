//! What the shell must do once an event is committed.

use uuid::Uuid;

use crate::definition::{Mapping, Root, Source, StepIndex, Trigger};
use crate::event::Event;
use crate::ids::{SagaId, SagaType, StepName};
use crate::input::Timer;
use crate::payload::Payload;
use crate::saga::{Flight, Saga};
use crate::time::Timestamp;
use crate::wire::{Command, Operation};

/// One thing to do. Never performed before its event is committed; doing it again after a crash is harmless.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand a command to the participant's courier.
    SendCommand(Command),
    /// Tell the world.
    Publish(DomainEvent),
}

/// A fact that other services subscribe to. Delivered at least once, in journal order per saga.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainEvent {
    /// Stable: the same for every delivery.
    pub id: Uuid,
    /// Where it is published.
    pub topic: String,
    /// The saga that it is about.
    pub saga_id: SagaId,
    /// Its type.
    pub saga_type: SagaType,
    /// When it happened.
    pub at: Timestamp,
    /// What it says.
    pub payload: Payload,
}

/// The effects of one event, given the saga *after* its whole transition.
pub fn react(saga: &Saga, event: &Event, at: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    let index = event.step().and_then(|step| saga.definition.step_index(step));
    match (event, index) {
        (Event::StepStarted { .. }, Some(index)) => effects.extend(sent(saga, index, Operation::Execute)),
        (Event::StepCompensationStarted { .. }, Some(index)) => {
            effects.extend(sent(saga, index, Operation::Compensate));
        }
        _ => {}
    }
    publish(saga, event, index, at, &mut effects);
    effects
}

/// The commands to send again for a saga that was just loaded.
///
/// A function of the state alone; this is what makes an outbox table unnecessary (I25).
pub fn outstanding(saga: &Saga) -> Vec<Effect> {
    if saga.status.is_terminal() {
        return Vec::new();
    }
    let flights = saga.iter().filter_map(|(index, _, state)| state.flight().map(|(operation, _)| (index, operation)));
    flights.filter_map(|(index, operation)| sent(saga, index, operation)).collect()
}

/// The timers that a saga waits for now, and when each is due; void ones are left out.
///
/// Like the outstanding commands they are a function of the state: nothing has to be stored, or cancelled.
pub fn timers(saga: &Saga) -> impl Iterator<Item = (Timestamp, Timer)> + '_ {
    let alive = !saga.status.is_terminal();
    let flights = saga.iter().filter_map(|(_, definition, state)| {
        let (operation, flight) = state.flight()?;
        let (step, attempt) = (definition.name.clone(), state.attempt);
        match flight {
            Flight::Sent { until } => Some((until, Timer::StepTimeout { step, operation, attempt })),
            Flight::Waiting { at } if !saga.is_held() => Some((at, Timer::Retry { step, operation, attempt })),
            Flight::Waiting { .. } => None,
        }
    });
    let deadline = saga.deadline_at.filter(|_| !saga.overdue && !saga.paused && saga.cause.is_none());
    flights.chain(deadline.map(|at| (at, Timer::Deadline))).filter(move |_| alive)
}

/// The command that a step's operation stands for, as it is or would be sent now.
pub fn command(saga: &Saga, index: StepIndex, operation: Operation) -> Command {
    let (definition, state) = saga.step(index);
    let payload = match (&state.input, &definition.input) {
        (Some(edited), _) => edited.clone(),
        (None, Some(mapping)) => build(saga, mapping),
        (None, None) => saga.input.clone(),
    };
    let deadline = match state.flight() {
        Some((_, Flight::Sent { until })) => until,
        _ => saga.updated_at,
    };
    Command {
        id: saga.command_id(index, operation),
        saga_id: saga.id,
        saga_type: saga.definition.saga_type.clone(),
        step: definition.name.clone(),
        operation,
        command: definition.command.clone(),
        participant: definition.participant.clone(),
        attempt: state.attempt,
        revision: state.revision,
        redrive: state.redrive,
        deadline,
        payload,
        cause: saga.cause.as_ref().map(|cause| cause.failure.clone()),
    }
}

/// The effect of a command that is out; none if its attempt has been settled since.
fn sent(saga: &Saga, index: StepIndex, operation: Operation) -> Option<Effect> {
    let out = matches!(saga.steps[index.0].flight(), Some((current, Flight::Sent { .. })) if current == operation);
    out.then(|| Effect::SendCommand(command(saga, index, operation)))
}

fn publish(saga: &Saga, event: &Event, index: Option<StepIndex>, at: Timestamp, effects: &mut Vec<Effect>) {
    let Some(trigger) = trigger(event, index) else { return };
    for rule in saga.definition.events.iter().filter(|rule| rule.on == trigger) {
        let payload = rule.payload.as_ref().map_or_else(|| saga.input.clone(), |mapping| build(saga, mapping));
        // One step succeeds, is refused or compensated at most once, and so do sagas: the topic and the fact tell
        // the events of a saga apart. Only a saga parked again needs the time as well.
        let parked_at = if matches!(event, Event::SagaParked { .. }) { at.0.to_string() } else { String::new() };
        let step = event.step().map_or("", StepName::as_str);
        let id = crate::ids::derive(&["event", &saga.id.to_string(), &rule.topic, event.kind(), step, &parked_at]);
        effects.push(Effect::Publish(DomainEvent {
            id,
            topic: rule.topic.clone(),
            saga_id: saga.id,
            saga_type: saga.definition.saga_type.clone(),
            at,
            payload,
        }));
    }
}

fn trigger(event: &Event, index: Option<StepIndex>) -> Option<Trigger> {
    match (event, index) {
        (Event::SagaStarted { .. }, _) => Some(Trigger::SagaStarted),
        (Event::SagaCompleted, _) => Some(Trigger::SagaCompleted),
        (Event::SagaCompensated, _) => Some(Trigger::SagaCompensated),
        (Event::SagaParked { .. }, _) => Some(Trigger::SagaParked),
        (Event::StepSucceeded { .. }, Some(index)) => Some(Trigger::StepSucceeded(index)),
        (Event::StepRefused { .. }, Some(index)) => Some(Trigger::StepRefused(index)),
        (Event::StepCompensated { .. }, Some(index)) => Some(Trigger::StepCompensated(index)),
        _ => None,
    }
}

/// Builds the object that a mapping describes, as text: parts pass through unparsed.
fn build(saga: &Saga, mapping: &Mapping) -> Payload {
    let mut text = String::with_capacity(128);
    text.push('{');
    for (name, source) in &mapping.0 {
        let part = match source {
            Source::Literal(value) => Some(value.get().to_owned()),
            Source::Pointer(pointer) => match pointer.root {
                Root::Input => saga.input.pointer(&pointer.path).map(|part| part.get().to_owned()),
                Root::Step(index) => {
                    let output = saga.steps[index.0].output.as_ref();
                    output.and_then(|output| output.pointer(&pointer.path)).map(|part| part.get().to_owned())
                }
                Root::Failure => failure_part(saga, &pointer.path),
                Root::Saga => saga_part(saga, &pointer.path),
            },
        };
        let Some(part) = part else { continue };
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&quoted(name));
        text.push(':');
        text.push_str(&part);
    }
    text.push('}');
    Payload::from_json(text).unwrap_or_else(|_| Payload::null())
}

fn failure_part(saga: &Saga, path: &str) -> Option<String> {
    let cause = saga.cause.as_ref()?;
    match path {
        "/code" => Some(quoted(&cause.failure.code)),
        "/message" => Some(quoted(&cause.failure.message)),
        "/step" => cause.step.as_ref().map(|step| quoted(step.as_str())),
        "/kind" => serde_json::to_string(&cause.kind).ok(),
        _ => None,
    }
}

fn saga_part(saga: &Saga, path: &str) -> Option<String> {
    match path {
        "/id" => Some(quoted(&saga.id.to_string())),
        "/type" => Some(quoted(saga.definition.saga_type.as_str())),
        "/key" => saga.key.as_ref().map(|key| quoted(key.as_str())),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
