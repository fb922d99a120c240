//! What uses up an attempt: a participant that does not answer, and nothing that lies between.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amends_core::{Command, Millis, Shard, Status, Timestamp};
use amends_engine::EngineConfig;
use amends_engine::courier::{Courier, CourierError, Served};
use amends_engine::store::Owner;
use amends_engine::store::sqlite::SqliteStore;
use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::world::{Fault, Faulty, World, config, done};

/// A way to the participants that is not always open.
struct Way {
    commands: mpsc::Sender<Command>,
    /// Both to the first participant.
    held: AtomicBool,
    /// How often it was asked whether it is held.
    asked: AtomicUsize,
    hindered: AtomicI64,
    /// What comes of the next batches instead of their delivery.
    failures: Mutex<VecDeque<CourierError>>,
}

#[async_trait]
impl Courier for Way {
    async fn send(&self, commands: Vec<Command>) -> Result<(), CourierError> {
        if let Some(failure) = self.failures.lock().unwrap().pop_front() {
            if matches!(failure, CourierError::Unavailable(_)) {
                self.hindered.store(now(), Ordering::Release);
            }
            return Err(failure);
        }
        for command in commands {
            self.commands.try_send(command).unwrap();
        }
        Ok(())
    }

    fn served(&self) -> Vec<Served> {
        Vec::new()
    }

    fn holds(&self, participant: &str, _: Timestamp) -> bool {
        self.asked.fetch_add(1, Ordering::Release);
        participant == "flight" && self.held.load(Ordering::Acquire)
    }

    fn hindered(&self, participant: &str) -> Timestamp {
        Timestamp(if participant == "flight" { self.hindered.load(Ordering::Acquire) } else { 0 })
    }
}

fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_millis()).unwrap()
}

async fn world() -> (World, Arc<Way>) {
    let config = EngineConfig { shards: 1, lanes: 1, ..config() };
    let store = Arc::new(Faulty::new(SqliteStore::open(":memory:", 1).await.unwrap()));
    let (sender, commands) = mpsc::channel(1_000);
    let way = Arc::new(Way {
        commands: sender,
        held: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
        hindered: AtomicI64::new(0),
        failures: Mutex::default(),
    });
    (World::with(store, config, way.clone(), commands).await, way)
}

