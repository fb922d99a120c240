//! Nothing is acted upon that is not committed, whatever the commit's answer was.

use amends_core::{Shard, Status};
use amends_engine::EngineConfig;
use amends_engine::service::ServiceError;

use crate::world::{Fault, World, config, done, key_id};

#[tokio::test]
async fn while_the_store_cannot_write_nothing_leaves_and_then_all_goes_on() {
    let mut world = World::new(EngineConfig { lanes: 1, ..config() }).await;
    let first = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    for _ in 0..3 {
        world.store.add(Fault::Unavailable);
    }
    world.reply(&flight, done()).await;
    world.silence().await;
    let refused = world.start(None, "{}").await;
    assert!(matches!(&refused, Err(ServiceError::Unavailable(why)) if why.contains("no disk")), "{refused:?}");
    assert_eq!(world.command().await.command, "hotel.book", "the commit was tried until it succeeded");
    assert_eq!(world.journal(first.id).await.len(), 4);
}

#[tokio::test]
async fn a_commit_that_succeeded_unheard_counts_once() {
    let mut world = World::new(config()).await;
    let started = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    world.store.add(Fault::Unheard);
    world.reply(&flight, done()).await;
    assert_eq!(world.drive(started.id).await, Status::Completed);
    let journal = world.journal(started.id).await;
    assert_eq!(journal.iter().filter(|kind| **kind == "step_succeeded").count(), 3, "{journal:?}");
}

#[tokio::test]
async fn a_start_that_was_committed_unheard_exists_once_i2() {
    let mut world = World::new(config()).await;
    world.store.add(Fault::Unheard);
    let unheard = world.start(Some("k"), "{}").await;
    assert!(matches!(unheard, Err(ServiceError::Unavailable(_))), "{unheard:?}");
    let again = loop {
        match world.start(Some("k"), "{}").await {
            Ok(again) => break again,
            Err(ServiceError::Unavailable(_)) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(again.existed);
    assert_eq!(world.drive(again.id).await, Status::Completed);
}

#[tokio::test]
async fn a_fenced_owner_acts_on_nothing_and_keeps_its_other_shards_i27_i29() {
    let mut world = World::new(EngineConfig { lanes: 1, ..config() }).await;
    let taken = world.start(Some("a"), "{}").await.unwrap();
    let shard = Shard::of(taken.id, 4);
    let flight = world.command().await;
    world.store.add(Fault::Taken(shard));
    world.reply(&flight, done()).await;
    world.silence().await;
    assert_eq!(world.engine.owned_shards(), 3, "it knows that it lost one");
    assert_eq!(world.journal(taken.id).await, ["saga_started", "step_started"], "nothing was written (I27)");
    let elsewhere = |number: &u32| Shard::of(key_id(&format!("k{number}")), 4) != shard;
    let other = format!("k{}", (0..).find(elsewhere).unwrap());
    world.start(Some(&other), "{}").await.expect("the other shards go on");
    // Its new owner is asked, and cannot be reached.
    let refused = world.start(Some("a"), "{}").await;
    assert!(matches!(refused, Err(ServiceError::Unavailable(_))), "{refused:?}");
}
