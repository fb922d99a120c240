//! Commands in, replies out, offsets behind them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amends_core::{Outcome, SagaId};
use rdkafka::message::Message;

use crate::bus::{Bus, PATIENCE, command, header, reply, saga_id};
use crate::worker::{Worker, done};

fn sagas(range: std::ops::Range<u128>) -> BTreeSet<SagaId> {
    range.map(saga_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_answered_where_it_says_and_committed() {
    let (bus, count) = (Bus::new().await, Arc::default());
    bus.put_commands(0..500);
    let worker = Worker::answering(&bus, &count);
    let replies = bus.replies();
    let mut answered = BTreeSet::new();
    for _ in 0..500 {
        let message = replies.next();
        let found = reply(&message);
        let saga = found.saga_id.as_uuid().as_u128();
        assert_eq!(message.partition(), bus.reply_to(saga).partition, "the partition is the one that was asked for");
        assert_eq!(message.key().unwrap(), found.saga_id.to_string().as_bytes());
        assert_eq!(header(&message, "ce_source").unwrap(), format!("/{}", bus.participant));
        assert_eq!(found.command_id, command(saga).id);
        assert_eq!(found.outcome, Outcome::Done(command(saga).payload));
        answered.insert(found.saga_id);
    }
    assert_eq!(answered, sagas(0..500));
    bus.all_committed(&bus.commands(), &bus.group()).await;
    bus.put_commands(500..503);
    replies.replies(3);
    worker.stop().await;
    assert_eq!(bus.committed(&bus.commands(), &bus.group()), (503, 503), "a worker that stops commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_the_commands() {
    let bus = Bus::new().await;
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let workers = [Worker::answering(&bus, &counts[0]), Worker::answering(&bus, &counts[1])];
    let give_up = std::time::Instant::now() + PATIENCE;
    let mut put = 0;
    while counts.iter().any(|count| count.load(Ordering::Relaxed) == 0) {
        assert!(std::time::Instant::now() < give_up, "one of two workers was given nothing");
        bus.put_commands(put..put + 20);
        put += 20;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bus.put_commands(put..put + 200);
    put += 200;
    let replies = bus.replies();
    let mut answered = BTreeSet::new();
    while answered != sagas(0..put) {
        answered.insert(reply(&replies.next()).saga_id);
    }
    for worker in workers {
        worker.stop().await;
    }
    bus.all_committed(&bus.commands(), &bus.group()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_that_dies_has_not_answered_another_answers() {
    let bus = Bus::new().await;
    bus.put_commands(0..40);
    let (worker, mut given) = Worker::by_hand(&bus);
    let mut first = BTreeSet::new();
    for _ in 0..40 {
        let (command, sink) = given.recv().await.unwrap();
        first.insert(command.saga_id);
        if command.saga_id == saga_id(4) {
            sink.send(vec![done(command)]).await;
        }
    }
    assert_eq!(first, sagas(0..40));
    assert_eq!(bus.replies().replies(1)[0].1.saga_id, saga_id(4));
    worker.die().await;
    let worker = Worker::answering(&bus, &Arc::default());
    let replies = bus.replies();
    let mut answered = BTreeSet::new();
    while answered != sagas(0..40) {
        answered.insert(reply(&replies.next()).saga_id);
    }
    worker.stop().await;
    assert_eq!(bus.committed(&bus.commands(), &bus.group()), (40, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_held_back_holds_the_offset_back() {
    let bus = Bus::new().await;
    let (worker, mut given) = Worker::by_hand(&bus);
    bus.put_commands(0..40);
    let mut held = Vec::new();
    for _ in 0..40 {
        let (command, sink) = given.recv().await.unwrap();
        if command.saga_id == saga_id(8) {
            held.push((done(command), sink));
        } else {
            sink.send(vec![done(command)]).await;
        }
    }
    let replies = bus.replies();
    replies.replies(39);
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Saga 8 is the third of the ten in its partition; the other partitions are done.
    assert_eq!(bus.committed(&bus.commands(), &bus.group()), (32, 40));
    let (reply, sink) = held.remove(0);
    sink.send(vec![reply]).await;
    assert_eq!(replies.replies(1)[0].1.saga_id, saga_id(8));
    bus.all_committed(&bus.commands(), &bus.group()).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_falls_behind_loses_nothing() {
    let (bus, count) = (Bus::new().await, Arc::new(AtomicUsize::new(0)));
    let all = 6000;
    bus.put_commands(0..all);
    let counter = Arc::clone(&count);
    let worker = Worker::start(&bus, |mut commands, sink, _| async move {
        while let Some(command) = commands.recv().await {
            if counter.fetch_add(1, Ordering::Relaxed) % 1500 == 0 {
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            sink.send(vec![done(command)]).await;
        }
    });
    let replies = bus.replies();
    let answered: BTreeSet<SagaId> =
        replies.replies(usize::try_from(all).unwrap()).into_iter().map(|(_, reply)| reply.saga_id).collect();
    assert_eq!(answered, sagas(0..all));
    assert!(replies.next_within(Duration::from_millis(500)).is_none(), "none is answered twice");
    worker.stop().await;
    assert_eq!(count.load(Ordering::Relaxed), usize::try_from(all).unwrap());
    assert_eq!(bus.committed(&bus.commands(), &bus.group()), (6000, 6000));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_other_attempts_are_each_answered() {
    let (bus, count) = (Bus::new().await, Arc::default());
    let second = amends_core::Command { attempt: 2, ..command(1) };
    for copy in [&command(1), &command(1), &second] {
        bus.put_command(0, copy, bus.reply_to(1));
    }
    bus.flush();
    let worker = Worker::answering(&bus, &count);
    let mut attempts: Vec<u32> = bus.replies().replies(3).iter().map(|(_, reply)| reply.attempt).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 1, 2]);
    worker.stop().await;
    assert_eq!(bus.committed(&bus.commands(), &bus.group()), (3, 3));
}
