//! Which timers go off. The clocks of an attempt stand still while its command is held back: a participant that cannot
//! be reached must not use up the attempts of every saga that wants something of it.

use amends_core::{Millis, Saga, SagaId, StepName, Timer, Timestamp};

use super::lane::Lane;

/// How often a held command is looked at.
const HELD_POLL: Millis = Millis(250);

impl Lane {
    /// The timers to fire now, of at most `limit` sagas.
    pub(super) fn due(&mut self, now: Timestamp, limit: usize) -> Vec<(SagaId, Vec<Timer>)> {
        let mut fire = Vec::new();
        for id in self.residents.due(now, limit) {
            let Some(resident) = self.residents.get(id) else { continue };
            let (held, due): (Vec<_>, Vec<_>) =
                resident.due(now).into_iter().partition(|timer| self.is_held(&resident.saga, timer));
            if !held.is_empty() {
                self.residents.postpone(id, now, HELD_POLL, true);
            } else if self.residents.was_held(id) {
                // Sent only now: it gets the time that it would have had.
                let full = due.iter().filter_map(|timer| timeout(&self.residents.get(id)?.saga, timer)).max();
                self.residents.postpone(id, now, full.unwrap_or_default(), false);
                let due = self.residents.get(id).map(|resident| resident.due(now)).unwrap_or_default();
                if !due.is_empty() {
                    fire.push((id, due));
                }
                continue;
            }
            if !due.is_empty() {
                fire.push((id, due));
            }
        }
        fire
    }

    fn is_held(&self, saga: &Saga, timer: &Timer) -> bool {
        step(timer)
            .and_then(|step| saga.definition.step_index(step))
            .is_some_and(|index| self.config.courier.holds(&saga.definition.step(index).participant))
    }
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
