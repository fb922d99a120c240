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
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ReplySink;
use crate::fixture::command;

const COMMANDS: &str = "amends.payment.commands";
const REPLIES: &str = "amends.replies";

fn put(producer: &BaseProducer, saga: u128) {
    let command = command(saga, Operation::Execute, "{}");
    let to = ReplyTo { topic: REPLIES.into(), partition: 0 };
    let headers = record::command_headers(&command, &to, Timestamp(0));
    let insert = |all: OwnedHeaders, (key, value): &(&str, String)| all.insert(Header { key, value: Some(value) });
    let headers = headers.iter().fold(OwnedHeaders::new(), insert);
    let record = BaseRecord::to(COMMANDS).partition(0).key("key").headers(headers);
    producer.send(record.payload(command.payload.as_str())).map_err(|(error, _)| error).unwrap();
}

/// Reads replies until those of all sagas have come.
fn wait_for(replies: &BaseConsumer, mut missing: BTreeSet<SagaId>) {
    let give_up = std::time::Instant::now() + Duration::from_secs(40);
    while !missing.is_empty() {
        assert!(std::time::Instant::now() < give_up, "{missing:?} were not answered");
        let Some(Ok(message)) = replies.poll(Duration::from_millis(100)) else { continue };
        let header = |name: &str| message.headers()?.iter().find(|header| header.key == name)?.value;
        missing.remove(&record::read_reply(header, message.payload()).unwrap().saga_id);
    }
}

fn sagas(range: std::ops::Range<u128>) -> BTreeSet<SagaId> {
    range.map(|saga| command(saga, Operation::Execute, "{}").saga_id).collect()
}

async fn answer(mut commands: tokio::sync::mpsc::Receiver<Command>, sink: Arc<dyn ReplySink>) {
    while let Some(command) = commands.recv().await {
        let Command { id: command_id, saga_id, step, operation, attempt, payload, .. } = command;
        sink.send(vec![Reply { command_id, saga_id, step, operation, attempt, outcome: Outcome::Done(payload) }]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_go_away_are_waited_for() {
    let cluster = MockCluster::new(1).unwrap();
    for topic in [COMMANDS, REPLIES, DEAD_LETTERS] {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "test");
    client.set("reconnect.backoff.max.ms", "1000");
    let producer: BaseProducer = client.create().unwrap();
    let replies: BaseConsumer = client.create().unwrap();
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(REPLIES, 0, Offset::Beginning).unwrap();
    replies.assign(&all).unwrap();

    (0..20).for_each(|saga| put(&producer, saga));
    producer.flush(Duration::from_secs(10)).unwrap();
    let (config, cancel) = (KafkaConfig::new(cluster.bootstrap_servers()), CancellationToken::new());
    let token = cancel.clone();
    let serve = async move { serve(&config, &["payment"], token, |commands, sink, _| answer(commands, sink)).await };
    let serving = tokio::spawn(serve);
    wait_for(&replies, sagas(0..20));
    cluster.broker_down(1).unwrap();
    (20..40).for_each(|saga| put(&producer, saga));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!serving.is_finished(), "an outage does not end a worker");
    cluster.broker_up(1).unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();
    wait_for(&replies, sagas(20..40));
    // Told to stop while nobody is there: it does not wait for ever.
    cluster.broker_down(1).unwrap();
    cancel.cancel();
    tokio::time::timeout(GRACE + LEAVE + Duration::from_secs(1), serving).await.unwrap().unwrap().unwrap();
    // The test's own clients would wait for it.
    cluster.broker_up(1).unwrap();
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