#[tokio::test]
async fn a_command_that_is_held_back_uses_up_no_attempt() {
    let (mut world, way) = world().await;
    way.held.store(true, Ordering::Release);
    let started = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    // Three times its time-out of 300 ms, which would be all of its attempts.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(world.journal(started.id).await, ["saga_started", "step_started"]);
    way.held.store(false, Ordering::Release);
    let asked = way.asked.load(Ordering::Acquire);
    while way.asked.load(Ordering::Acquire) == asked {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // From now on it has the time that it would have had, and then it is sent again.
    world.silence().await;
    let again = world.command().await;
    assert_eq!((again.id, again.attempt), (flight.id, 2));
    assert_eq!(world.drive(started.id).await, Status::Completed);
}

#[tokio::test]
async fn a_lane_that_had_nothing_to_do_is_not_late() {
    let (mut world, _way) = world().await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    world.start(None, "{}").await.unwrap();
    assert_eq!(world.command().await.attempt, 1);
    assert_eq!(world.command().await.attempt, 2);
}

#[tokio::test]
async fn a_command_that_is_not_handed_over_uses_up_no_attempt() {
    let (mut world, way) = world().await;
    // More often than there are attempts.
    let behind = || CourierError::Unavailable("the broker is behind".into());
    way.failures.lock().unwrap().extend((0..4).map(|_| behind()));
    let started = world.start(None, "{}").await.unwrap();
    let sent = world.engine.now();
    let flight = world.command().await;
    assert_eq!((flight.command.as_str(), flight.attempt), ("flight.book", 1));
    assert!(flight.deadline > sent, "it has its time before it");
    assert_eq!(world.journal(started.id).await, ["saga_started", "step_started"]);
    // It has arrived now: whoever does not answer uses up attempts.
    assert_eq!(world.command().await.attempt, 2);
    assert_eq!(world.drive(started.id).await, Status::Completed);
}

#[tokio::test]
async fn a_command_that_is_refused_for_its_own_sake_uses_up_its_attempts() {
    let (mut world, way) = world().await;
    let refused = || CourierError::Refused("it is too large".into());
    way.failures.lock().unwrap().extend((0..3).map(|_| refused()));
    let started = world.start(None, "{}").await.unwrap();
    // What comes is the compensation: the outcome is unknown.
    let undo = world.command().await;
    assert_eq!((undo.command.as_str(), undo.operation.as_str()), ("flight.book", "compensate"));
    assert_eq!(world.drive(started.id).await, Status::Compensated);
}

#[tokio::test]
async fn what_was_on_its_way_during_an_outage_is_sent_again_as_the_same_attempt() {
    let (mut world, way) = world().await;
    let started = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    way.hindered.store(now(), Ordering::Release);
    let again = world.command().await;
    assert_eq!((again.id, again.attempt), (flight.id, 1));
    // Nothing was amiss since.
    assert_eq!(world.command().await.attempt, 2);
    assert_eq!(world.drive(started.id).await, Status::Completed);
}

#[tokio::test]
async fn what_waited_for_a_lane_that_was_held_up_is_sent_again_as_the_same_attempt() {
    let (mut world, _way) = world().await;
    let started = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    // The commit of another saga's start is tried for 100 + 200 + 400 + 800 ms.
    (0..4).for_each(|_| world.store.add(Fault::Unavailable));
    assert!(world.start(None, "{}").await.is_err(), "nothing can be committed");
    let again = loop {
        let command = world.command().await;
        if command.id == flight.id {
            break command;
        }
    };
    assert_eq!(again.attempt, 1, "the reply may have been there long ago");
    world.reply(&again, done()).await;
    assert_eq!(world.drive(started.id).await, Status::Completed);
    assert!(!world.journal(started.id).await.contains(&"step_timed_out"));
}

#[tokio::test]
async fn nothing_is_sent_again_by_an_owner_that_is_one_no_more_i29() {
    let (mut world, way) = world().await;
    world.start(None, "{}").await.unwrap();
    world.command().await;
    way.hindered.store(now(), Ordering::Release);
    let other = Owner { incarnation: uuid::Uuid::from_u128(9), address: "other".into() };
    world.take(&other, Shard(0)).await;
    for _ in 0..4 {
        world.silence().await;
    }
}

#[tokio::test]
async fn what_was_said_before_the_clock_was_set_back_is_of_no_account() {
    let (mut world, way) = world().await;
    way.hindered.store(now() + 3_600_000, Ordering::Release);
    world.start(None, "{}").await.unwrap();
    assert_eq!(world.command().await.attempt, 1);
    assert_eq!(world.command().await.attempt, 2);
}

/// Two steps at the same time: what happens to one is nothing to the other's time.
#[tokio::test]
async fn an_answer_to_one_step_leaves_another_what_it_has() {
    let (mut world, way) = world().await;
    let started = world.begin("twins", None).await;
    let first = [world.command().await, world.command().await];
    let flight = first.iter().find(|command| command.participant == "flight").unwrap();
    let hotel = first.iter().find(|command| command.participant == "hotel").unwrap();
    // The flight's command is lost, and then the hotel answers.
    way.hindered.store(now(), Ordering::Release);
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.reply(hotel, done()).await;
    let again = world.command().await;
    assert_eq!((again.id, again.attempt), (flight.id, 1), "it is sent again though the saga has moved since");
    assert_eq!(world.command().await.attempt, 2);
    assert_eq!(world.drive(started).await, Status::Completed);
}

#[tokio::test]
async fn an_answer_to_one_step_takes_no_time_from_another_that_was_sent_again() {
    let (mut world, way) = world().await;
    let started = world.begin("twins", None).await;
    let _first = [world.command().await, world.command().await];
    way.hindered.store(now(), Ordering::Release);
    // Both time out, and only the flight's way was hindered.
    let again = [world.command().await, world.command().await];
    let hotel = again.iter().find(|command| command.participant == "hotel").unwrap();
    let flight = again.iter().find(|command| command.participant == "flight").unwrap();
    assert_eq!((flight.attempt, hotel.attempt), (1, 2));
    world.reply(hotel, done()).await;
    world.silence().await;
    world.reply(flight, done()).await;
    assert_eq!(world.drive(started).await, Status::Completed);
    let journal = world.journal(started).await;
    assert_eq!(journal.iter().filter(|kind| **kind == "step_timed_out").count(), 1, "{journal:?}");
}

#[tokio::test]
async fn a_step_that_is_held_keeps_no_other_from_being_tried_again() {
    let (mut world, way) = world().await;
    way.held.store(true, Ordering::Release);
    let _started = world.begin("twins", None).await;
    let first = [world.command().await, world.command().await];
    way.hindered.store(now(), Ordering::Release);
    let hotel = first.iter().find(|command| command.participant == "hotel").unwrap();
    let next = world.command().await;
    assert_eq!((next.id, next.attempt), (hotel.id, 2));
}

/// The time-outs and the saga's deadline are due at the same moment.
#[tokio::test]
async fn nothing_is_sent_again_by_a_saga_that_has_just_turned_back_i12() {
    let (mut world, way) = world().await;
    let started = world.begin("twins", Some(Millis(400))).await;
    let first = [world.command().await, world.command().await];
    way.hindered.store(now(), Ordering::Release);
    assert!(first.iter().all(|command| command.operation.as_str() == "execute"));
    let mut left = Vec::new();
    while world.status(started).await != Status::Compensated {
        let command = world.command().await;
        left.push(command.operation.as_str());
        world.reply(&command, done()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left, ["compensate", "compensate"]);
}
