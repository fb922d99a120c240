//! Replies that come from a log: each record is accounted for once, with what follows from it (I22, I23).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends_core::{Command, Epoch, Reply, SagaId, Shard, Status};
use amends_engine::EngineConfig;
use amends_engine::courier::{
    Courier, CourierError, Inlet, Poison, Records, Served, Source, SourceHeader, SourceRecord,
};
use amends_engine::service::ServiceError;
use amends_engine::store::sqlite::SqliteStore;
use amends_engine::store::{Archive, Lease, Page};
use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::world::{Fault, Faulty, World, config, done, key_id, reply};

/// A courier whose log is in the test's hands.
struct Log {
    commands: mpsc::Sender<Command>,
    leases: Mutex<Vec<Lease>>,
    revoked: Mutex<Vec<Shard>>,
    sent_on: Mutex<Vec<(Shard, Source)>>,
    cut_off: Mutex<bool>,
}

#[async_trait]
impl Courier for Log {
    async fn send(&self, commands: Vec<Command>) -> Result<(), CourierError> {
        for command in commands {
            self.commands.try_send(command).unwrap();
        }
        Ok(())
    }

    fn served(&self) -> Vec<Served> {
        Vec::new()
    }

    async fn send_on(&self, replies: &[(Shard, Source)]) -> Result<(), CourierError> {
        if *self.cut_off.lock().unwrap() {
            return Err(CourierError::Unavailable("no broker".into()));
        }
        self.sent_on.lock().unwrap().extend_from_slice(replies);
        Ok(())
    }

    fn assigned(&self, lease: &Lease) {
        self.leases.lock().unwrap().push(lease.clone());
    }

    fn revoked(&self, shard: Shard) {
        self.revoked.lock().unwrap().push(shard);
    }
}

async fn world(store: Option<Arc<Faulty>>) -> (World, Arc<Log>) {
    world_of(1, store).await
}

async fn world_of(shards: u16, store: Option<Arc<Faulty>>) -> (World, Arc<Log>) {
    let config = EngineConfig { shards, lanes: 1, ..config() };
    let store = match store {
        Some(store) => store,
        None => Arc::new(Faulty::new(SqliteStore::open(":memory:", shards).await.unwrap())),
    };
    let (sender, commands) = mpsc::channel(1_000);
    let log = Arc::new(Log {
        commands: sender,
        leases: Mutex::default(),
        revoked: Mutex::default(),
        sent_on: Mutex::default(),
        cut_off: Mutex::new(false),
    });
    (World::with(store, config, log.clone(), commands).await, log)
}

fn source(offset: i64) -> Source {
    Arc::new(SourceRecord {
        topic: "amends.replies".into(),
        partition: 0,
        offset,
        timestamp: 1_700_000_000_123,
        key: Some(vec![0, 255]),
        value: None,
        headers: vec![SourceHeader { name: "h".into(), value: Some(b"\xff".to_vec()) }],
    })
}

fn records(epoch: Epoch, next: i64, replies: Vec<Reply>) -> Records {
    let replies = replies.into_iter().map(|reply| (reply, source(next - 1))).collect();
    Records { shard: Shard(0), epoch, next, replies, poison: Vec::new() }
}

impl Log {
    fn epoch(&self) -> Epoch {
        self.leases.lock().unwrap().iter().rfind(|lease| lease.shard == Shard(0)).expect("it is assigned").epoch
    }
}

async fn cursor(world: &World) -> i64 {
    world.store.store.shards().await.unwrap()[0].reply_cursor
}

/// Waits until the cursor is there.
async fn reaches(world: &World, wanted: i64) {
    for _ in 0..100 {
        if cursor(world).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cursor(world).await, wanted);
}

#[tokio::test]
async fn the_cursor_moves_with_what_the_records_bring_about_i22() {
    let (mut world, log) = world(None).await;
    let started = world.start(None, "{}").await.unwrap();
    let mut next = 5;
    while world.status(started.id).await != Status::Completed {
        let command = world.command().await;
        world.engine.records(records(log.epoch(), next, vec![reply(&command, done())])).await;
        reaches(&world, next).await;
        next += 1;
    }
    // What nothing follows from is accounted for, too.
    world.engine.records(records(log.epoch(), 20, Vec::new())).await;
    reaches(&world, 20).await;
    // Read before, or under an epoch that is over: it changes nothing.
    world.engine.records(records(log.epoch(), 19, Vec::new())).await;
    world.engine.records(records(Epoch(0), 99, Vec::new())).await;
    world.silence().await;
    assert_eq!(cursor(&world).await, 20);
}

