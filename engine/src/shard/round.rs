//! One round of a lane: inputs become events in memory, and one batch for the store.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use amends_core::{
    Command, DomainEvent, Effect, Event, Flight, Input, JOURNAL_FORMAT, Phase, Rejected, Saga, SagaId, Shard,
    StepIndex, Timestamp, command, decide, evolve, react,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Residents;
use crate::engine::Ended;
use crate::service::ServiceError;
use crate::service::start::Started;
use crate::store::{AuditEntry, Batch, DeadLetter, JournalRow, SagaChange, SagaRow};

/// Namespace of dead-letter ids.
pub(super) const DEAD_LETTERS: Uuid = Uuid::from_u128(0x0b1d_67a4_5d0e_5f0e_8d5a_6465_6164_6c74);

/// An answer that is due when the round is committed.
pub(crate) enum Answer {
    /// To a start.
    Started(oneshot::Sender<Result<Started, ServiceError>>, Started),
    /// To an operator.
    Operated(oneshot::Sender<Result<(), ServiceError>>),
}

impl Answer {
    /// Tells the caller that all is committed. A caller that has left is no fault.
    pub(crate) fn ok(self) {
        match self {
            Self::Started(to, started) => drop(to.send(Ok(started))),
            Self::Operated(to) => drop(to.send(Ok(()))),
        }
    }

    /// Tells the caller that it was not.
    pub(crate) fn fail(self, error: ServiceError) {
        match self {
            Self::Started(to, _) => drop(to.send(Err(error))),
            Self::Operated(to) => drop(to.send(Err(error))),
        }
    }
}

/// What one round has gathered.
pub(crate) struct Round {
    now: Timestamp,
    /// For the store; the shard marks are added last.
    pub(crate) batch: Batch,
    /// To send once committed.
    pub(crate) commands: Vec<Command>,
    /// To publish once committed.
    pub(crate) domain_events: Vec<DomainEvent>,
    /// To show once committed.
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// To give once committed.
    pub(crate) answers: Vec<Answer>,
    /// Sagas to let go of, if [`may_leave`] still holds once committed.
    pub(crate) leaving: Vec<SagaId>,
    /// To tell once committed.
    pub(crate) ended: Vec<Ended>,
    /// Sagas that moved and have followers.
    pub(crate) followed: Vec<SagaId>,
    touched: BTreeSet<Shard>,
    started: HashMap<SagaId, usize>,
    changed: HashMap<SagaId, usize>,
}

