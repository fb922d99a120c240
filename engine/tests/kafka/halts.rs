//! What makes a shard stand still: whatever would have it skip records.

use amends_core::Epoch;
use amends_engine::courier::kafka::admin::{EnsureOptions, TopicState, ensure, wanted};
use amends_engine::store::TopicBook;
use amends_engine::{Definitions, courier::Courier};
use rdkafka::admin::{AdminOptions, NewPartitions};

use crate::support::{World, reply};

async fn read_some(world: &World, count: u128) {
    let replies: Vec<_> = (0..count).map(|number| reply(0, 1, number)).collect();
    world.reply(0, &replies).await;
    world.assign(0, 1, 0);
    world.records(0, i64::try_from(count).expect("a count")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_halts_until_it_is_adopted() {
    let world = World::new(1).await;
    let topic = world.config.replies_topic();
    read_some(&world, 3).await;
    world.topics.delete(&topic).await;
    let why = world.told(0, true).await.unwrap();
    assert!(why.contains("does not exist") && why.contains("amends bus ensure --adopt"), "{why}");

    world.topics.create(&topic, 1).await;
    // More than were read of the old one: only the id tells the two apart.
    let anew: Vec<_> = (100..110).map(|number| reply(0, 1, number)).collect();
    world.reply(0, &anew).await;
    let why = crate::support::until("the other id is noticed", || async {
        world.told(0, true).await.filter(|why| why.contains("made anew"))
    })
    .await;
    assert!(why.contains("amends bus ensure --adopt"), "{why}");
    assert_eq!(world.records(0, 3).await.last().unwrap().next, 3, "nothing of the new one was read");

    let topics = wanted(&world.config, &Definitions::default());
    topics.iter().for_each(|topic| world.topics.own(&topic.name));
    let options = EnsureOptions { partitions: 1, replication: None, adopt: false };
    let reports = ensure(&world.config, &*world.book, &topics, options).await.unwrap();
    let of_replies = reports.iter().find(|report| report.name == topic).unwrap();
    assert!(
        matches!(&of_replies.state, TopicState::Differs { next, .. } if next == "amends bus ensure --adopt"),
        "{of_replies:?}"
    );

    let options = EnsureOptions { adopt: true, ..options };
    ensure(&world.config, &*world.book, &topics, options).await.unwrap();
    assert_eq!(world.book.rewinds.load(std::sync::atomic::Ordering::SeqCst), 1, "the cursors begin anew");
    world.told(0, false).await;
    world.assign(0, 2, 0);
    crate::support::until("the new one is read from its beginning", || async {
        let second: Vec<_> = world.of(0).await.into_iter().filter(|run| run.epoch == Epoch(2)).collect();
        second.last().is_some_and(|run| run.next == 10).then_some(second)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_of_a_namesake_even_at_the_start() {
    let world = World::new(1).await;
    read_some(&world, 2).await;
    let (config, book) = (world.config.clone(), world.book.clone());
    world.courier.revoked(amends_core::Shard(0));
    world.courier.close().await;
    world.topics.delete(&config.replies_topic()).await;
    world.topics.create(&config.replies_topic(), 1).await;
    world.reply(0, &[reply(0, 1, 7), reply(0, 1, 8), reply(0, 1, 9)]).await;

    let later = World::on(config, crate::support::Topics::new(&crate::support::bus()), book, Default::default());
    later.assign(0, 2, 2);
    let why = later.told(0, true).await.unwrap();
    assert!(why.contains("made anew"), "{why}");
    assert_eq!(later.of(0).await, [], "its third record is not the third of the old one");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_than_shards_halt() {
    let world = World::new(1).await;
    read_some(&world, 1).await;
    let topic = world.config.replies_topic();
    let more = [NewPartitions::new(&topic, 3)];
    world.topics.admin().create_partitions(&more, &AdminOptions::new()).await.unwrap();
    let why = world.told(0, true).await.unwrap();
    assert!(why.contains("3 partitions") && why.contains("1 shards"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_behind_what_is_left_halts_and_skips_nothing() {
    let world = World::new(2).await;
    let replies: Vec<_> = (0..10).map(|number| reply(0, 2, number)).collect();
    world.reply(0, &replies).await;
    world.reply(1, &[reply(1, 2, 1), reply(1, 2, 2)]).await;
    world.topics.delete_before(&world.config.replies_topic(), 0, 8).await;
    world.assign(0, 1, 5);
    world.assign(1, 1, 1);
    let why = world.told(0, true).await.unwrap();
    assert!(why.starts_with("3 replies") && why.contains("amends bus ensure --adopt"), "{why}");
    world.records(1, 2).await;
    assert_eq!(world.of(0).await, []);
    assert!(!world.inlet.halts.lock().await.iter().any(|(shard, _)| shard.0 == 1), "the other shard is read");

    world.assign(0, 2, 8);
    assert_eq!(world.records(0, 10).await[0].replies[0].1.offset, 8, "from a cursor that the log holds it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_beyond_the_end_halts_until_the_log_has_come_so_far() {
    let world = World::new(1).await;
    world.reply(0, &[reply(0, 1, 1)]).await;
    world.assign(0, 1, 3);
    let why = world.told(0, true).await.unwrap();
    assert!(why.contains("ends at 1") && why.contains("amends bus ensure --adopt"), "{why}");
    world.reply(0, &[reply(0, 1, 2), reply(0, 1, 3), reply(0, 1, 4)]).await;
    world.told(0, false).await;
    assert_eq!(world.records(0, 4).await[0].replies[0].1.offset, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_written_down_when_first_seen() {
    let world = World::new(1).await;
    world.assign(0, 1, 0);
    let row = crate::support::until("the book knows it", || async { world.book.topics().await.unwrap().pop() }).await;
    assert_eq!((row.name, row.partitions), (world.config.replies_topic(), 1));
    assert!(!row.topic_id.is_nil(), "with its id");
}
