//! Whole runs as readable text.

use std::fmt::Write;

use amends_core::{Event, Input, Operator, StepName};

use crate::world::{DIAMOND, Manner, ORDER, World, definition};

fn step(name: &str) -> StepName {
    StepName::new(name).unwrap()
}

fn eve(reason: &str) -> Operator {
    Operator { who: "eve".into(), reason: reason.into() }
}

/// Prints a journal, one line an event, times relative to the start.
fn told(world: &World) -> String {
    let mut text = String::new();
    for transition in &world.journal {
        let since = transition.at.since(world.saga.started_at);
        for (position, event) in transition.events.iter().enumerate() {
            let row = if position == 0 { format!("{:>3} {:>6}ms", transition.seq, since.0) } else { " ".repeat(12) };
            writeln!(text, "{row}  {}", line(event)).unwrap();
        }
    }
    writeln!(text, "the end: {}; published: {:?}", world.saga.status.as_str(), world.published).unwrap();
    text
}

fn line(event: &Event) -> String {
    let name = event.kind();
    match event {
        Event::StepStarted { step, attempt } => format!("→ {step} (attempt {attempt})"),
        Event::StepSucceeded { step, output } => format!("✓ {step} {output:?}"),
        Event::StepRefused { step, failure } => format!("✗ {step} refused: {}", failure.code),
        Event::StepTimedOut { step, attempt, .. } => format!("? {step} (attempt {attempt}) no answer"),
        Event::RetryScheduled { step, failure, .. } => format!("… {step} again later: {}", failure.code),
        Event::StepExhausted { step, .. } => format!("✗ {step} used up, outcome unknown"),
        Event::CompensationStarted { cause } => format!("↩ turning back: {:?} {}", cause.kind, cause.failure.code),
        Event::StepCompensationStarted { step, attempt } => format!("← {step} (attempt {attempt})"),
        Event::StepCompensated { step } => format!("↩ {step}"),
        Event::SagaParked { step, operation, failure } => {
            format!("⏸ parked at {step} ({}): {}", operation.as_str(), failure.code)
        }
        Event::OperatorActed { action, who, reason } => format!("☞ {who}: {} ({reason})", action.as_str()),
        _ => event.step().map_or(name.to_owned(), |step| format!("{name} {step}")),
    }
}

#[test]
fn everybody_is_willing() {
    let mut world = World::new(definition(ORDER));
    world.start();
    world.settle();
    insta::assert_snapshot!(told(&world));
}

#[test]
fn the_payment_is_declined() {
    let mut world = World::new(definition(ORDER));
    world.participants.execute.insert(step("charge"), Manner::Unwilling);
    world.start();
    world.settle();
    insta::assert_snapshot!(told(&world));
}

#[test]
fn out_of_stock() {
    let mut world = World::new(definition(ORDER));
    world.participants.execute.insert(step("reserve"), Manner::Unwilling);
    world.start();
    world.settle();
    insta::assert_snapshot!(told(&world));
}

#[test]
fn no_answer_in_time_then_a_late_one() {
    let mut world = World::new(definition(ORDER));
    world.start();
    world.deliver(0);
    let late = world.replies.pop().unwrap();
    world.settled = 1;
    world.tick();
    world.input(&Input::Reply(late)).unwrap();
    world.settle();
    insta::assert_snapshot!(told(&world));
}

#[test]
fn no_answer_at_all() {
    let mut world = World::new(definition(ORDER));
    world.start();
    world.settle_until("charge");
    while world.saga.cause.is_none() {
        world.settled = world.sent.len();
        world.tick();
    }
    world.settle();
    insta::assert_snapshot!(told(&world));
}

#[test]
fn the_refund_fails_until_an_operator_steps_in() {
    let mut world = World::new(definition(ORDER));
    world.participants.execute.insert(step("reserve"), Manner::Unwilling);
    world.participants.undo.insert(step("charge"), Manner::Flaky(3));
    world.start();
    world.settle();
    assert_eq!(world.saga.status, amends_core::Status::Parked);
    world.input(&Input::Retry { operator: eve("provider is back"), step: None, input: None }).unwrap();
    world.settle();
    insta::assert_snapshot!(told(&world));
}

#[test]
fn cancelled_before_the_pivot() {
    let mut world = World::new(definition(ORDER));
    world.start();
    world.settle_until("charge");
    world.input(&Input::Cancel(eve("customer called"))).unwrap();
    world.settle();
    insta::assert_snapshot!(told(&world));
}

#[test]
fn cancelled_after_the_pivot_is_refused() {
    let mut world = World::new(definition(ORDER));
    world.start();
    world.settle_until("confirm");
    let refused = world.input(&Input::Cancel(eve("too late"))).unwrap_err();
    world.settle();
    insta::assert_snapshot!(format!("{refused}\n{}", told(&world)));
}

#[test]
fn parallel_branches_meet_and_one_fails() {
    let mut world = World::new(definition(DIAMOND));
    world.participants.execute.insert(step("bottom"), Manner::Unwilling);
    world.start();
    world.settle();
    insta::assert_snapshot!(told(&world));
}

#[test]
fn paused_and_resumed() {
    let mut world = World::new(definition(ORDER));
    world.start();
    world.settle_until("charge");
    world.input(&Input::Pause(eve("audit"))).unwrap();
    world.settle();
    world.input(&Input::Resume(eve("audit is over"))).unwrap();
    world.settle();
    insta::assert_snapshot!(told(&world));
}

#[test]
fn an_unreachable_customer_is_skipped_by_hand() {
    let mut world = World::new(definition(ORDER));
    world.participants.execute.insert(step("confirm"), Manner::Flaky(99));
    world.start();
    world.settle();
    world.input(&Input::Skip { operator: eve("phoned them"), step: step("confirm"), result: None }).unwrap();
    insta::assert_snapshot!(told(&world));
}

impl World {
    /// Runs until a step's command is out and not delivered.
    fn settle_until(&mut self, name: &str) {
        while self.sent.last().is_none_or(|command| command.step.as_str() != name) {
            self.deliver(self.settled);
            self.settled += 1;
            let reply = self.replies.pop().unwrap();
            self.now = self.now.after(amends_core::Millis(3));
            self.input(&Input::Reply(reply)).unwrap();
        }
    }
}
