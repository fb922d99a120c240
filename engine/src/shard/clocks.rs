//! Which timers go off. The clock of an attempt stands still while its command has not reached its participant: one that
//! is away, or behind, must not use up the attempts of every saga that wants something of it.

use amends_core::{Millis, Saga, SagaId, StepName, Timer, Timestamp, timers};

use super::lane::Lane;
use super::resident::{Resident, Residents};

/// How often a held command is looked at.
const HELD_POLL: Millis = Millis(500);

impl Lane {
    /// The timers to fire now, of at most `limit` sagas.
    pub(super) fn due(&mut self, now: Timestamp, limit: usize) -> Vec<(SagaId, Vec<Timer>)> {
        let mut fire = Vec::new();
        for id in self.residents.due(now, limit) {
            let Some(resident) = self.residents.get(id) else { continue };
            let (held, due): (Vec<_>, Vec<_>) =
                resident.due(now).into_iter().partition(|timer| self.is_held(resident, timer));
            if !held.is_empty() {
                self.residents.postpone(id, now, HELD_POLL, true);
            } else if self.residents.was_held(id) {
                wind_up(&mut self.residents, id, now);
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
