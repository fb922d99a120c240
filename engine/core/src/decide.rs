//! What follows from an input: the state machine's moves, as events.
//!
//! Every decision ends in [`Draft::advance`], the one place that lets a saga go on: forward along the graph, back
//! against the order of confirmation, or to its end.

mod operator;
mod reply;

use crate::definition::{Exhaustion, On, StepIndex, StepKind};
use crate::event::{Cause, CauseKind, Event};
use crate::evolve::evolve;
use crate::input::{Input, Rejected, Timer};
use crate::retry::backoff;
use crate::saga::{Flight, Phase, Saga, Status};
use crate::time::{Millis, Timestamp};
use crate::wire::{Failure, Operation};

/// Says what follows from an input. The saga itself is not changed; [`evolve`] does that, event by event.
///
/// The events belong into one journal row. `Err` means that nothing follows, which is an answer and not a fault.
pub fn decide(saga: &Saga, input: &Input, now: Timestamp) -> Result<Vec<Event>, Rejected> {
    let mut draft = Draft { saga: saga.clone(), events: Vec::with_capacity(4), now };
    match input {
        Input::Start { key, input, deadline_at } => {
            if saga.seq > 0 {
                return Err(Rejected::Duplicate);
            }
            let definition = &saga.definition;
            let deadline_at = deadline_at.or_else(|| definition.deadline.map(|span| now.after(span)));
            draft.record(Event::SagaStarted {
                saga_type: definition.saga_type.clone(),
                version: definition.version,
                key: key.clone(),
                input: input.clone(),
                deadline_at,
            });
        }
        Input::Reply(reply) => draft.reply(reply)?,
        Input::TimerFired(timer) => draft.timer_fired(timer)?,
        Input::Cancel(operator) => draft.cancel(operator)?,
        Input::Retry { operator, step, input } => draft.retry(operator, step.as_ref(), input.as_ref())?,
        Input::Skip { operator, step, result } => draft.skip(operator, step, result.as_ref())?,
        Input::Resolve { operator, status } => draft.resolve(operator, *status)?,
        Input::Pause(operator) => draft.pause(operator)?,
        Input::Resume(operator) => draft.resume(operator)?,
    }
    draft.advance();
    Ok(draft.events)
}

/// A saga as it will be, and the events that lead there.
struct Draft {
    saga: Saga,
    events: Vec<Event>,
    now: Timestamp,
}

impl Draft {
    fn record(&mut self, event: Event) {
        evolve(&mut self.saga, &event, self.now);
        self.events.push(event);
    }

    /// Starts what can start and ends what has ended. Does nothing while the saga is held.
    fn advance(&mut self) {
        if self.saga.status.is_terminal() || self.saga.is_held() {
            return;
        }
        if self.saga.cause.is_none() {
            return self.go(On::Forward, Event::SagaCompleted);
        }
        let undoing = self.saga.steps.iter().any(|step| matches!(step.phase, Phase::Compensating(_)));
        if undoing {
            return;
        }
        match self.saga.next_compensation() {
            Some(next) => self.send(next, Operation::Compensate),
            None => self.go(On::Compensated, Event::SagaCompensated),
        }
    }

    /// Commands every step of a group whose predecessors are settled; records `end` once all of the group are.
    fn go(&mut self, on: On, end: Event) {
        let definition = self.saga.definition.clone();
        let mut settled = true;
        for index in definition.steps_on(on) {
            let state = &self.saga.steps[index.0];
            let ready = definition.step(index).after.iter().all(|before| self.saga.steps[before.0].is_settled());
            settled &= state.is_settled();
            if state.phase == Phase::Pending && ready {
                self.send(index, Operation::Execute);
            }
        }
        if settled {
            self.record(end);
        }
    }

    /// Records that a step's command leaves (again).
    fn send(&mut self, index: StepIndex, operation: Operation) {
        let (definition, state) = self.saga.step(index);
        let step = definition.name.clone();
        let event = match operation {
            Operation::Execute => Event::StepStarted { step, attempt: state.attempt + 1 },
            Operation::Compensate if matches!(state.phase, Phase::Compensating(_)) => {
                Event::StepCompensationStarted { step, attempt: state.attempt + 1 }
            }
            Operation::Compensate => Event::StepCompensationStarted { step, attempt: 1 },
        };
        self.record(event);
    }

