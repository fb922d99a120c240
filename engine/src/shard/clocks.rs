//! Which timers go off, and which attempts count.
//!
//! An attempt is used up by its participant, not by what lies between. While its command has not reached the participant
//! its clock stands still: one that is away, or behind, must not use up the attempts of every saga that wants something
//! of it. And what times out after something was amiss on the way is sent again as the same attempt: its command may be
//! lost, or its reply wait to be read.

use std::time::{Duration, Instant};

use amends_core::{Command, Effect, Input, Millis, Saga, SagaId, StepName, Timer, Timestamp, outstanding, timers};

use super::lane::Lane;
use super::now;
use super::resident::{Resident, Residents};
use super::round::Round;

/// How often a held command is looked at.
const HELD_POLL: Millis = Millis(500);

/// A lane that is late by so much may find replies that were in time.
const LATE: Duration = Duration::from_secs(1);

/// Notices when a lane is held up: by its database, or because the whole process stood still.
pub(super) struct Pulse {
    /// When the lane means to be here; `None` if it waits for others.
    expected: Option<Instant>,
    /// Until when it was held up last.
    late: Timestamp,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { expected: None, late: Timestamp(0) }
    }

    /// The lane is here, and means to be here again after that time, if after any.
    pub(super) fn beat(&mut self, next: Option<Duration>) {
        if self.expected.is_some_and(|expected| expected.elapsed() >= LATE) {
            self.late = now();
        }
        self.expected = next.and_then(|next| Instant::now().checked_add(next));
    }
}

impl Lane {
    /// Fires the timers that are due, of at most `limit` sagas. What is to be sent again leaves with the round.
    pub(super) fn fire_timers(&mut self, round: &mut Round, limit: usize) {
        let now = now();
        for id in self.residents.due(now, limit) {
            for timer in self.due(round, id, now) {
                // Void is the normal end of a timer whose step moved on within this very round.
                if let Err(verdict) = round.apply(&mut self.residents, id, &Input::TimerFired(timer)) {
                    tracing::trace!(saga = %id, %verdict, "timer");
                }
            }
        }
    }

    /// The timers of a saga to fire now.
    fn due(&mut self, round: &mut Round, id: SagaId, now: Timestamp) -> Vec<Timer> {
        let Some(resident) = self.residents.get(id) else { return Vec::new() };
        let hindered = resident.due(now).iter().any(|timer| self.was_hindered(resident, timer));
        let (held, due): (Vec<_>, Vec<_>) =
            resident.due(now).into_iter().partition(|timer| self.is_held(resident, timer));
        if !held.is_empty() {
            self.residents.postpone(id, now, HELD_POLL, true);
            return if hindered { Vec::new() } else { due };
        }
        if hindered {
            tracing::debug!(saga = %id, "something was amiss on the way; what has no answer is sent again");
            round.commands.extend(again(&resident.saga, now));
            self.residents.sent(id, now);
        } else if !self.residents.was_held(id) {
            return due;
        }
        wind_up(&mut self.residents, id, now);
        self.residents.get(id).map(|resident| resident.due(now)).unwrap_or_default()
    }

    /// Whether something was amiss since the command of a time-out was sent: not handed over, or not delivered, or the
    /// reply could not be read.
    fn was_hindered(&self, resident: &Resident, timer: &Timer) -> bool {
        let Timer::StepTimeout { step, .. } = timer else { return false };
        let definition = &resident.saga.definition;
        let hindered = |index| self.config.courier.hindered(&definition.step(index).participant);
        let courier = definition.step_index(step).map_or(Timestamp(0), hindered);
        resident.sent <= courier.max(self.pulse.late).max(self.config.dispatcher.failed())
    }

    fn is_held(&self, resident: &Resident, timer: &Timer) -> bool {
        let definition = &resident.saga.definition;
        // Before a retry nothing is on its way that could still be unread.
        let sent = if matches!(timer, Timer::Retry { .. }) { Timestamp(0) } else { resident.sent };
        step(timer)
            .and_then(|step| definition.step_index(step))
            .is_some_and(|index| self.config.courier.holds(&definition.step(index).participant, sent))
    }
}

/// Gives the attempts of a saga the time that they would have had, since their commands reach their participants, or are
/// sent again, only now.
pub(super) fn wind_up(residents: &mut Residents, id: SagaId, now: Timestamp) {
    let Some(Resident { saga, .. }) = residents.get(id) else { return };
    let full = timers(saga).filter_map(|(_, timer)| timeout(saga, &timer)).max();
    residents.postpone(id, now, full.unwrap_or_default(), false);
}

/// What a saga waits for, to be sent again: the same attempts, with all their time before them.
pub(super) fn again(saga: &Saga, now: Timestamp) -> impl Iterator<Item = Command> {
    outstanding(saga).into_iter().filter_map(move |effect| match effect {
        Effect::SendCommand(mut command) => {
            let timeout = saga.definition.step_index(&command.step).map(|index| saga.definition.step(index).timeout);
            command.deadline = now.after(timeout.unwrap_or_default());
            Some(command)
        }
        Effect::Publish(_) => None,
    })
}

fn step(timer: &Timer) -> Option<&StepName> {
    match timer {
        Timer::StepTimeout { step, .. } | Timer::Retry { step, .. } => Some(step),
        Timer::Deadline => None,
    }
}

/// How long an attempt may take.
fn timeout(saga: &Saga, timer: &Timer) -> Option<Millis> {
    match timer {
        Timer::StepTimeout { step, .. } => {
            saga.definition.step_index(step).map(|index| saga.definition.step(index).timeout)
        }
        Timer::Retry { .. } | Timer::Deadline => None,
    }
}
