//! Random worlds: replies lost, doubled, late, in any order; engines that die; operators who act at any time.

use amends_core::{
    CauseKind, Event, Input, Operation, Operator, Payload, Phase, Status, StepIndex, StepKind, StepName,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{DIAMOND, Manner, NO_PIVOT, ORDER, World, definition};

/// One thing that the world does; the numbers choose among what there is.
#[derive(Clone, Debug)]
enum Move {
    Deliver(usize),
    Lose(usize),
    Reply(usize),
    DoubleReply(usize),
    DropReply(usize),
    Tick,
    Crash,
    Cancel,
    Pause,
    Resume,
    Retry,
    Skip(usize),
    Edit(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0usize..64).prop_map(Move::Deliver),
        2 => (0usize..64).prop_map(Move::Lose),
        8 => (0usize..64).prop_map(Move::Reply),
        2 => (0usize..64).prop_map(Move::DoubleReply),
        1 => (0usize..64).prop_map(Move::DropReply),
        3 => Just(Move::Tick),
        1 => Just(Move::Crash),
        1 => Just(Move::Cancel),
        1 => Just(Move::Pause),
        1 => Just(Move::Resume),
        1 => Just(Move::Retry),
        1 => (0usize..8).prop_map(Move::Skip),
        1 => (0usize..8).prop_map(Move::Edit),
    ];
    vec(one, 0..120)
}

fn manners() -> impl Strategy<Value = Vec<(Manner, Manner)>> {
    let execute =
        prop_oneof![4 => Just(Manner::Willing), 1 => Just(Manner::Unwilling), 2 => (1u32..8).prop_map(Manner::Flaky)];
    let undo = prop_oneof![3 => Just(Manner::Willing), 2 => (1u32..8).prop_map(Manner::Flaky)];
    vec((execute, undo), 8)
}

fn operator() -> Operator {
    Operator { who: "eve".into(), reason: String::new() }
}

fn play(world: &mut World, step: &Move) {
    let pick = |index: usize, len: usize| (len > 0).then(|| index % len);
    match step {
        Move::Deliver(index) => {
            if let Some(index) = pick(*index, world.sent.len()) {
                world.deliver(index);
            }
        }
        Move::Lose(index) => {
            if let Some(index) = pick(*index, world.sent.len()) {
                world.sent.remove(index);
                world.settled = world.settled.min(world.sent.len());
            }
        }
        Move::Reply(index) | Move::DoubleReply(index) => {
            if let Some(index) = pick(*index, world.replies.len()) {
                let reply = world.replies[index].clone();
                if matches!(step, Move::Reply(_)) {
                    world.replies.remove(index);
                }
                let _ = world.input(&Input::Reply(reply));
            }
        }
        Move::DropReply(index) => {
            if let Some(index) = pick(*index, world.replies.len()) {
                world.replies.remove(index);
            }
        }
        Move::Tick => drop(world.tick()),
        Move::Crash => world.crash(),
        Move::Cancel => drop(world.input(&Input::Cancel(operator()))),
        Move::Pause => drop(world.input(&Input::Pause(operator()))),
        Move::Resume => drop(world.input(&Input::Resume(operator()))),
        Move::Retry => drop(world.input(&Input::Retry { operator: operator(), step: None, input: None })),
        Move::Edit(index) => {
            let steps = &world.saga.definition.steps;
            let step = Some(steps[index % steps.len()].name.clone());
            let input = Payload::from_json("{\"edited\":true}".into()).ok();
            drop(world.input(&Input::Retry { operator: operator(), step, input }));
        }
        Move::Skip(index) => {
            // Operators skip only what cannot be undone anyway: a skipped compensation is theirs to do by hand.
            let steps = &world.saga.definition.steps;
            let step = &steps[index % steps.len()];
            if step.kind == StepKind::Retriable {
                let skip = Input::Skip { operator: operator(), step: step.name.clone(), result: None };
                drop(world.input(&skip));
            }
        }
    }
}

/// Brings a saga to its end as patient operators would: nothing is lost any more, what is parked is retried.
fn finish(world: &mut World) {
    let _ = world.input(&Input::Resume(operator()));
    for _ in 0..40 {
        world.settle();
        if world.saga.status.is_terminal() {
            return;
        }
        let unwilling: Vec<_> =
            world.saga.iter().filter(|(_, _, state)| matches!(state.phase, Phase::Parked(_))).collect();
        assert!(!unwilling.is_empty(), "at rest, neither ended nor parked (I39): {:?}", world.saga);
        let steps: Vec<StepName> = unwilling.iter().map(|(_, definition, _)| definition.name.clone()).collect();
        for step in steps {
            if matches!(world.participants.execute.get(&step), Some(Manner::Unwilling)) {
                world.participants.execute.insert(step, Manner::Willing);
            }
        }
        world.input(&Input::Retry { operator: operator(), step: None, input: None }).unwrap();
    }
    panic!("operators cannot finish it: {:?}", world.saga);
}