impl Round {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            batch: Batch::default(),
            commands: Vec::new(),
            domain_events: Vec::new(),
            dead_letters: Vec::new(),
            answers: Vec::new(),
            leaving: Vec::new(),
            ended: Vec::new(),
            followed: Vec::new(),
            touched: BTreeSet::new(),
            started: HashMap::new(),
            changed: HashMap::new(),
        }
    }

    /// Brings an input to a saga in memory.
    pub(crate) fn apply(&mut self, residents: &mut Residents, id: SagaId, input: &Input) -> Result<(), Rejected> {
        let shard = residents.shard_of(id);
        let Some(position) = residents.shards.get(&shard).map(|owned| owned.journal_head + 1) else {
            return Err(Rejected::Stale);
        };
        let Some(resident) = residents.get_mut(id) else { return Err(Rejected::Stale) };
        let events = decide(&resident.saga, input, self.now)?;
        let saga = &mut resident.saga;
        for event in &events {
            evolve(saga, event, self.now);
        }
        saga.seq += 1;
        saga.updated_at = self.now;
        if resident.followers.is_some() {
            self.followed.push(id);
        }
        self.follow_up(saga, shard, position, &events);
        if let Some(owned) = residents.shards.get_mut(&shard) {
            owned.journal_head = position;
        }
        self.touched.insert(shard);
        residents.moved(id);
        Ok(())
    }

    /// Keeps a record that belongs to no saga.
    pub(crate) fn bury(&mut self, letter: DeadLetter) {
        self.batch.dead_letters.push(letter);
    }

    /// Has a shard's marks stored, whatever else happens.
    pub(crate) fn touch(&mut self, shard: Shard) {
        self.touched.insert(shard);
    }

    /// Accepts a saga that has just been started in memory.
    pub(crate) fn accept(&mut self, residents: &Residents, id: SagaId) {
        let Some(saga) = residents.get(id).map(|resident| &resident.saga) else { return };
        self.started.insert(id, self.batch.started.len());
        self.batch.started.push(SagaRow {
            id,
            shard: residents.shard_of(id),
            saga_type: saga.definition.saga_type.clone(),
            version: saga.definition.version,
            key: saga.key.clone(),
            digest: saga.input.digest(),
            started_at: saga.started_at,
            state: change(saga, self.now),
        });
    }

    /// Adds the fences and marks; the batch is complete.
    pub(crate) fn seal(&mut self, residents: &Residents) {
        let marks = self.touched.iter().filter_map(|shard| Some(residents.shards.get(shard)?.mark(*shard)));
        self.batch.shards = marks.collect();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Collects what a transition means for the store and the world.
    fn follow_up(&mut self, saga: &Saga, shard: Shard, position: i64, events: &[Event]) {
        let (now, id) = (self.now, saga.id);
        self.batch.journal.push(JournalRow {
            shard,
            position,
            saga_id: id,
            seq: saga.seq,
            at: now,
            format: JOURNAL_FORMAT,
            events: serde_json::to_string(events)
                .unwrap_or_else(|error| unreachable!("events are plain data: {error}")),
        });
        for event in events {
            for effect in react(saga, event, now) {
                match effect {
                    Effect::SendCommand(command) => self.commands.push(command),
                    Effect::Publish(event) => self.domain_events.push(event),
                }
            }
            self.keep_records(saga, shard, event);
        }
        if events.iter().any(changes_row) {
            self.change(saga);
        }
        if saga.status.is_terminal() || saga.is_held() {
            let parked = events.iter().any(|event| matches!(event, Event::SagaParked { .. }));
            if saga.status.is_terminal() || parked {
                self.ended.push(Ended { saga: Arc::new(saga.clone()) });
            }
            self.leaving.push(id);
        }
    }

    fn change(&mut self, saga: &Saga) {
        let row = change(saga, self.now);
        if let Some(at) = self.started.get(&saga.id) {
            self.batch.started[*at].state = row;
        } else if let Some(at) = self.changed.get(&saga.id) {
            self.batch.changed[*at] = row;
        } else {
            self.changed.insert(saga.id, self.batch.changed.len());
            self.batch.changed.push(row);
        }
    }

    /// Dead letters and audit entries belong into the transaction of the fact that they keep.
    fn keep_records(&mut self, saga: &Saga, shard: Shard, event: &Event) {
        match event {
            Event::SagaParked { step, operation, failure } => {
                let Some(index) = saga.definition.step_index(step) else { return };
                let name = format!("{}/{step}/{}/{}", saga.id, operation.as_str(), saga.seq);
                let record = serde_json::to_string(&command(saga, index, *operation)).unwrap_or_default();
                self.batch.dead_letters.push(DeadLetter {
                    id: Uuid::new_v5(&DEAD_LETTERS, name.as_bytes()),
                    saga_id: Some(saga.id),
                    shard,
                    step: Some(step.clone()),
                    operation: Some(*operation),
                    attempts: saga.steps[index.0].attempt,
                    error_code: failure.code.clone(),
                    error_message: failure.message.clone(),
                    at: self.now,
                    record,
                });
            }
            Event::OperatorActed { action, who, reason } => self.batch.audit.push(AuditEntry {
                saga_id: saga.id,
                seq: saga.seq,
                at: self.now,
                who: who.clone(),
                action: action.as_str().to_owned(),
                reason: reason.clone(),
            }),
            _ => {}
        }
    }
}

/// Whether a fact shows in the saga's row. A saga that merely moves from step to step does not rewrite it.
const fn changes_row(event: &Event) -> bool {
    matches!(
        event,
        Event::CompensationStarted { .. }
            | Event::RetryScheduled { .. }
            | Event::SagaCompleted
            | Event::SagaCompensated
            | Event::SagaParked { .. }
            | Event::SagaPaused
            | Event::SagaResumed
            | Event::SagaOverdue
            | Event::StepRedriven { .. }
            | Event::OperatorActed { .. }
    )
}

/// A saga's row as it is now: it names the step that waits, parked before due before none.
fn change(saga: &Saga, now: Timestamp) -> SagaChange {
    let waits = |index: &StepIndex| match saga.steps[index.0].phase {
        Phase::Parked(_) => Some((0, None)),
        Phase::Executing(Flight::Waiting { at }) | Phase::Compensating(Flight::Waiting { at }) => Some((1, Some(at))),
        _ => None,
    };
    let waiting = (0..saga.steps.len()).map(StepIndex).filter_map(|index| Some((waits(&index)?, index))).min();
    let state = waiting.map(|(_, index)| &saga.steps[index.0]);
    let failure = state.and_then(|state| state.failure.as_ref()).or(saga.cause.as_ref().map(|cause| &cause.failure));
    SagaChange {
        id: saga.id,
        status: saga.status,
        paused: saga.paused,
        overdue: saga.overdue,
        updated_at: now,
        step: waiting.map(|(_, index)| saga.definition.step(index).name.clone()),
        attempt: state.map_or(0, |state| state.attempt),
        next_at: waiting.and_then(|((_, at), _)| at),
        error_code: failure.map(|failure| failure.code.clone()),
        error_message: failure.map(|failure| failure.message.clone()),
    }
}

/// Whether a saga need not stay in memory: it has ended, or it is held and nothing of it is on its way.
pub(crate) fn may_leave(saga: &Saga) -> bool {
    let sent = saga.steps.iter().any(|state| matches!(state.flight(), Some((_, Flight::Sent { .. }))));
    saga.status.is_terminal() || (saga.is_held() && !sent)
}
