//! Shows what topics hold: `amends bus topics` and `amends bus tail`.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::admin::{Bus, BusError};
use super::config::{KafkaConfig, KafkaConfigError};
use super::decode::source_record;
use crate::courier::SourceRecord;

/// How long the broker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Records that wait for the one who reads them.
const QUEUE: usize = 64;

/// How long the thread that reads waits before it looks whether anybody still listens.
const POLL: Duration = Duration::from_millis(100);

/// What a topic holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// Its id, where it can be known.
    pub id: Option<Uuid>,
    /// Copies of its first partition.
    pub replication: i32,
    /// The group whose lag is shown; none for topics that no group of ours reads.
    pub group: Option<String>,
    /// Its partitions, in order; empty if it is not there.
    pub partitions: Vec<PartitionStatus>,
}

/// What a partition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Which.
    pub partition: i32,
    /// The first offset that is left.
    pub low: i64,
    /// The next to be written.
    pub high: i64,
    /// Where the group stands, if it has said so.
    pub committed: Option<i64>,
}

impl PartitionStatus {
    /// Records that the group has not taken yet.
    pub fn lag(&self) -> Option<i64> {
        self.committed.map(|committed| (self.high - committed).max(0))
    }
}

/// Describes topics, in the order asked for.
pub async fn topics(config: &KafkaConfig, names: &[String]) -> Result<Vec<TopicStatus>, BusError> {
    let facts = Bus::new(config)?.facts_of(names.to_vec()).await?;
    let mut described = Vec::with_capacity(names.len());
    for name in names {
        let found = facts.get(name).and_then(Option::as_ref);
        let group = reading_group(config, name);
        let mut status = TopicStatus {
            name: name.clone(),
            id: found.and_then(|found| found.id),
            replication: found.map_or(0, |found| found.replication),
            group: group.clone(),
            partitions: Vec::new(),
        };
        if let Some(count) = found.map(|found| found.partitions) {
            let mut client = config.plain()?;
            client.set("group.id", group.unwrap_or_else(|| config.engine_group()));
            let (name, known) = (name.clone(), status.group.is_some());
            let read = tokio::task::spawn_blocking(move || -> Result<_, KafkaError> {
                let client = BaseConsumer::from_config(&client)?;
                partitions(&client, &name, count, known)
            });
            status.partitions = read.await.map_err(|error| BusError::Broker(error.to_string()))??;
        }
        described.push(status);
    }
    Ok(described)
}

fn reading_group(config: &KafkaConfig, topic: &str) -> Option<String> {
    if topic == config.replies_topic() {
        return Some(config.engine_group());
    }
    let participant = config.participants.keys().find(|participant| config.commands_topic(participant) == topic);
    participant.map(|participant| config.participant_group(participant))
}

/// Blocks.
fn partitions(
    client: &BaseConsumer,
    topic: &str,
    count: i32,
    grouped: bool,
) -> Result<Vec<PartitionStatus>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for partition in 0..count {
        list.add_partition(topic, partition);
    }
    let committed = if grouped { client.committed_offsets(list, PATIENCE)? } else { TopicPartitionList::new() };
    let mut partitions = Vec::new();
    for partition in 0..count {
        let (low, high) = client.fetch_watermarks(topic, partition, PATIENCE)?;
        let committed = match committed.find_partition(topic, partition).map(|one| one.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        };
        partitions.push(PartitionStatus { partition, low, high, committed });
    }
    Ok(partitions)
}

/// Where [`tail`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailFrom {
    /// With the first record that is left.
    Beginning,
    /// With the last so many of each partition; 0 shows only what comes from now on.
    End(u16),
}

/// Shows the records of a topic, those of each partition in their order. It ends at the ends of the partitions, or, with
/// `follow`, never; a caller that wants fewer stops listening, which ends the reading.
pub async fn tail(
    config: &KafkaConfig,
    topic: &str,
    from: TailFrom,
    follow: bool,
) -> Result<impl Stream<Item = Result<SourceRecord, BusError>> + Send + use<>, BusError> {
    let facts = Bus::new(config)?.facts_of(vec![topic.to_owned()]).await?;
    let found = facts.get(topic).and_then(Option::as_ref);
    let count = found.ok_or_else(|| BusError::Broker(format!("there is no topic {topic}")))?.partitions;
    let begin = match from {
        TailFrom::Beginning => Offset::Beginning,
        TailFrom::End(0) => Offset::End,
        TailFrom::End(last) => Offset::OffsetTail(i64::from(last)),
    };
    let mut client = config.plain()?;
    client
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed");
    // Never used: nothing is committed, and partitions are assigned by hand. More of a tail than there is begins at the
    // beginning.
    client.set("group.id", config.engine_group()).set("auto.offset.reset", "earliest");
    let consumer = BaseConsumer::from_config(&client).map_err(KafkaConfigError::from)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..count {
        list.add_partition_offset(topic, partition, begin)?;
    }
    consumer.assign(&list)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let count = list.count();
    std::thread::Builder::new()
        .name("amends-tail".to_owned())
        .spawn(move || read(&consumer, count, follow, &sender))
        .map_err(|error| BusError::Broker(error.to_string()))?;
    Ok(unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }))
}

fn read(consumer: &BaseConsumer, count: usize, follow: bool, to: &mpsc::Sender<Result<SourceRecord, BusError>>) {
    // A partition that is written to meanwhile comes to its end more than once.
    let mut ended = BTreeSet::new();
    while !to.is_closed() && (follow || ended.len() < count) {
        let item = match consumer.poll(POLL) {
            None => continue,
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
                continue;
            }
            Some(Ok(message)) => Ok(source_record(&message)),
            Some(Err(error)) => Err(error.into()),
        };
        if to.blocking_send(item).is_err() {
            return;
        }
    }
}
