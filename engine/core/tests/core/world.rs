//! A world for one saga: time, a courier that loses, doubles and reorders, and participants with a barrier.

use std::collections::HashMap;
use std::sync::Arc;

use amends_core::{
    Command, CommandId, Definition, Effect, Failure, Input, Millis, Operation, Outcome, Payload, Rejected, Reply, Saga,
    SagaId, StepName, Timestamp, Transition, decide, outstanding, react, timers,
};

pub const ORDER: &str = r#"
saga = "order"
version = 1
deadline = "15m"
[[step]]
name = "create"
command = "order.create"
kind = "compensatable"
retry = { attempts = 3 }
[[step]]
name = "charge"
command = "payment.charge"
kind = "compensatable"
retry = { attempts = 3 }
input = { order = "/create/id", amount = "/input/total" }
[[step]]
name = "reserve"
command = "inventory.reserve"
kind = "pivot"
retry = { attempts = 3 }
[[step]]
name = "confirm"
command = "notification.send"
kind = "retriable"
on_exhausted = "park"
retry = { attempts = 3 }
[[step]]
name = "tell"
command = "notification.send"
kind = "retriable"
on = "compensated"
on_exhausted = "skip"
retry = { attempts = 2 }
input = { code = "/failure/code" }
[[event]]
on = "saga.completed"
topic = "order_completed"
[[event]]
on = "saga.compensated"
topic = "order_cancelled"
"#;

pub const DIAMOND: &str = r#"
saga = "diamond"
version = 1
[[step]]
name = "top"
command = "a.top"
kind = "compensatable"
retry = { attempts = 2 }
[[step]]
name = "left"
command = "b.left"
kind = "compensatable"
after = ["top"]
retry = { attempts = 2 }
[[step]]
name = "right"
command = "c.right"
kind = "compensatable"
after = ["top"]
retry = { attempts = 2 }
[[step]]
name = "bottom"
command = "d.bottom"
kind = "pivot"
after = ["left", "right"]
retry = { attempts = 2 }
[[step]]
name = "ship"
command = "e.ship"
kind = "retriable"
after = ["bottom"]
on_exhausted = "park"
retry = { attempts = 2 }
[[step]]
name = "bill"
command = "f.bill"
kind = "retriable"
after = ["bottom"]
on_exhausted = "skip"
retry = { attempts = 2 }
"#;

pub const NO_PIVOT: &str = r#"
saga = "trip"
version = 1
[[step]]
name = "flight"
command = "flight.book"
kind = "compensatable"
after = []
[[step]]
name = "hotel"
command = "hotel.book"
kind = "compensatable"
after = []
"#;

pub fn definition(source: &str) -> Arc<Definition> {
    Arc::new(Definition::parse(source).unwrap_or_else(|errors| panic!("{errors:?}")))
}

/// How a participant behaves towards one step.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// Does it.
    Willing,
    /// Says no.
    Unwilling,
    /// Fails so many times, then does it.
    Flaky(u32),
}

pub struct World {
    pub saga: Saga,
    pub journal: Vec<Transition>,
    pub now: Timestamp,
    /// On their way to participants; every one ever sent stays here so that late copies can be delivered.
    pub sent: Vec<Command>,
    /// How many of `sent` have been delivered or lost once.
    pub settled: usize,
    pub replies: Vec<Reply>,
    pub participants: Participants,
    pub published: Vec<String>,
}

/// All participants in one: the barrier's rules and a ledger of what took effect.
#[derive(Default)]
pub struct Participants {
    pub execute: HashMap<StepName, Manner>,
    pub undo: HashMap<StepName, Manner>,
    barrier: HashMap<(StepName, Operation, u32), Stored>,
    tries: HashMap<(StepName, Operation), u32>,
    /// Effects and inverse effects by step.
    pub ledger: HashMap<StepName, (u32, u32)>,
}

enum Stored {
    Answer(CommandId, Outcome),
    Tombstone,
}

impl Participants {
    pub fn handle(&mut self, command: &Command) -> Reply {
        let outcome = match command.operation {
            Operation::Execute => self.execute(command),
            Operation::Compensate => self.compensate(command),
        };
        Reply {
            command_id: command.id,
            saga_id: command.saga_id,
            step: command.step.clone(),
            operation: command.operation,
            attempt: command.attempt,
            outcome,
        }
    }

    fn execute(&mut self, command: &Command) -> Outcome {
        let key = (command.step.clone(), Operation::Execute, command.revision);
        match self.barrier.get(&key) {
            Some(Stored::Answer(id, outcome)) => {
                assert_eq!(*id, command.id, "one key, one id");
                return outcome.clone();
            }
            Some(Stored::Tombstone) => return Outcome::Refused(Failure::new("COMPENSATED_BEFORE", "too late")),
            None => {}
        }
        // Of several identities of a step one takes effect, whichever comes first.
        for other in (0..8).filter(|other| *other != command.revision) {
            match self.barrier.get(&(command.step.clone(), Operation::Execute, other)) {
                Some(Stored::Answer(_, done @ Outcome::Done(_))) => return done.clone(),
                Some(_) if other > command.revision => return Outcome::Refused(Failure::new("SUPERSEDED", "too late")),
                _ => {}
            }
        }
        let manner = self.execute.get(&command.step).copied().unwrap_or(Manner::Willing);
        let outcome = self.act(command, manner);
        if let Outcome::Done(_) = outcome {
            self.ledger.entry(command.step.clone()).or_default().0 += 1;
        }
        if !matches!(outcome, Outcome::TryAgain { .. }) {
            self.barrier.insert(key, Stored::Answer(command.id, outcome.clone()));
        }
        outcome
    }

