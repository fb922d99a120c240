//! What a new engine makes of what an old one has left.

use amends_core::{Input, Operator, Status};

use crate::world::{World, config, done};

#[tokio::test]
async fn outstanding_commands_come_again_with_the_same_ids_i25() {
    let mut world = World::new(config()).await;
    let started = world.start(None, r#"{"n":1.50}"#).await.unwrap();
    let flight = world.command().await;
    world.reply(&flight, done()).await;
    let hotel = world.command().await;
    world.engine.shutdown().await;

    let mut next = World::on(world.store.clone(), config()).await;
    let again = next.command().await;
    assert_eq!((again.id, again.attempt), (hotel.id, hotel.attempt));
    assert_eq!(again.payload.as_str(), r#"{"n":1.50}"#);
    next.reply(&again, done()).await;
    assert_eq!(next.drive(started.id).await, Status::Completed);
}

#[tokio::test]
async fn unpublished_events_are_published_in_order_with_the_same_ids_i26() {
    let mut world = World::new(config()).await;
    *world.topics.failures.lock().unwrap() = 2;
    let started = world.start(None, "{}").await.unwrap();
    assert_eq!(world.drive(started.id).await, Status::Completed);
    let first = world.published(2).await;
    world.crash().await;

    // The mark moves with a later commit or a hand-over; there was none, so all of it counts as not published.
    let next = World::on(world.store.clone(), config()).await;
    let again = next.published(2).await;
    assert_eq!(again, first, "the same events under the same ids");
    assert_eq!(again.iter().map(|event| event.topic.as_str()).collect::<Vec<_>>(), ["booked", "done"]);
}

#[tokio::test]
async fn paused_sagas_sleep_through_a_restart_until_resumed() {
    let mut world = World::new(config()).await;
    let started = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    let operator = Operator { who: "eve".into(), reason: String::new() };
    world.engine.operate(started.id, Input::Pause(operator.clone())).await.unwrap();
    world.reply(&flight, done()).await;
    world.silence().await;
    world.engine.shutdown().await;

    let mut next = World::on(world.store.clone(), config()).await;
    next.silence().await;
    next.engine.operate(started.id, Input::Resume(operator)).await.unwrap();
    assert_eq!(next.drive(started.id).await, Status::Completed);
    let audits = next.journal(started.id).await.into_iter().filter(|kind| *kind == "operator_acted").count();
    assert_eq!(audits, 2);
}

#[tokio::test]
async fn a_saga_that_cannot_be_read_stops_no_other_i7_i35() {
    let world = World::new(amends_engine::EngineConfig { shards: 1, ..config() }).await;
    let good = world.start(Some("good"), "{}").await.unwrap();
    let bad = world.start(Some("bad"), "{}").await.unwrap();
    world.engine.shutdown().await;
    // What a newer engine may have written.
    let row = amends_engine::store::JournalRow {
        shard: amends_core::Shard(0),
        position: 3,
        saga_id: bad.id,
        seq: 2,
        at: amends_core::Timestamp(1),
        format: amends_core::JOURNAL_FORMAT,
        events: r#"["saga_teleported"]"#.into(),
    };
    world.append(row).await;

    let mut next = World::on(world.store.clone(), amends_engine::EngineConfig { shards: 1, ..config() }).await;
    assert_eq!(next.drive(good.id).await, Status::Completed);
    assert!(next.start(Some("bad"), "{}").await.unwrap().existed, "it is there");
    let operator = Operator { who: "eve".into(), reason: String::new() };
    let refused = next.engine.operate(bad.id, Input::Cancel(operator)).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be read"), "{refused}");
}
