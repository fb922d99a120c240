//! Replies on their way in: order, positions, assignments, and records that are no replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amends_core::{Epoch, Reply, Shard, Timestamp, record};
use amends_engine::courier::conformance::Kept;
use amends_engine::courier::kafka::KafkaCourier;
use amends_engine::courier::{Courier, Inlet, Records};
use async_trait::async_trait;

use crate::support::{World, lease, reply, until};

/// Each run follows the one before, and its `next` follows its last record.
fn assert_gapless(records: &[Records], from: i64) -> Vec<Reply> {
    let mut position = from;
    let mut all = Vec::new();
    for run in records {
        let mut offsets: Vec<i64> = run.replies.iter().map(|(_, source)| source.offset).collect();
        offsets.extend(run.poison.iter().map(|poison| poison.source.offset));
        offsets.sort_unstable();
        assert_eq!(offsets, (position..run.next).collect::<Vec<_>>(), "a run leaves nothing out");
        position = run.next;
        all.extend(run.replies.iter().map(|(reply, _)| reply.clone()));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_in_their_order_with_none_left_out() {
    let world = World::new(2).await;
    let sent: Vec<Reply> = (0..300).map(|number| reply(1, 2, number)).collect();
    world.reply(1, &sent[..100]).await;
    world.assign(1, 7, 0);
    world.reply(1, &sent[100..]).await;
    let records = world.records(1, 300).await;
    assert_eq!(assert_gapless(&records, 0), sent);
    assert!(records.iter().all(|run| run.epoch == Epoch(7)), "all under the epoch of the lease");
    assert_eq!(world.of(0).await, [], "nobody asked for the other shard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_assignment_reads_from_its_own_cursor_under_its_own_epoch() {
    let world = World::new(1).await;
    let sent: Vec<Reply> = (0..200).map(|number| reply(0, 1, number)).collect();
    world.reply(0, &sent).await;
    world.assign(0, 1, 0);
    world.records(0, 200).await;
    world.assign(0, 2, 120);
    let again = until("the second epoch has read to the end", || async {
        let second: Vec<_> = world.of(0).await.into_iter().filter(|run| run.epoch == Epoch(2)).collect();
        second.last().is_some_and(|run| run.next == 200).then_some(second)
    })
    .await;
    assert_eq!(assert_gapless(&again, 120), sent[120..], "it begins at the cursor, wherever the old one stood");

    world.courier.revoked(Shard(0));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = world.of(0).await.len();
    world.reply(0, &sent[..5]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.of(0).await.len(), before, "a revoked shard is not read");
}

/// Assignments that follow one another quickly, while records come in all the time: none may see what was fetched for
/// another, which would skip what lies between.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_older_assignment_comes_under_a_new_epoch() {
    let world = World::new(1).await;
    let sent: Vec<Reply> = (0..2_000).map(|number| reply(0, 1, number)).collect();
    world.reply(0, &sent).await;
    for epoch in 1..=20 {
        world.assign(0, epoch, epoch * 10);
        tokio::time::sleep(Duration::from_millis(u64::try_from(epoch).unwrap() * 7)).await;
    }
    world.records(0, 2_000).await;
    until("the last epoch has read to the end", || async {
        let all = world.of(0).await;
        all.last().is_some_and(|run| run.epoch == Epoch(20) && run.next == 2_000).then_some(())
    })
    .await;
    for epoch in 1..=20 {
        let of_epoch: Vec<_> = world.of(0).await.into_iter().filter(|run| run.epoch == Epoch(epoch)).collect();
        assert_gapless(&of_epoch, epoch * 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_kept_bit_for_bit_and_stops_nothing() {
    let world = World::new(1).await;
    let topic = world.config.replies_topic();
    let good = [reply(0, 1, 1), reply(0, 1, 2)];
    let (headers, _) = record::reply_record(&good[0], "/suite", Timestamp(0));
    let valid: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let noise: Vec<u8> = (0..=255).collect();
    world.reply(0, &good[..1]).await;
    world.topics.produce(&topic, 0, None, &valid).await;
    world.topics.produce(&topic, 0, Some(&noise), &[]).await;
    world.topics.produce(&topic, 0, Some(&noise), &valid).await;
    world.topics.produce(&topic, 0, Some(b"{}"), &[("ce_subject", &noise), ("amends-outcome", b"maybe")]).await;
    world.topics.produce(&topic, 0, Some(b"{}"), &[("amends-\u{e4}", &noise)]).await;
    world.reply(0, &good[1..]).await;
    world.assign(0, 1, 0);

    let records = world.records(0, 7).await;
    assert_eq!(assert_gapless(&records, 0), good, "the good ones before and after come through");
    let poison: Vec<_> = records.into_iter().flat_map(|run| run.poison).collect();
    assert_eq!(poison.len(), 5);
    assert!(poison.iter().all(|poison| poison.code == "INVALID_REPLY"), "{poison:?}");
    let source = &poison[0].source;
    assert_eq!((source.topic.as_str(), source.partition, source.offset), (topic.as_str(), 0, 1));
    assert!(source.timestamp > 0 && source.value.is_none() && source.key.as_deref() == Some(b"key"));
    let kept: Vec<_> = source.headers.iter().map(|one| (one.name.as_str(), one.value.as_deref().unwrap())).collect();
    assert_eq!(kept, valid);
    assert_eq!(poison[2].source.value.as_deref(), Some(noise.as_slice()));
    assert_eq!(poison[3].source.headers[0].value.as_deref(), Some(noise.as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_to_a_shard_that_is_elsewhere_is_sent_on_once() {
    let world = World::new(2).await;
    let lost = reply(1, 2, 1);
    world.reply(0, &[lost.clone(), reply(0, 2, 2)]).await;
    world.assign(0, 1, 0);
    world.records(0, 2).await;
    world.assign(1, 1, 0);
    let found = world.records(1, 1).await;
    assert_eq!(found[0].replies[0].0, lost, "it comes by its own partition");
    let mark = found[0].replies[0].1.headers.last().unwrap();
    assert_eq!((mark.name.as_str(), mark.value.as_deref()), ("amends-rerouted", Some(&b"0"[..])));
    let first = world.records(0, 2).await;
    assert!(first.iter().all(|run| run.poison.is_empty()));
    assert_eq!(first.iter().flat_map(|run| &run.replies).count(), 1, "and not by the other");

    world.reply(0, std::slice::from_ref(&lost)).await;
    let here = world.records(0, 3).await;
    assert_eq!(here.last().unwrap().replies[0].0, lost, "with both shards here it is right where it is");

    world.courier.revoked(Shard(1));
    let (headers, value) = record::reply_record(&lost, "/suite", Timestamp(0));
    let mut headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    headers.push(("amends-rerouted", b"1"));
    world.topics.produce(&world.config.replies_topic(), 0, Some(value.as_str().as_bytes()), &headers).await;
    let last = world.records(0, 4).await;
    let poison = &last.last().unwrap().poison;
    assert_eq!((poison.len(), poison[0].code), (1, "MISROUTED"), "one that was sent on already is not sent on again");
    world.assign(1, 2, 1);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.of(1).await.last().unwrap().next, 1);
}

/// Takes nothing while it is shut.
#[derive(Default)]
struct Door {
    shut: AtomicBool,
    behind: Kept,
}

#[async_trait]
impl Inlet for Door {
    async fn replies(&self, replies: Vec<Reply>) {
        self.behind.replies(replies).await;
    }

    async fn records(&self, records: Records) {
        while records.shard == Shard(0) && self.shut.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.behind.records(records).await;
    }

    async fn halt(&self, shard: Shard, epoch: Epoch, why: Option<String>) {
        self.behind.halt(shard, epoch, why).await;
    }
}

impl Door {
    /// A courier whose first shard is not taken from, and whose second is.
    fn shut(world: &World) -> (Arc<Self>, Arc<KafkaCourier>) {
        let door = Arc::new(Self { shut: AtomicBool::new(true), ..Self::default() });
        let courier = KafkaCourier::start(world.config.clone(), world.book.clone()).expect("a courier");
        courier.connect(door.clone());
        courier.assigned(&lease(0, 1, 0));
        courier.assigned(&lease(1, 1, 0));
        (door, courier)
    }

    /// Waits until a shard is read up to a position.
    async fn read(&self, shard: u16, next: i64) -> Vec<Records> {
        until(&format!("shard {shard} is read up to {next}"), || async {
            let records = self.behind.records.lock().await;
            let of: Vec<_> = records.iter().filter(|run| run.shard == Shard(shard)).cloned().collect();
            of.last().is_some_and(|run| run.next == next).then_some(of)
        })
        .await
    }
}

/// More than all queues on the way hold.
const MANY: u16 = 6_000;

async fn fill(world: &World) {
    let slow: Vec<Reply> = (0..MANY).map(|number| reply(0, 2, number.into())).collect();
    // Side by side: one after the other would take the producer minutes.
    let writers = slow.chunks(500).map(|chunk| world.reply(0, chunk));
    futures::future::join_all(writers).await;
    world.reply(1, &[reply(1, 2, 1)]).await;
}

/// A courier whose first shard has been full for long enough to be paused.
async fn paused(world: &World) -> (Arc<Door>, Arc<KafkaCourier>) {
    let (door, courier) = Door::shut(world);
    fill(world).await;
    door.read(1, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    (door, courier)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_shard_is_paused_and_holds_no_other_up() {
    let world = World::new(2).await;
    let (door, _courier) = Door::shut(&world);
    fill(&world).await;
    door.read(1, 1).await;
    assert!(!door.behind.records.lock().await.iter().any(|run| run.shard == Shard(0)));
    door.shut.store(false, Ordering::SeqCst);
    let all = door.read(0, MANY.into()).await;
    assert_eq!(assert_gapless(&all, 0).len(), usize::from(MANY), "none is lost and none comes twice");
}

/// Handed over while its reader was full, and taken back later.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_given_away_while_paused_is_read_when_it_comes_back() {
    let world = World::new(2).await;
    let (door, courier) = paused(&world).await;
    courier.revoked(Shard(0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    door.shut.store(false, Ordering::SeqCst);
    courier.assigned(&lease(0, 2, 0));
    let all = door.read(0, MANY.into()).await;
    let again: Vec<_> = all.into_iter().filter(|run| run.epoch == Epoch(2)).collect();
    assert_eq!(assert_gapless(&again, 0).len(), usize::from(MANY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_deleted_under_its_reader_halts_it() {
    let world = World::new(2).await;
    let (door, _courier) = paused(&world).await;
    world.topics.delete_before(&world.config.replies_topic(), 0, i64::from(MANY) - 1).await;
    door.shut.store(false, Ordering::SeqCst);
    let why = until("it stands still", || async {
        let halts = door.behind.halts.lock().await;
        halts.iter().find(|(shard, _)| *shard == Shard(0)).and_then(|(_, why)| why.clone())
    })
    .await;
    assert!(why.contains("were deleted before they were read"), "{why}");
    let read: Vec<_> = door.behind.records.lock().await.iter().filter(|run| run.shard == Shard(0)).cloned().collect();
    assert!(read.last().is_none_or(|run| run.next < i64::from(MANY)), "what is left is not read");
    assert_gapless(&read, 0);
    world.reply(1, &[reply(1, 2, 2)]).await;
    door.read(1, 2).await;
}