/// What a journal must never show, whatever happened (I4, I5, I8 to I13).
fn check_journal(world: &World) {
    let definition = &world.saga.definition;
    let index = |step: &StepName| definition.step_index(step).expect("a known step");
    let kind = |step: &StepName| definition.step(index(step)).kind;
    let (mut confirmed, mut undone, mut commanded) = (Vec::new(), Vec::new(), Vec::new());
    let (mut refused, mut back, mut ended) = (Vec::new(), false, false);
    let mut undoing: Option<StepName> = None;
    for (position, transition) in world.journal.iter().enumerate() {
        assert_eq!(transition.seq, position as u64 + 1, "gapless (I5)");
        for event in &transition.events {
            assert!(!ended, "nothing follows the end (I4, I8): {event:?}");
            match event {
                Event::StepStarted { step, attempt } => {
                    let first = definition.step(index(step));
                    let settled = |before: &StepIndex| confirmed.contains(&definition.step(*before).name);
                    assert!(first.after.iter().all(settled), "commanded after its predecessors (I9): {step}");
                    assert!(
                        !back || first.on == amends_core::On::Compensated,
                        "no way forward after turning back (I12)"
                    );
                    assert!(*attempt > 1 || !commanded.contains(step), "started once (I9): {step}");
                    commanded.push(step.clone());
                }
                Event::StepSucceeded { step, .. } | Event::StepSkipped { step, .. } => confirmed.push(step.clone()),
                Event::StepRefused { step, .. } => refused.push(step.clone()),
                Event::CompensationStarted { cause } => {
                    let committed = confirmed.iter().any(|step| kind(step) == StepKind::Pivot);
                    assert!(!committed, "no way back after the pivot (I12)");
                    assert!(cause.kind != CauseKind::Refused || cause.step.is_some());
                    back = true;
                }
                Event::StepCompensationStarted { step, .. } => {
                    assert!(back && commanded.contains(step), "only what was commanded is undone (I11): {step}");
                    assert!(!refused.contains(step), "a refusal needs no undoing (I11): {step}");
                    assert!(kind(step) != StepKind::Retriable, "retriable steps are never undone: {step}");
                    assert!(undoing.is_none() || undoing.as_ref() == Some(step), "one after the other (I10)");
                    let later = |other: &&StepName| kind(other) != StepKind::Retriable && !undone.contains(*other);
                    let last = confirmed.iter().rev().find(later);
                    let unknown = !confirmed.contains(step);
                    assert!(unknown || last == Some(step), "against the order of confirmation (I10): {step}");
                    undoing = Some(step.clone());
                }
                Event::StepCompensated { step } => {
                    undoing = None;
                    undone.push(step.clone());
                }
                Event::SagaCompleted => ended = true,
                Event::SagaCompensated => {
                    let left = |step: &&StepName| kind(step) != StepKind::Retriable && !undone.contains(*step);
                    assert!(confirmed.iter().find(left).is_none(), "all that was confirmed is undone (I11)");
                    ended = true;
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold(which in 0usize..3, manners in manners(), moves in moves()) {
        let mut world = World::new(definition([ORDER, DIAMOND, NO_PIVOT][which]));
        for ((_, step, _), (execute, undo)) in world.saga.iter().zip(manners) {
            world.participants.execute.insert(step.name.clone(), execute);
            world.participants.undo.insert(step.name.clone(), undo);
        }
        world.start();
        for step in &moves {
            play(&mut world, step);
            prop_assert_eq!(&world.folded(), &world.saga, "replay = live (I6)");
        }
        finish(&mut world);
        check_journal(&world);
        check_effects(&world)?;
    }

    #[test]
    fn an_unrelated_reply_changes_nothing(delivered in 0usize..4, attempt in 0u32..5) {
        let mut world = World::new(definition(ORDER));
        world.start();
        for index in 0..delivered {
            world.deliver(index);
            let reply = world.replies.pop().unwrap();
            world.input(&Input::Reply(reply)).unwrap();
        }
        let before = world.saga.clone();
        let mut reply = world.participants.handle(&world.sent[0]);
        reply.attempt = attempt;
        reply.command_id = amends_core::CommandId::from_uuid(uuid::Uuid::from_u128(99));
        prop_assert!(world.input(&Input::Reply(reply.clone())).is_err(), "a forged id (I24)");
        reply.command_id = world.sent[0].id;
        reply.operation = Operation::Compensate;
        prop_assert!(world.input(&Input::Reply(reply)).is_err(), "another operation's reply (I24)");
        prop_assert_eq!(before, world.saga);
    }
}

/// What the participants' ledgers must show in the end (I14, I15, I19, I20).
fn check_effects(world: &World) -> Result<(), TestCaseError> {
    for (_, definition, state) in world.saga.iter() {
        let (done, undone) = world.participants.ledger.get(&definition.name).copied().unwrap_or_default();
        prop_assert!(done <= 1, "one effect at the most (I14): {}", definition.name);
        match world.saga.status {
            Status::Completed => {
                prop_assert_eq!(undone, 0, "nothing undone (I15): {}", definition.name);
                let confirmed = matches!(state.phase, Phase::Succeeded { .. });
                prop_assert!(done == 1 || !confirmed, "confirmed means done (I14): {}", definition.name);
            }
            _ if definition.kind == StepKind::Retriable => prop_assert_eq!(undone, 0),
            _ => prop_assert_eq!(done, undone, "each effect has one inverse (I15): {}", definition.name),
        }
    }
    let ends = world.published.iter().filter(|topic| topic.starts_with("order_")).count();
    prop_assert!(ends <= 1, "told once: {:?}", world.published);
    Ok(())
}
