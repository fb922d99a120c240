//! For authors of definitions. Tells a saga's story: given an input, expect commands, answer them, expect an end.

use std::sync::Arc;

use crate::{
    Command, Definition, DomainEvent, Effect, Failure, Flight, Input, Operation, Operator, Outcome, Payload, Reply,
    Saga, SagaId, Status, StepState, Timer, Timestamp, Transition, decide, react, timers,
};
use serde::Serialize;
use uuid::Uuid;

/// A saga on the engine's own state machine, with the test in the place of participants and clock.
///
/// Retries come without being waited for: when the expected command is not there, the clock moves to the next one
/// that is due. Every method panics with the story so far when the saga does something else.
pub struct SagaTest {
    saga: Saga,
    now: Timestamp,
    /// Sent, and not yet expected.
    sent: Vec<Command>,
    /// Expected, and not yet answered.
    current: Option<Command>,
    published: Vec<DomainEvent>,
    story: Vec<String>,
}

/// When stories begin; a round number, so that times in a failed one are easy to read.
const BEGINNING: Timestamp = Timestamp(1_700_000_000_000);

impl SagaTest {
    /// Starts a saga.
    #[track_caller]
    pub fn given(definition: impl Into<Arc<Definition>>, input: impl Serialize) -> Self {
        let id = SagaId::from_uuid(Uuid::from_u128(1));
        let mut test = Self {
            saga: Saga::new(id, definition.into()),
            now: BEGINNING,
            sent: Vec::new(),
            current: None,
            published: Vec::new(),
            story: Vec::new(),
        };
        test.apply(&Input::Start { key: None, input: encode(&input), deadline_at: None });
        test
    }

    /// Expects that a step is asked to execute, now or when its next attempt is due.
    #[track_caller]
    #[must_use]
    pub fn expect_command(self, command: &str) -> Self {
        self.expect_sent(Operation::Execute, command)
    }

    /// Expects that a step is asked to compensate, now or when its next attempt is due.
    #[track_caller]
    #[must_use]
    pub fn expect_compensation(self, command: &str) -> Self {
        self.expect_sent(Operation::Compensate, command)
    }

    /// Expects the input of the command at hand.
    #[track_caller]
    #[must_use]
    pub fn with_input(self, input: impl Serialize) -> Self {
        let Some(command) = &self.current else { self.fail("there is no command at hand; expect one first") };
        let read = |payload: &Payload| payload.decode::<serde_json::Value>().unwrap_or_default();
        let (given, expected) = (read(&command.payload), read(&encode(&input)));
        if given != expected {
            self.fail(&format!("{} has the input {given}, expected {expected}", command.command));
        }
        self
    }

    /// Answers the command at hand: done.
    #[track_caller]
    #[must_use]
    pub fn reply_done(self, output: impl Serialize) -> Self {
        self.reply(Outcome::Done(encode(&output)))
    }

    /// Answers the command at hand: a business no.
    #[track_caller]
    #[must_use]
    pub fn reply_refused(self, code: &str) -> Self {
        self.reply(Outcome::Refused(Failure::new(code, "refused by the test")))
    }

    /// Answers the command at hand: not now.
    #[track_caller]
    #[must_use]
    pub fn reply_try_again(self) -> Self {
        self.reply(Outcome::TryAgain { failure: Failure::new("TRY_AGAIN", "not now, says the test"), after: None })
    }

    /// Leaves the command at hand without an answer until the saga stops waiting for it.
    #[track_caller]
    #[must_use]
    pub fn timeout(mut self) -> Self {
        let command = self.take_current();
        let is_due = |timer: &Timer| {
            matches!(timer, Timer::StepTimeout { step, operation, .. }
                if *step == command.step && *operation == command.operation)
        };
        if !self.fire_next(is_due) {
            self.fail(&format!("the saga does not wait for {}", command.command));
        }
        self
    }

    /// Lets the saga's deadline pass.
    #[track_caller]
    #[must_use]
    pub fn deadline_passes(mut self) -> Self {
        if !self.fire_next(|timer| *timer == Timer::Deadline) {
            self.fail("the saga has no deadline to pass");
        }
        self
    }

    /// Has an operator cancel it.
    #[track_caller]
    #[must_use]
    pub fn cancel(mut self) -> Self {
        self.apply(&Input::Cancel(operator()));
        self
    }

    /// Has an operator retry what is parked.
    #[track_caller]
    #[must_use]
    pub fn retry(mut self) -> Self {
        self.apply(&Input::Retry { operator: operator(), step: None, input: None });
        self
    }

