//! Commands that wait in the log: their participant's workers say how far they have read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amends_core::Timestamp;
use amends_engine::courier::Courier;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::outgoing::command;
use crate::support::{PATIENCE, World, bus, until};

/// Several looks of the courier's.
const A_WHILE: Duration = Duration::from_secs(2);

/// How long workers may take to commit for the first time.
const STARTING: Duration = Duration::from_secs(30);

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970");
    Timestamp(i64::try_from(since_epoch.as_millis()).expect("not that late"))
}

/// Somebody of a group who commits what it is told to.
struct Group(BaseConsumer);

impl Group {
    fn of_suite(world: &World) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bus()).set("group.id", world.config.participant_group("suite"));
        Self(config.create().expect("a consumer"))
    }

    /// The end of a partition. One that was made just now may have no leader yet.
    async fn end(&self, topic: &str, partition: i32) -> i64 {
        let bounds = || async { self.0.fetch_watermarks(topic, partition, PATIENCE).ok() };
        until("a partition has bounds", bounds).await.1
    }

    /// Commits the ends of both partitions, less some records of the last one.
    async fn commit(&self, world: &World, less: i64) {
        let topic = world.config.commands_topic("suite");
        let mut list = TopicPartitionList::new();
        for partition in 0..2 {
            let end = self.end(&topic, partition).await;
            let offset = if partition == 1 { end - less } else { end };
            list.add_partition_offset(&topic, partition, Offset::Offset(offset)).expect("an offset");
        }
        self.0.commit(&list, CommitMode::Sync).expect("offsets are committed");
    }
}

/// In several batches, so that both partitions get some.
async fn send(world: &World, numbers: std::ops::Range<u128>) -> Timestamp {
    let sent = now();
    for number in numbers {
        world.courier.send(vec![command(number)]).await.expect("it is taken");
    }
    world.courier.settle().await;
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_held_until_the_workers_have_read_it() {
    let world = World::new(1).await;
    let group = Group::of_suite(&world);
    group.commit(&world, 0).await;
    let first = send(&world, 1..50).await;
    until("it is seen that they are unread", || async { world.courier.holds("suite", first).then_some(()) }).await;
    group.commit(&world, 1).await;
    let second = send(&world, 50..100).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(world.courier.holds("suite", first), "one of them is unread");
    assert!(world.courier.holds("suite", second));

    group.commit(&world, 0).await;
    until("all is read", || async { (!world.courier.holds("suite", second)).then_some(()) }).await;
    assert!(!world.courier.holds("suite", first));
    assert!(world.courier.served()[0].held.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_wait_for_workers_that_are_not_up_yet_and_not_for_those_of_an_unknown_group() {
    let world = World::new(1).await;
    let sent = send(&world, 1..50).await;
    until("it is seen that they are unread", || async { world.courier.holds("suite", sent).then_some(()) }).await;
    tokio::time::sleep(STARTING).await;
    let nobody = || async { (!world.courier.holds("suite", sent)).then_some(()) };
    until("nobody says how far the workers are", nobody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_log_that_is_gone() {
    let world = World::new(1).await;
    let topic = world.config.commands_topic("suite");
    let group = Group::of_suite(&world);
    group.commit(&world, 0).await;
    let sent = send(&world, 1..50).await;
    until("it is seen that they are unread", || async { world.courier.holds("suite", sent).then_some(()) }).await;
    // Expired before anybody has read them.
    for partition in 0..2 {
        let end = group.end(&topic, i32::from(partition)).await;
        world.topics.delete_before(&topic, partition, end).await;
    }
    until("nobody waits any more", || async { (!world.courier.holds("suite", sent)).then_some(()) }).await;
}
