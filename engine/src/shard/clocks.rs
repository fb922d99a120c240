//! Which timers go off, and which attempts count.
//!
//! An attempt is used up by its participant, not by what lies between. While its command has not reached the participant
//! its clock stands still: one that is away, or behind, must not use up the attempts of every saga that wants something
//! of it. And what times out after something was amiss on the way is sent again as the same attempt: its command may be
//! lost, or its reply wait to be read.

use amends_core::{Command, Effect, Input, Millis, Saga, SagaId, StepName, Timer, Timestamp, outstanding, timers};

use super::lane::{Lane, ROUND_MAX};
use super::now;
use super::resident::{Resident, Residents, Stay};
use super::round::Round;

/// How often a held command is looked at.
const HELD_POLL: Millis = Millis(500);

/// A lane that is late by so much may find replies that were in time.
const LATE: Millis = Millis(1_000);

/// Notices when a lane is held up: by its database, because the whole machine stood still, or as its clock was set.
pub(super) struct Pulse {
    /// When the lane means to be here; `None` if it waits for others.
    expected: Option<Timestamp>,
    /// When it was late last, and was here again.
    late: Timestamp,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { expected: None, late: Timestamp(0) }
    }

    /// The lane is here, and means to be here again at that time, if at any.
    pub(super) fn beat(&mut self, next: Option<Timestamp>) {
        let now = now();
        if self.expected.is_some_and(|expected| now.since(expected) >= LATE) {
            self.late = now;
        }
        self.expected = next;
    }
}

impl Lane {
    /// Fires the timers that are due. What is to be sent again leaves with the round.
    pub(super) fn fire_timers(&mut self, round: &mut Round) {
        self.pulse.beat(Some(now()));
        let now = now();
        for id in self.residents.due(now, ROUND_MAX) {
            let Due { fire, again } = self.due(id, now);
            for timer in fire {
                // Void is the normal end of a timer whose step moved on within this very round.
                if let Err(verdict) = round.apply(&mut self.residents, id, &Input::TimerFired(timer)) {
                    tracing::trace!(saga = %id, %verdict, "timer");
                }
            }
            if !again.is_empty() {
                self.send_again(round, id, &again, now);
            }
        }
    }

    /// Has the commands sent again that these time-outs are of, but for those that nothing waits for any more: a timer
    /// that was fired may have turned the saga back.
    fn send_again(&self, round: &mut Round, id: SagaId, timed_out: &[Timer], now: Timestamp) {
        let Some(Resident { saga, .. }) = self.residents.get(id) else { return };
        let waits = |command: &Command| {
            timers(saga).any(|(_, timer)| timed_out.contains(&timer) && step(&timer) == Some(&command.step))
        };
        round.commands.extend(again(saga, now).filter(waits));
        // Nothing leaves that the database would not let this owner write.
        round.touch(self.residents.shard_of(id));
        tracing::debug!(saga = %id, "something was amiss on the way; what has no answer is sent again");
    }

    /// What to do about a saga's timers that are due. All but those to fire are put off.
    fn due(&mut self, id: SagaId, now: Timestamp) -> Due {
        let mut due = Due::default();
        let Some(resident) = self.residents.get(id) else { return due };
        let mut put_off = Vec::new();
        for (at, timer) in resident.due(now) {
            let Some(wait) = Wait::of(resident, at, &timer) else {
                due.fire.push(timer);
                continue;
            };
            let (sent, held) = (resident.stay(&timer).sent, resident.stay(&timer).held);
            if self.config.courier.holds(wait.participant, wait.sent) {
                put_off.push((timer, Stay { until: now.after(HELD_POLL), sent, held: true }));
            } else if self.was_hindered(&wait, now) {
                due.again.push(timer.clone());
                put_off.push((timer, Stay { until: now.after(wait.timeout), sent: Some(now), held: false }));
            } else if held && wait.timeout > Millis(0) {
                put_off.push((timer, Stay { until: now.after(wait.timeout), sent, held: false }));
            } else {
                due.fire.push(timer);
            }
        }
        self.residents.put_off(id, put_off);
        due
    }

    /// Whether something was amiss since a command was sent: it was not handed over, or not delivered, or its reply could
    /// not be read. What is said of a time to come was said before the clock was set back.
    fn was_hindered(&self, wait: &Wait<'_>, now: Timestamp) -> bool {
        let courier = self.config.courier.hindered(wait.participant);
        wait.timeout > Millis(0) && [courier, self.pulse.late].iter().any(|at| (wait.sent..=now).contains(at))
    }
}

/// The timers of a saga that are due.
#[derive(Default)]
struct Due {
    /// To go off.
    fire: Vec<Timer>,
    /// Time-outs that do not count: their commands are sent again.
    again: Vec<Timer>,
}

/// What a timer waits for: that a participant answers, or may be asked again.
struct Wait<'r> {
    participant: &'r str,
    /// When the command was sent last. Before a retry nothing is on its way, since the beginning of time.
    sent: Timestamp,
    /// How long the answer may take; nothing before a retry.
    timeout: Millis,
}

impl<'r> Wait<'r> {
    /// `None` for a saga's deadline, which waits for nobody.
    fn of(resident: &'r Resident, at: Timestamp, timer: &Timer) -> Option<Self> {
        let definition = &resident.saga.definition;
        let definition = definition.step(definition.step_index(step(timer)?)?);
        let (sent, timeout) = match timer {
            Timer::StepTimeout { .. } => {
                let first = Timestamp(at.0.saturating_sub_unsigned(definition.timeout.0));
                (resident.stay(timer).sent.unwrap_or(first), definition.timeout)
            }
            _ => (Timestamp(0), Millis(0)),
        };
        Some(Self { participant: &definition.participant, sent, timeout })
    }
}

/// Gives the attempts of a saga all their time, since their commands are sent again only now.
pub(super) fn wind_up(residents: &mut Residents, id: SagaId, now: Timestamp) {
    let Some(resident) = residents.get(id) else { return };
    let full = timers(&resident.saga).filter_map(|(at, timer)| {
        let Wait { timeout, .. } = Wait::of(resident, at, &timer)?;
        let stay = Stay { until: now.after(timeout), sent: Some(now), held: false };
        (timeout > Millis(0)).then_some((timer, stay))
    });
    let full = full.collect();
    residents.put_off(id, full);
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