    fn timer_fired(&mut self, timer: &Timer) -> Result<(), Rejected> {
        match timer {
            Timer::StepTimeout { step, operation, attempt } => {
                let index = self.saga.definition.step_index(step).ok_or(Rejected::Void)?;
                let (definition, state) = self.saga.step(index);
                let due = matches!(state.flight(), Some((current, Flight::Sent { until }))
                    if current == *operation && until <= self.now);
                if !due || state.attempt != *attempt {
                    return Err(Rejected::Void);
                }
                let failure = Failure::new("TIMED_OUT", format!("no answer within {}", definition.timeout));
                self.record(Event::StepTimedOut { step: step.clone(), operation: *operation, attempt: *attempt });
                self.attempt_failed(index, *operation, failure, None);
            }
            Timer::Retry { step, operation, attempt } => {
                let index = self.saga.definition.step_index(step).ok_or(Rejected::Void)?;
                let state = &self.saga.steps[index.0];
                let due = matches!(state.flight(), Some((current, Flight::Waiting { at }))
                    if current == *operation && at <= self.now);
                if !due || state.attempt != *attempt || self.saga.is_held() {
                    return Err(Rejected::Void);
                }
                self.send(index, *operation);
            }
            Timer::Deadline => {
                if self.saga.paused || !self.check_deadline() {
                    return Err(Rejected::Void);
                }
            }
        }
        Ok(())
    }

    /// Records what a passed deadline means, if it has passed and still means something.
    fn check_deadline(&mut self) -> bool {
        let saga = &self.saga;
        let passed = saga.deadline_at.is_some_and(|deadline| deadline <= self.now);
        if !passed || saga.status.is_terminal() || saga.cause.is_some() || saga.overdue {
            return false;
        }
        if saga.is_committed() {
            self.record(Event::SagaOverdue);
        } else {
            let failure =
                Failure::new("DEADLINE_EXCEEDED", "the saga's deadline passed before its pivot was confirmed");
            self.compensate(CauseKind::Deadline, None, failure);
        }
        true
    }

    /// Turns back. Commands still in flight are compensated as unknown ones: the participants' barrier makes it safe.
    fn compensate(&mut self, kind: CauseKind, index: Option<StepIndex>, failure: Failure) {
        let step = index.map(|index| self.saga.definition.step(index).name.clone());
        self.record(Event::CompensationStarted { cause: Cause { kind, step, failure } });
    }

    /// Settles a failed attempt: another one, or the end of this operation's attempts.
    fn attempt_failed(&mut self, index: StepIndex, operation: Operation, failure: Failure, wanted: Option<Millis>) {
        let (definition, state) = self.saga.step(index);
        let policy = match operation {
            Operation::Execute => &definition.retry,
            Operation::Compensate => &definition.compensation_retry,
        };
        let (step, attempt, used) = (definition.name.clone(), state.attempt, state.attempts_used());
        if used < policy.attempts {
            let at = self.now.after(backoff(policy, self.saga.id, &step, used, wanted));
            return self.record(Event::RetryScheduled { step, operation, attempt, at, failure });
        }
        match (operation, definition.kind) {
            (Operation::Compensate, _) => self.record(Event::SagaParked { step, operation, failure }),
            (Operation::Execute, StepKind::Retriable) => self.used_up(index, failure),
            (Operation::Execute, _) => {
                self.record(Event::StepExhausted { step, failure: failure.clone() });
                self.compensate(CauseKind::Exhausted, Some(index), failure);
            }
        }
    }

    /// A retriable step can neither go on nor be undone: its policy says whether the saga waits or passes it over.
    fn used_up(&mut self, index: StepIndex, failure: Failure) {
        let definition = self.saga.definition.step(index);
        let step = definition.name.clone();
        self.record(match definition.exhausted {
            Exhaustion::Park => Event::SagaParked { step, operation: Operation::Execute, failure },
            Exhaustion::Skip => Event::StepSkipped { step, output: None },
        });
    }
}

/// Whether a saga in this status can still be changed by an operator.
fn ended(status: Status) -> Option<String> {
    status.is_terminal().then(|| format!("it has ended ({})", status.as_str()))
}
