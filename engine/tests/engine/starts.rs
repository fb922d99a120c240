//! What a client hears, and what it can rely on.

use std::time::Duration;

use amends_core::{Failure, Outcome, Status};
use amends_engine::EngineConfig;
use amends_engine::service::{ServiceError, wait};

use crate::world::{World, config, done, refused, request};

#[tokio::test]
async fn a_saga_runs_to_its_end() {
    let mut world = World::new(config()).await;
    let started = world.start(None, "{}").await.unwrap();
    assert_eq!(world.drive(started.id).await, Status::Completed);
    let expected = [
        "saga_started",
        "step_started",
        "step_succeeded",
        "step_started",
        "step_succeeded",
        "step_started",
        "step_succeeded",
        "saga_completed",
    ];
    assert_eq!(world.journal(started.id).await, expected);
    let topics: Vec<_> = world.published(2).await.into_iter().map(|event| event.topic).collect();
    assert_eq!(topics, ["booked", "done"]);
    assert_eq!(world.engine.in_flight().iter().sum::<usize>(), 0, "an ended saga leaves memory");
    let metrics = world.engine.metrics().unwrap();
    for line in [
        "amends_sagas_accepted_total 1",
        "amends_transitions_total 4",
        "amends_commands_total 3",
        "amends_sagas_ended_total{status=\"completed\"} 1",
        "amends_replies_total{verdict=\"applied\"} 3",
        "amends_sagas_in_flight 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in:\n{metrics}");
    }
}

#[tokio::test]
async fn one_key_is_one_saga_also_at_the_same_time_i3() {
    let mut world = World::new(config()).await;
    let same = (0..50).map(|_| world.engine.start_saga(request(&world.engine, Some("k"), r#"{"a":1}"#)));
    let answers: Vec<_> = futures::future::join_all(same).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.id == answers[0].id));
    assert_eq!(answers.iter().filter(|answer| !answer.existed).count(), 1);
    let conflict = world.start(Some("k"), r#"{"a":2}"#).await;
    assert!(matches!(conflict, Err(ServiceError::AlreadyExists(_))), "{conflict:?}");
    assert_eq!(world.drive(answers[0].id).await, Status::Completed);
    let again = world.start(Some("k"), r#"{"a":1}"#).await.unwrap();
    assert!(again.existed && again.status == Status::Completed, "also after its end: {again:?}");
    let conflict = world.start(Some("k"), r#"{"a":2}"#).await;
    assert!(matches!(conflict, Err(ServiceError::AlreadyExists(_))), "also after its end: {conflict:?}");
    assert_eq!(world.journal(answers[0].id).await.iter().filter(|kind| **kind == "saga_started").count(), 1);
}

#[tokio::test]
async fn overload_is_refused_early_i40() {
    let world = World::new(EngineConfig { shards: 1, lanes: 1, in_flight_max: 3, ..config() }).await;
    for _ in 0..3 {
        world.start(None, "{}").await.unwrap();
    }
    let refused = world.start(None, "{}").await;
    assert!(matches!(refused, Err(ServiceError::Overloaded { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_unknown_type_names_the_known_ones() {
    let world = World::new(config()).await;
    let mut unknown = request(&world.engine, None, "{}");
    unknown.saga_type = "voyage".into();
    let error = world.engine.start_saga(unknown).await.unwrap_err();
    assert_eq!(error.to_string(), "type: there is no saga type voyage; known: trip, twins");
}

#[tokio::test]
async fn a_parked_saga_leaves_memory_and_a_late_answer_wakes_it() {
    let mut world = World::new(config()).await;
    let started = world.start(None, "{}").await.unwrap();
    for _ in 0..2 {
        let command = world.command().await;
        world.reply(&command, done()).await;
    }
    let mail = world.command().await;
    while world.engine.in_flight().iter().sum::<usize>() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(world.journal(started.id).await.ends_with(&["step_timed_out", "saga_parked"]));
    world.reply(&mail, refused_again()).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(world.engine.in_flight().iter().sum::<usize>(), 0, "what nothing came of leaves again");
    world.reply(&mail, done()).await;
    assert_eq!(world.drive_on(started.id).await, Status::Completed);
}

#[tokio::test]
async fn a_refusal_is_undone_in_reverse() {
    let mut world = World::new(config()).await;
    let started = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    world.reply(&flight, done()).await;
    let hotel = world.command().await;
    world.reply(&hotel, refused()).await;
    let undo = world.command().await;
    assert_eq!((undo.command.as_str(), undo.operation), ("flight.book", amends_core::Operation::Compensate));
    assert_eq!(undo.cause.as_ref().map(|cause| cause.code.as_str()), Some("NO"));
    world.reply(&undo, done()).await;
    assert_eq!(world.drive(started.id).await, Status::Compensated);
}

/// An answer that changes nothing once the step is parked.
fn refused_again() -> Outcome {
    Outcome::TryAgain { failure: Failure::new("BUSY", "later"), after: None }
}

impl World {
    /// Like `drive`, for a saga that is parked and about to go on.
    async fn drive_on(&mut self, id: amends_core::SagaId) -> Status {
        for _ in 0..500 {
            let status = self.drive(id).await;
            if status != Status::Parked {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Status::Parked
    }
}

#[tokio::test]
async fn who_waits_is_told_the_end() {
    let mut world = World::new(config()).await;
    let (engine, request) = (world.engine.clone(), request(&world.engine, Some("k"), "{}"));
    let limit = Duration::from_secs(20);
    let seat = engine.seat(request.saga_id());
    let started = engine.start_saga(request.clone()).await.unwrap();
    let (told, status) = tokio::join!(wait::until_settled(&engine, seat, &started, limit), world.drive(started.id));
    assert_eq!((told.unwrap().status, status), (Status::Completed, Status::Completed));
    let seat = engine.seat(request.saga_id());
    let again = engine.start_saga(request).await.unwrap();
    assert!(
        wait::until_settled(&engine, seat, &again, limit).await.is_none(),
        "it has ended: there is nothing to wait for"
    );
}

#[tokio::test]
async fn who_waits_does_not_wait_for_ever() {
    let world = World::new(config()).await;
    let request = request(&world.engine, None, "{}");
    let seat = world.engine.seat(request.saga_id());
    let started = world.engine.start_saga(request).await.unwrap();
    let waited = wait::until_settled(&world.engine, seat, &started, Duration::from_millis(50)).await;
    assert!(waited.is_none());
}