    /// Expects that a domain event was published since the last one that was expected.
    #[track_caller]
    pub fn expect_published(mut self, topic: &str) -> Self {
        match self.published.iter().position(|event| event.topic == topic) {
            Some(position) => drop(self.published.drain(..=position)),
            None => self.fail(&format!("expected a domain event on {topic}")),
        }
        self
    }

    /// Expects that the saga has completed, with no command left to answer.
    #[track_caller]
    pub fn expect_completed(self) -> Self {
        self.expect_status(Status::Completed)
    }

    /// Expects that the saga has been compensated, with no command left to answer.
    #[track_caller]
    pub fn expect_compensated(self) -> Self {
        self.expect_status(Status::Compensated)
    }

    /// Expects that the saga waits for an operator, with no command left to answer.
    #[track_caller]
    pub fn expect_parked(self) -> Self {
        self.expect_status(Status::Parked)
    }

    /// The saga as it stands, for what the story does not cover.
    pub const fn saga(&self) -> &Saga {
        &self.saga
    }

    #[track_caller]
    fn expect_sent(mut self, operation: Operation, command: &str) -> Self {
        loop {
            let wanted = |sent: &Command| sent.operation == operation && sent.command == command;
            if let Some(position) = self.sent.iter().position(wanted) {
                self.current = Some(self.sent.remove(position));
                return self;
            }
            if !self.fire_next(|timer| matches!(timer, Timer::Retry { .. })) {
                self.fail(&format!("expected that {command} is asked to {}", operation.as_str()));
            }
        }
    }

    #[track_caller]
    fn expect_status(self, status: Status) -> Self {
        if self.saga.status != status {
            self.fail(&format!("expected a saga that is {}, it is {}", status.as_str(), self.saga.status.as_str()));
        }
        if let Some(left) = self.sent.iter().chain(&self.current).find(|command| self.waits_for(command)) {
            self.fail(&format!("{} was asked to {}, unexpectedly", left.command, left.operation.as_str()));
        }
        self
    }

    /// Whether an answer would still count: a saga that turns back leaves what is in flight behind.
    fn waits_for(&self, command: &Command) -> bool {
        let step = self.saga.definition.step_index(&command.step).map(|index| self.saga.step(index).1);
        let sent = |step: &StepState| matches!(step.flight(), Some((operation, Flight::Sent { .. })) if operation == command.operation);
        step.is_some_and(|step| sent(step) && step.attempt == command.attempt)
    }

    #[track_caller]
    fn reply(mut self, outcome: Outcome) -> Self {
        let Command { id, saga_id, step, operation, attempt, .. } = self.take_current();
        self.apply(&Input::Reply(Reply { command_id: id, saga_id, step, operation, attempt, outcome }));
        self
    }

    #[track_caller]
    fn take_current(&mut self) -> Command {
        match self.current.take() {
            Some(command) => command,
            None => self.fail("there is no command at hand; expect one first"),
        }
    }

    /// Moves the clock to the first of the wanted timers, and lets it go off.
    #[track_caller]
    fn fire_next(&mut self, wanted: impl Fn(&Timer) -> bool) -> bool {
        let due = timers(&self.saga).filter(|(_, timer)| wanted(timer)).min_by_key(|(at, _)| *at);
        let Some((at, timer)) = due else { return false };
        self.now = self.now.max(at);
        self.apply(&Input::TimerFired(timer));
        true
    }

    #[track_caller]
    fn apply(&mut self, input: &Input) {
        let events = match decide(&self.saga, input, self.now) {
            Ok(events) => events,
            Err(rejected) => self.fail(&format!("{input:?} was rejected: {rejected}")),
        };
        let transition = Transition { seq: self.saga.seq + 1, at: self.now, events };
        self.saga.apply(&transition);
        let after = self.now.since(BEGINNING);
        for event in &transition.events {
            let step = event.step().map(|step| format!(" {step}")).unwrap_or_default();
            self.story.push(format!("{:>8} ms  {}{step}", after.0, event.kind()));
            for effect in react(&self.saga, event, self.now) {
                match effect {
                    Effect::SendCommand(command) => self.sent.push(command),
                    Effect::Publish(event) => self.published.push(event),
                }
            }
        }
    }

    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        panic!("{why}\nThe story so far:\n{}", self.story.join("\n"))
    }
}

#[track_caller]
fn encode(value: &impl Serialize) -> Payload {
    Payload::encode(value).unwrap_or_else(|error| panic!("cannot be written as JSON: {error}"))
}

fn operator() -> Operator {
    Operator { who: "test".into(), reason: String::new() }
}

#[cfg(test)]
mod tests;
