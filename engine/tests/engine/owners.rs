//! Several engines on one store: shares, hand-over, and owners that are late.

use std::time::Duration;

use amends_core::{Millis, Shard, Status};
use amends_engine::EngineConfig;
use amends_engine::service::ServiceError;
use amends_engine::store::{Archive, Owner};

use crate::world::{Faulty, World, config, done};

fn leased() -> EngineConfig {
    EngineConfig { lease: Some(Millis(1_200)), ..config() }
}

async fn shares(worlds: &[&World], wanted: &[usize]) {
    for _ in 0..100 {
        let shares: Vec<_> = worlds.iter().map(|world| world.engine.owned_shards()).collect();
        if shares == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let shares: Vec<_> = worlds.iter().map(|world| world.engine.owned_shards()).collect();
    panic!("the shares should be {wanted:?} and are {shares:?}");
}

async fn owner_of(store: &Faulty, shard: Shard) -> Option<Owner> {
    store.store.shards().await.unwrap().remove(usize::from(shard.0)).owner
}

#[tokio::test]
async fn engines_that_come_and_go_share_evenly() {
    let one = World::new(leased()).await;
    assert_eq!(one.engine.owned_shards(), 4, "ready means that it has what it could get");
    let two = World::on(one.store.clone(), leased()).await;
    shares(&[&one, &two], &[2, 2]).await;
    let three = World::on(one.store.clone(), leased()).await;
    shares(&[&one, &two, &three], &[2, 1, 1]).await;
    one.engine.shutdown().await;
    assert_eq!(one.engine.owned_shards(), 0);
    shares(&[&two, &three], &[2, 2]).await;
    two.engine.shutdown().await;
    three.engine.shutdown().await;
    for shard in 0..4 {
        assert_eq!(owner_of(&one.store, Shard(shard)).await, None, "all are free at the end");
    }
}

#[tokio::test]
async fn a_saga_goes_on_where_its_shard_goes_i25() {
    let mut one = World::new(leased()).await;
    let started = one.start(Some("a"), r#"{"n":1.50}"#).await.unwrap();
    let flight = one.command().await;
    let mut two = World::on(one.store.clone(), leased()).await;
    one.engine.shutdown().await;
    let again = two.command().await;
    assert_eq!((again.id, again.attempt, &again.payload), (flight.id, flight.attempt, &flight.payload));
    shares(&[&two], &[4]).await;
    two.reply(&again, done()).await;
    assert_eq!(two.drive(started.id).await, Status::Completed);
}

#[tokio::test]
async fn an_owner_that_lost_a_shard_stops_everything_of_it_i29() {
    let mut world = World::new(leased()).await;
    let started = world.start(Some("a"), "{}").await.unwrap();
    let shard = Shard::of(started.id, 4);
    let flight = world.command().await;
    // As after a pause longer than the lease: another has claimed it meanwhile. Nothing of this one moves, so no commit
    // can tell the engine.
    let other = Owner { incarnation: uuid::Uuid::from_u128(9), address: "other".into() };
    world.take(&other, Shard((shard.0 + 1) % 4)).await;
    shares(&[&world], &[3]).await;
    world.take(&other, shard).await;
    shares(&[&world], &[2]).await;
    world.reply(&flight, done()).await;
    world.silence().await;
    assert_eq!(world.journal(started.id).await, ["saga_started", "step_started"]);
    let refused = world.engine.start_saga(crate::world::request(&world.engine, Some("a"), "{}")).await;
    assert!(matches!(refused, Err(ServiceError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn an_engine_killed_without_a_word_is_replaced_when_its_leases_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let one = runtime.spawn(World::new(leased())).await.unwrap();
    let started = one.start(Some("a"), "{}").await.unwrap();
    let store = one.store.clone();
    let before = owner_of(&store, Shard::of(started.id, 4)).await;
    assert!(before.is_some());
    // Nothing of it runs any more, and it has told nobody.
    runtime.shutdown_background();
    let mut two = World::on(store.clone(), leased()).await;
    shares(&[&two], &[4]).await;
    assert_ne!(owner_of(&store, Shard::of(started.id, 4)).await, before);
    assert_eq!(two.drive(started.id).await, Status::Completed);
}
