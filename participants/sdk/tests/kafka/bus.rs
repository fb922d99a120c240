//! The broker as the tests use it: topics of their own, records in and out.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use amends_core::record::{self, ReplyTo};
use amends_core::{Command, CommandId, Operation, Payload, Reply, SagaId, SagaType, StepName, Timestamp};
use amends_sdk::kafka::{DEAD_LETTERS, KafkaConfig};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use uuid::Uuid;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Partitions of every topic that the tests make.
pub(crate) const PARTITIONS: i32 = 4;

/// Topics of one test.
pub(crate) struct Bus {
    pub(crate) participant: String,
    pub(crate) replies: String,
    producer: BaseProducer,
}

pub(crate) fn bootstrap() -> String {
    std::env::var("AMENDS_BUS").expect("AMENDS_BUS names no Kafka; start one with `cargo xtask up` and set it")
}

pub(crate) fn config() -> KafkaConfig {
    KafkaConfig::new(bootstrap())
}

/// A name that no other test has, nor an earlier run.
pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    format!("{what}-{since}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap());
    config
}

pub(crate) async fn make_topic(name: &str) {
    let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
    let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
    let made = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    match &made[0] {
        Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists)) => {}
        Err(error) => panic!("cannot make the topic {name}: {error:?}"),
    }
}

impl Bus {
    pub(crate) async fn new() -> Self {
        let participant = unique("payment");
        let replies = format!("amends.replies.{participant}");
        for topic in [&format!("amends.{participant}.commands"), &replies, DEAD_LETTERS] {
            make_topic(topic).await;
        }
        Self { participant, replies, producer: client().create().unwrap() }
    }

    pub(crate) fn commands(&self) -> String {
        format!("amends.{}.commands", self.participant)
    }

    pub(crate) fn group(&self) -> String {
        format!("amends.{}", self.participant)
    }

    /// Writes one record.
    pub(crate) fn put(&self, topic: &str, partition: i32, key: &str, headers: OwnedHeaders, value: Option<&[u8]>) {
        let mut record = BaseRecord::to(topic).partition(partition).key(key).headers(headers);
        record.payload = value;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    /// Returns when the brokers have all that was written.
    pub(crate) fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Writes commands of the sagas given, over the partitions in turn; the reply belongs where the saga's number says.
    pub(crate) fn put_commands(&self, sagas: std::ops::Range<u128>) {
        for saga in sagas {
            let at = i32::try_from(saga % u128::try_from(PARTITIONS).unwrap()).unwrap();
            self.put_command(at, &command(saga), self.reply_to(saga));
        }
        self.flush();
    }

    pub(crate) fn put_command(&self, partition: i32, command: &Command, to: ReplyTo) {
        let headers = to_headers(record::command_headers(command, &to, Timestamp(0)));
        let value = command.payload.as_str().as_bytes();
        self.put(&self.commands(), partition, &command.saga_id.to_string(), headers, Some(value));
    }

    /// Another partition than the key's hash or the command's own would give.
    pub(crate) fn reply_to(&self, saga: u128) -> ReplyTo {
        let partition = i32::try_from(saga / 7 % u128::try_from(PARTITIONS).unwrap()).unwrap();
        ReplyTo { topic: self.replies.clone(), partition }
    }

    pub(crate) fn replies(&self) -> Reader {
        Reader::new(&self.replies)
    }

    /// The sum of what a group has committed, and the sum of the ends, over all partitions of a topic.
    pub(crate) fn committed(&self, topic: &str, group: &str) -> (i64, i64) {
        let consumer: BaseConsumer = client().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, PARTITIONS - 1);
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        let offsets = committed.elements().into_iter().map(|partition| partition.offset().to_raw().unwrap().max(0));
        let ends = (0..PARTITIONS).map(|partition| consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1);
        (offsets.sum(), ends.sum())
    }

    /// Returns when a group has committed all of a topic.
    pub(crate) async fn all_committed(&self, topic: &str, group: &str) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (committed, end) = self.committed(topic, group);
            if committed == end {
                return;
            }
            assert!(Instant::now() < give_up, "{committed} of {end} are committed");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Reads a topic from its beginning, whatever others do.
pub(crate) struct Reader(BaseConsumer);

impl Reader {
    pub(crate) fn new(topic: &str) -> Self {
        let consumer: BaseConsumer = client().set("group.id", unique("reader")).create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        Self(consumer)
    }

    pub(crate) fn next_within(&self, wait: Duration) -> Option<OwnedMessage> {
        let give_up = Instant::now() + wait;
        while Instant::now() < give_up {
            if let Some(message) = self.0.poll(Duration::from_millis(50)) {
                return Some(message.unwrap().detach());
            }
        }
        None
    }

    /// Waits for a record.
    pub(crate) fn next(&self) -> OwnedMessage {
        self.next_within(PATIENCE).expect("no record has come")
    }

    /// Waits for a number of replies, with their partitions.
    pub(crate) fn replies(&self, count: usize) -> Vec<(i32, Reply)> {
        (0..count).map(|_| self.next()).map(|message| (message.partition(), reply(&message))).collect()
    }

    /// Waits for as many records as were made dead letters from this topic.
    pub(crate) fn letters_of(&self, topic: &str, count: usize) -> Vec<OwnedMessage> {
        let ours = std::iter::from_fn(|| Some(self.next()));
        ours.filter(|letter| header(letter, "amends-source-topic").as_deref() == Some(topic)).take(count).collect()
    }
}

pub(crate) fn reply(message: &OwnedMessage) -> Reply {
    record::read_reply(|name: &str| raw_header(message, name), message.payload()).unwrap()
}

fn raw_header<'m>(message: &'m OwnedMessage, name: &str) -> Option<&'m [u8]> {
    message.headers()?.iter().find(|header| header.key == name)?.value
}

pub(crate) fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    raw_header(message, name).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

pub(crate) fn to_headers(pairs: record::Headers) -> OwnedHeaders {
    let insert =
        |headers: OwnedHeaders, (key, value): &(&str, String)| headers.insert(Header { key, value: Some(value) });
    pairs.iter().fold(OwnedHeaders::new(), insert)
}

pub(crate) fn saga_id(saga: u128) -> SagaId {
    SagaId::from_uuid(Uuid::from_u128(saga))
}

pub(crate) fn command(saga: u128) -> Command {
    let (saga_id, step) = (saga_id(saga), StepName::new("charge_payment").unwrap());
    Command {
        id: CommandId::derive(saga_id, &step, Operation::Execute, 0),
        saga_id,
        saga_type: SagaType::new("order").unwrap(),
        step,
        operation: Operation::Execute,
        command: "payment.charge".into(),
        participant: "payment".into(),
        attempt: 1,
        revision: 0,
        redrive: 0,
        deadline: Timestamp(0),
        payload: Payload::from_json(format!(r#"{{"amount":{saga}}}"#)).unwrap(),
        cause: None,
    }
}