#[tokio::test]
async fn a_new_owner_reads_from_the_cursor() {
    let (world, log) = world(None).await;
    world.engine.records(records(log.epoch(), 7, Vec::new())).await;
    reaches(&world, 7).await;
    world.engine.shutdown().await;
    assert_eq!(*log.revoked.lock().unwrap(), [Shard(0)]);
    let (_next, log) = self::world(Some(world.store.clone())).await;
    let leases = log.leases.lock().unwrap().clone();
    assert_eq!(leases.iter().map(|lease| lease.reply_cursor).collect::<Vec<_>>(), [7]);
}

#[tokio::test]
async fn poison_is_kept_bit_for_bit_and_stops_nothing_i33_i35() {
    let (mut world, log) = world(None).await;
    let started = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    let stranger = SagaId::from_uuid(uuid::Uuid::from_u128(77));
    let unknown = Reply { saga_id: stranger, ..reply(&flight, done()) };
    let wrong_id = Reply { command_id: started.id.to_string().parse().unwrap(), ..reply(&flight, done()) };
    let mut run = records(log.epoch(), 4, Vec::new());
    run.replies = vec![(unknown, source(0)), (wrong_id, source(1)), (reply(&flight, done()), source(3))];
    run.poison = vec![Poison { source: source(2), code: "INVALID_REPLY", message: "value: is missing".into() }];
    world.engine.records(run).await;
    assert_eq!(world.command().await.command, "hotel.book", "the good one among them was applied");
    reaches(&world, 4).await;
    let page = Page { size: 10, token: String::new() };
    let letters = world.store.store.dead_letters(&Default::default(), &page).await.unwrap().rows;
    let mut kept: Vec<_> = letters.iter().map(|letter| (letter.error_code.as_str(), letter.saga_id)).collect();
    kept.sort();
    assert_eq!(kept, [("INVALID_REPLY", None), ("UNKNOWN_SAGA", Some(stranger))]);
    let poison = letters.iter().find(|letter| letter.saga_id.is_none()).unwrap();
    assert_eq!(serde_json::from_str::<SourceRecord>(&poison.record).unwrap(), *source(2));
    let text = world.engine.metrics().unwrap();
    for line in ["{verdict=\"applied\"} 1", "{verdict=\"stale\"} 1", "{verdict=\"dead-lettered\"} 2"] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// Starts a saga of a shard, by the key that it needs; gives its first command.
async fn start_in(world: &mut World, shard: Shard) -> Command {
    let key = (0..).map(|number| format!("k{number}")).find(|key| Shard::of(key_id(key), 2) == shard).unwrap();
    world.start(Some(&key), "{}").await.unwrap();
    world.command().await
}

#[tokio::test]
async fn a_log_brings_replies_to_the_sagas_of_all_shards_in_its_lane_i22() {
    let (mut world, log) = world_of(2, None).await;
    let flight = start_in(&mut world, Shard(1)).await;
    world.engine.records(records(log.epoch(), 1, vec![reply(&flight, done())])).await;
    assert_eq!(world.command().await.command, "hotel.book");
    reaches(&world, 1).await;
    assert!(log.sent_on.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_reply_to_a_saga_that_another_has_by_now_is_sent_on_or_kept_i23() {
    let (mut world, log) = world_of(2, None).await;
    let flight = start_in(&mut world, Shard(1)).await;
    // Its answer comes by the log of another shard, when its own has been taken over.
    world.store.add(Fault::Taken(Shard(1)));
    world.reply(&flight, done()).await;
    world.silence().await;
    assert_eq!(world.engine.owned_shards(), 1);
    let own = start_in(&mut world, Shard(0)).await;
    world.engine.records(records(log.epoch(), 1, vec![reply(&flight, done()), reply(&own, done())])).await;
    assert_eq!(world.command().await.command, "hotel.book", "the others are not held up");
    reaches(&world, 1).await;
    assert_eq!(*log.sent_on.lock().unwrap(), [(Shard(1), source(0))]);

    *log.cut_off.lock().unwrap() = true;
    world.engine.records(records(log.epoch(), 2, vec![reply(&flight, done())])).await;
    reaches(&world, 2).await;
    let page = Page { size: 10, token: String::new() };
    let letters = world.store.store.dead_letters(&Default::default(), &page).await.unwrap().rows;
    let kept: Vec<_> = letters.iter().map(|letter| (letter.error_code.as_str(), letter.shard)).collect();
    assert_eq!(kept, [("MISROUTED", Shard(0))]);
}

/// That nothing follows from a reply is a verdict, too, and only the owner of its saga can give it.
#[tokio::test]
async fn a_reply_is_stale_only_to_its_owner_i23_i29() {
    let (mut world, log) = world_of(2, None).await;
    let flight = start_in(&mut world, Shard(1)).await;
    let unknown = Reply { command_id: flight.saga_id.to_string().parse().unwrap(), ..reply(&flight, done()) };
    world.store.add(Fault::Taken(Shard(1)));
    world.engine.records(records(log.epoch(), 1, vec![unknown])).await;
    world.silence().await;
    assert_eq!(cursor(&world).await, 0, "what this engine knows of the saga may be outdated");
    assert_eq!(world.engine.owned_shards(), 1);
}

/// A shard is lost in the very commit that takes a reply to one of its sagas from another shard's log: were that log's
/// cursor to move all the same, the reply would be lost with it.
#[tokio::test]
async fn a_cursor_does_not_pass_a_reply_that_was_fenced_i22() {
    let (mut world, log) = world_of(2, None).await;
    let flight = start_in(&mut world, Shard(1)).await;
    let epoch = log.epoch();
    world.store.add(Fault::Taken(Shard(1)));
    world.engine.records(records(epoch, 1, vec![reply(&flight, done())])).await;
    world.silence().await;
    assert_eq!(cursor(&world).await, 0);
    // The log is read again from there.
    for _ in 0..100 {
        if log.epoch() > epoch {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lease = log.leases.lock().unwrap().iter().rfind(|lease| lease.shard == Shard(0)).cloned().unwrap();
    assert!(lease.epoch > epoch && lease.reply_cursor == 0, "{lease:?}");
    world.engine.records(records(lease.epoch, 1, vec![reply(&flight, done())])).await;
    reaches(&world, 1).await;
    assert_eq!(*log.sent_on.lock().unwrap(), [(Shard(1), source(0))]);
}

#[tokio::test]
async fn while_nothing_can_be_committed_no_record_is_left_out() {
    let (mut world, log) = world(None).await;
    let started = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    for _ in 0..4 {
        world.store.add(Fault::Unavailable);
    }
    world.engine.records(records(log.epoch(), 1, Vec::new())).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.engine.records(records(log.epoch(), 2, vec![reply(&flight, done())])).await;
    // The first of them is being tried; whoever else waits is refused at once, but a record is not.
    let refused = world.start(None, "{}").await;
    assert!(matches!(refused, Err(ServiceError::Unavailable(_))), "{refused:?}");
    assert_eq!(world.command().await.command, "hotel.book");
    reaches(&world, 2).await;
    assert_eq!(world.status(started.id).await, Status::Running);
}

#[tokio::test]
async fn a_halted_shard_stands_still_and_says_why() {
    let (mut world, log) = world(None).await;
    let started = world.start(None, "{}").await.unwrap();
    let flight = world.command().await;
    world.engine.halt(Shard(0), log.epoch(), Some("the topic is gone".into())).await;
    let refused = loop {
        match world.start(None, "{}").await {
            Ok(_) => world.command().await,
            Err(error) => break error,
        };
    };
    assert!(refused.to_string().contains("the topic is gone"), "{refused}");
    assert_eq!(world.store.store.shards().await.unwrap()[0].halted.as_deref(), Some("the topic is gone"));
    // Longer than the attempt's time-out of 300 ms: its clock stands still.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(world.journal(started.id).await, ["saga_started", "step_started"]);
    world.engine.halt(Shard(0), log.epoch(), None).await;
    // And has left what it had.
    world.silence().await;
    world.engine.records(records(log.epoch(), 1, vec![reply(&flight, done())])).await;
    loop {
        let command = world.command().await;
        if command.saga_id == started.id {
            assert_eq!((command.command.as_str(), command.attempt), ("hotel.book", 1));
            break;
        }
    }
    assert_eq!(world.store.store.shards().await.unwrap()[0].halted, None);
}
