//! The topics, beside the programs: makes room for a test, reads all there is, and writes what nobody should.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::Offset;

use crate::cluster::{PREFIXES, blocking};
use crate::process::eventually;

/// The domain events' topics, which have no prefix.
pub(crate) const EVENT_TOPICS: [&str; 7] = [
    "order_created",
    "payment_successful",
    "payment_failed",
    "inventory_updated",
    "notification_sent",
    "order_completed",
    "order_cancelled",
];

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// One Kafka, and the part of it that is this test's.
#[derive(Clone)]
pub(crate) struct Bus {
    bootstrap: String,
    prefix: String,
}

/// A record, bit for bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// The text of a header, if there is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(known, _)| known == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

/// A record to be written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Bus {
    pub(crate) fn new(bootstrap: &str, prefix: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned(), prefix: prefix.to_owned() }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The topic of replies.
    pub(crate) fn replies(&self) -> String {
        format!("{}replies", self.prefix)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", "production-judge");
        config.set("enable.auto.commit", "false").set("allow.auto.create.topics", "false");
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client")
    }

    /// Deletes what earlier tests left behind, theirs being over, and the domain events.
    pub(crate) async fn clear(&self) {
        self.delete(&|topic| topic.starts_with(PREFIXES) || EVENT_TOPICS.contains(&topic)).await;
    }

    /// Deletes the topics that are `wanted`, and waits until they are gone.
    pub(crate) async fn delete(&self, wanted: &(dyn Fn(&str) -> bool + Sync)) {
        let gone: Vec<String> = self.partitions().await.into_keys().filter(|topic| wanted(topic)).collect();
        if gone.is_empty() {
            return;
        }
        let names: Vec<&str> = gone.iter().map(String::as_str).collect();
        for result in self.admin().delete_topics(&names, &AdminOptions::new()).await.expect("the broker answers") {
            result.unwrap_or_else(|(topic, code)| panic!("{topic} is not deleted: {code}"));
        }
        eventually("topics are gone", || async {
            let left = self.partitions().await;
            gone.iter().all(|topic| !left.contains_key(topic)).then_some(())
        })
        .await;
    }

    /// Makes a topic, as somebody would who does not know what it is for.
    pub(crate) async fn create(&self, topic: &str, partitions: i32) {
        let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let results = self.admin().create_topics(&[wanted], &AdminOptions::new()).await.expect("an answer");
        results.into_iter().for_each(|result| drop(result.expect("the topic is made")));
    }

    /// Gives a topic more partitions.
    pub(crate) async fn widen(&self, topic: &str, partitions: usize) {
        let wanted = NewPartitions::new(topic, partitions);
        let results = self.admin().create_partitions(&[wanted], &AdminOptions::new()).await.expect("an answer");
        results.into_iter().for_each(|result| drop(result.expect("partitions are added")));
    }

    /// Deletes all records that a topic holds, as retention does.
    pub(crate) async fn expire(&self, topic: &str) {
        let mut list = TopicPartitionList::new();
        for (partition, end) in self.ends(topic).await {
            list.add_partition_offset(topic, partition, Offset::Offset(end)).expect("an offset");
        }
        self.admin().delete_records(&list, &AdminOptions::new()).await.expect("records are deleted");
    }

    /// All topics with the number of their partitions.
    async fn partitions(&self) -> BTreeMap<String, i32> {
        let config = self.config();
        blocking(move || {
            let client: BaseConsumer = config.create().expect("a client");
            let metadata = client.fetch_metadata(None, PATIENCE).expect("the broker answers");
            let known = metadata.topics().iter().filter(|topic| topic.error().is_none());
            known.map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32)).collect()
        })
        .await
    }

    /// The next offset of each partition.
    pub(crate) async fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let (config, topic) = (self.config(), topic.to_owned());
        let count = self.partitions().await.get(&topic).copied().unwrap_or_default();
        blocking(move || {
            let client: BaseConsumer = config.create().expect("a client");
            let end = |partition| {
                let (_, high) = client.fetch_watermarks(&topic, partition, PATIENCE).expect("the broker answers");
                (partition, high)
            };
            (0..count).map(end).collect()
        })
        .await
    }

    /// Everything that topics hold now, in order per partition.
    pub(crate) async fn read_all(&self, topics: &[String]) -> Vec<Record> {
        let known = self.partitions().await;
        let places = topics.iter().flat_map(|topic| {
            let count = known.get(topic).copied().unwrap_or_default();
            (0..count).map(move |partition| (topic.clone(), partition))
        });
        let (config, places) = (self.config(), places.collect());
        blocking(move || read(&config, places)).await
    }

    /// Writes records to the topic of replies; gives partition and offset of each.
    pub(crate) async fn produce_replies(&self, drafts: &[Draft]) -> Vec<(i32, i64)> {
        let producer: FutureProducer = self.config().set("linger.ms", "5").create().expect("a producer");
        let topic = self.replies();
        let sends = drafts.iter().map(|draft| {
            let headers = draft.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value.as_slice()) })
            });
            let mut record = FutureRecord::<[u8], [u8]>::to(&topic).partition(draft.partition).headers(headers);
            record.key = draft.key.as_deref();
            record.payload = draft.value.as_deref();
            producer.send_result(record).unwrap_or_else(|(error, _)| panic!("not queued: {error}"))
        });
        let mut places = Vec::with_capacity(drafts.len());
        for sent in sends.collect::<Vec<_>>() {
            let delivery = sent.await.expect("the producer lives");
            let delivery = delivery.unwrap_or_else(|(error, _)| panic!("not delivered: {error}"));
            places.push((delivery.partition, delivery.offset));
        }
        places
    }
}

fn read(config: &ClientConfig, places: Vec<(String, i32)>) -> Vec<Record> {
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for (topic, partition) in places {
        let (low, high) = consumer.fetch_watermarks(&topic, partition, PATIENCE).expect("the broker answers");
        if low < high {
            list.add_partition_offset(&topic, partition, Offset::Beginning).expect("an offset");
            ends.insert((topic, partition), high);
        }
    }
    consumer.assign(&list).expect("partitions to read");
    let mut records = Vec::new();
    while !ends.is_empty() {
        let message = consumer.poll(PATIENCE).unwrap_or_else(|| panic!("nothing more comes before {ends:?}"));
        let message = message.unwrap_or_else(|error| panic!("not read: {error}"));
        let place = (message.topic().to_owned(), message.partition());
        if ends.get(&place).is_some_and(|end| message.offset() + 1 >= *end) {
            ends.remove(&place);
        }
        records.push(Record {
            topic: place.0,
            partition: place.1,
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(|headers| headers.iter().map(owned).collect()).unwrap_or_default(),
        });
    }
    records
}

fn owned(header: Header<'_, &[u8]>) -> (String, Option<Vec<u8>>) {
    (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
}
