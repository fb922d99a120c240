//! Outages, on the brokers that librdkafka brings along for such tests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amends_core::record::{self, ReplyTo};
use amends_core::{Command, Operation, Outcome, Reply, SagaId, Timestamp};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::commands::QUEUE;
use super::*;
use crate::ReplySink;
use crate::fixture::command;

const COMMANDS: &str = "amends.payment.commands";
const REPLIES: &str = "amends.replies";

/// A cluster with the topics of one participant, and both ends of them.
struct Brokers {
    commands: BaseProducer,
    replies: BaseConsumer,
    /// The last to go: clients wait for it.
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Brokers {
    fn start(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for (topic, partitions) in [(COMMANDS, partitions), (REPLIES, 1), (DEAD_LETTERS, 1)] {
            cluster.create_topic(topic, partitions, 1).unwrap();
        }
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "test");
        client.set("reconnect.backoff.max.ms", "1000");
        let replies: BaseConsumer = client.create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(REPLIES, 0, Offset::Beginning).unwrap();
        replies.assign(&all).unwrap();
        Self { commands: client.create().unwrap(), replies, cluster }
    }

    fn config(&self) -> KafkaConfig {
        KafkaConfig::new(self.cluster.bootstrap_servers())
    }

    /// Sends a command.
    fn put(&self, partition: i32, saga: u128) {
        let command = command(saga, Operation::Execute, "{}");
        let to = ReplyTo { topic: REPLIES.into(), partition: 0 };
        let headers = record::command_headers(&command, &to, Timestamp(0));
        let insert = |all: OwnedHeaders, (key, value): &(&str, String)| all.insert(Header { key, value: Some(value) });
        let headers = headers.iter().fold(OwnedHeaders::new(), insert);
        let record = BaseRecord::to(COMMANDS).partition(partition).key("key").headers(headers);
        self.commands.send(record.payload(command.payload.as_str())).map_err(|(error, _)| error).unwrap();
    }

    fn flush(&self) {
        self.commands.flush(Duration::from_secs(20)).unwrap();
    }

    /// Reads replies until those of all these sagas have come.
    fn wait_for(&self, sagas: std::ops::Range<u128>) {
        let mut missing: BTreeSet<SagaId> = sagas.map(|saga| command(saga, Operation::Execute, "{}").saga_id).collect();
        let give_up = std::time::Instant::now() + Duration::from_secs(40);
        while !missing.is_empty() {
            assert!(std::time::Instant::now() < give_up, "{missing:?} were not answered");
            let Some(Ok(message)) = self.replies.poll(Duration::from_millis(100)) else { continue };
            let header = |name: &str| message.headers()?.iter().find(|header| header.key == name)?.value;
            missing.remove(&record::read_reply(header, message.payload()).unwrap().saga_id);
        }
    }
}

async fn answer(mut commands: mpsc::Receiver<Command>, sink: Arc<dyn ReplySink>) {
    while let Some(command) = commands.recv().await {
        let Command { id: command_id, saga_id, step, operation, attempt, payload, .. } = command;
        sink.send(vec![Reply { command_id, saga_id, step, operation, attempt, outcome: Outcome::Done(payload) }]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_go_away_are_waited_for() {
    let brokers = Brokers::start(1);
    (0..20).for_each(|saga| brokers.put(0, saga));
    brokers.flush();
    let (config, cancel) = (brokers.config(), CancellationToken::new());
    let token = cancel.clone();
    let serve = async move { serve(&config, &["payment"], token, |commands, sink, _| answer(commands, sink)).await };
    let serving = tokio::spawn(serve);
    brokers.wait_for(0..20);
    brokers.cluster.broker_down(1).unwrap();
    (20..40).for_each(|saga| brokers.put(0, saga));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!serving.is_finished(), "an outage does not end a worker");
    brokers.cluster.broker_up(1).unwrap();
    brokers.flush();
    brokers.wait_for(20..40);
    // Told to stop while nobody is there: it does not wait for ever.
    brokers.cluster.broker_down(1).unwrap();
    cancel.cancel();
    tokio::time::timeout(GRACE + LEAVE + Duration::from_secs(1), serving).await.unwrap().unwrap().unwrap();
    // The test's own clients would wait for it.
    brokers.cluster.broker_up(1).unwrap();
}

/// A worker that answers nothing until there is room, and shows how many commands have reached it.
struct Worker {
    seen: watch::Receiver<usize>,
    cancel: CancellationToken,
    serving: JoinHandle<()>,
}

fn worker(config: KafkaConfig, mut room: watch::Receiver<bool>) -> Worker {
    let (reached, cancel) = (watch::Sender::new(0), CancellationToken::new());
    let (seen, token) = (reached.subscribe(), cancel.clone());
    let serving = tokio::spawn(async move {
        let answer = |commands: mpsc::Receiver<Command>, sink, _| async move {
            while !*room.borrow_and_update() {
                reached.send_replace(commands.len());
                // The wait's end is the next look.
                let _ = tokio::time::timeout(Duration::from_millis(50), room.changed()).await;
            }
            answer(commands, sink).await;
        };
        serve(&config, &["payment"], token, answer).await.unwrap();
    });
    Worker { seen, cancel, serving }
}

impl Worker {
    async fn has_seen(&mut self, count: usize) {
        let seen = self.seen.wait_for(|seen| *seen >= count);
        tokio::time::timeout(Duration::from_secs(40), seen).await.unwrap().unwrap();
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.serving.await.unwrap();
    }
}

/// A partition that is given away while it is paused for want of room, and comes back when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_come_back_are_read_again() {
    const FULL: u128 = 5_000;
    let brokers = Brokers::start(2);
    let both = |sagas: std::ops::Range<u128>| {
        sagas.for_each(|saga| brokers.put(i32::from(saga % 2 == 1), saga));
        brokers.flush();
    };
    both(0..FULL);
    let (open, room) = watch::channel(false);
    // These brokers take a session's time-out for each change of members.
    let config = || brokers.config().option("heartbeat.interval.ms", "500").option("session.timeout.ms", "4000");
    let mut first = worker(config(), room.clone());
    first.has_seen(QUEUE).await;
    // Longer than it waits for room before it pauses.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut second = worker(config(), room);
    second.has_seen(1).await;
    open.send(true).unwrap();
    brokers.wait_for(0..FULL);
    second.stop().await;
    both(FULL..FULL + 20);
    brokers.wait_for(FULL..FULL + 20);
    first.stop().await;
}

#[tokio::test]
async fn a_configuration_that_is_refused_is_said_at_once() {
    let config = KafkaConfig::new("127.0.0.1:1").option("no.such.option", "1");
    let served =
        serve(&config, &["payment"], CancellationToken::new(), |commands, sink, _| answer(commands, sink)).await;
    assert!(matches!(served, Err(WorkerError::Configuration(_))), "{served:?}");
}

#[tokio::test]
async fn a_participant_that_ends_by_itself_ends_the_worker() {
    let cluster = MockCluster::new(1).unwrap();
    let config = KafkaConfig::new(cluster.bootstrap_servers());
    let served = serve(&config, &["payment"], CancellationToken::new(), |_, _, _| async {}).await;
    assert!(matches!(served, Err(WorkerError::Ended("the participant"))), "{served:?}");
}