    fn compensate(&mut self, command: &Command) -> Outcome {
        let execute = (command.step.clone(), Operation::Execute, 0);
        let own = (command.step.clone(), Operation::Compensate, 0);
        if let Some(Stored::Answer(_, outcome)) = self.barrier.get(&own) {
            return outcome.clone();
        }
        let done = matches!(self.barrier.get(&execute), Some(Stored::Answer(_, Outcome::Done(_))));
        if done {
            let manner = self.undo.get(&command.step).copied().unwrap_or(Manner::Willing);
            let outcome = self.act(command, manner);
            if !matches!(outcome, Outcome::Done(_)) {
                return outcome;
            }
            self.ledger.entry(command.step.clone()).or_default().1 += 1;
        }
        self.barrier.entry(execute).or_insert(Stored::Tombstone);
        let outcome = Outcome::Done(Payload::null());
        self.barrier.insert(own, Stored::Answer(command.id, outcome.clone()));
        outcome
    }

    fn act(&mut self, command: &Command, manner: Manner) -> Outcome {
        let tries = self.tries.entry((command.step.clone(), command.operation)).or_default();
        *tries += 1;
        match manner {
            Manner::Flaky(times) if *tries <= times => {
                Outcome::TryAgain { failure: Failure::new("BUSY", "come back later"), after: None }
            }
            Manner::Unwilling => Outcome::Refused(Failure::new("NO", "not today")),
            _ => {
                let id = format!("{{\"id\":\"{}-1\"}}", command.step);
                Outcome::Done(Payload::from_json(id).unwrap())
            }
        }
    }
}

impl World {
    pub fn new(definition: Arc<Definition>) -> Self {
        let id = SagaId::from_uuid(uuid::Uuid::from_u128(0x1234));
        Self {
            saga: Saga::new(id, definition),
            journal: Vec::new(),
            now: Timestamp(1_000_000),
            sent: Vec::new(),
            settled: 0,
            replies: Vec::new(),
            participants: Participants::default(),
            published: Vec::new(),
        }
    }

    pub fn start(&mut self) {
        let input = Payload::from_json(r#"{"total":1299.99}"#.into()).unwrap();
        self.input(&Input::Start { key: None, input, deadline_at: None }).unwrap();
    }

    /// Decides, journals, evolves, reacts: what the shell does, without the waiting.
    pub fn input(&mut self, input: &Input) -> Result<(), Rejected> {
        let events = decide(&self.saga, input, self.now)?;
        assert!(!events.is_empty(), "a transition has events: {input:?}");
        let transition = Transition { seq: self.saga.seq + 1, at: self.now, events };
        self.saga.apply(&transition);
        for event in &transition.events {
            for effect in react(&self.saga, event, self.now) {
                match effect {
                    Effect::SendCommand(command) => self.sent.push(command),
                    Effect::Publish(event) => self.published.push(event.topic),
                }
            }
        }
        self.journal.push(transition);
        Ok(())
    }

    /// Delivers the `index`th command ever sent and keeps the participant's reply.
    pub fn deliver(&mut self, index: usize) {
        let command = self.sent[index].clone();
        let reply = self.participants.handle(&command);
        self.replies.push(reply);
    }

    /// Moves time to the next timer and fires all that are due.
    pub fn tick(&mut self) -> bool {
        let Some(next) = timers(&self.saga).map(|(at, _)| at).min() else { return false };
        self.now = self.now.max(next);
        let due: Vec<_> = timers(&self.saga).filter(|(at, _)| *at <= self.now).map(|(_, timer)| timer).collect();
        for timer in due {
            let _ = self.input(&Input::TimerFired(timer));
        }
        true
    }

    /// The engine dies and another one folds the journal.
    pub fn crash(&mut self) {
        self.saga = self.folded();
        let again = outstanding(&self.saga);
        self.sent.extend(again.into_iter().filter_map(|effect| match effect {
            Effect::SendCommand(command) => Some(command),
            Effect::Publish(_) => None,
        }));
    }

    pub fn folded(&self) -> Saga {
        let mut saga = Saga::new(self.saga.id, self.saga.definition.clone());
        for transition in &self.journal {
            // Through its encoding, as a store would give it back.
            let text = serde_json::to_string(&transition.events).unwrap();
            let events = serde_json::from_str(&text).unwrap();
            saga.apply(&Transition { seq: transition.seq, at: transition.at, events });
        }
        saga
    }

    /// Runs without faults until nothing moves by itself.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.settled < self.sent.len() {
                self.deliver(self.settled);
                self.settled += 1;
            } else if let Some(reply) = self.replies.pop() {
                self.now = self.now.after(Millis(3));
                let _ = self.input(&Input::Reply(reply));
            } else if !self.tick() {
                return;
            }
        }
        panic!("the saga never comes to rest: {:?}", self.saga);
    }
}
