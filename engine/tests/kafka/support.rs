//! A broker's topics of one test, a courier on them, and what stands at both ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_core::{CommandId, Epoch, Operation, Outcome, Payload, Reply, SagaId, Shard, StepName, Timestamp, record};
use amends_engine::Definitions;
use amends_engine::courier::conformance::Kept;
use amends_engine::courier::kafka::{KafkaConfig, KafkaCourier};
use amends_engine::courier::{Courier, Records};
use amends_engine::store::{Lease, StoreError, TopicBook, TopicRow};
use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Mutex;
use uuid::Uuid;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The broker under test.
pub(crate) fn bus() -> String {
    std::env::var("AMENDS_BUS")
        .expect("AMENDS_BUS names no broker: `cargo xtask up` starts one, and `cargo xtask test` sets it")
}

/// A courier on topics of its own.
pub(crate) struct World {
    pub(crate) config: KafkaConfig,
    pub(crate) book: Arc<Book>,
    pub(crate) inlet: Arc<Kept>,
    pub(crate) courier: Arc<KafkaCourier>,
    pub(crate) topics: Topics,
}

impl World {
    /// With all topics there, and the courier connected.
    pub(crate) async fn new(shards: u16) -> Self {
        let config = config(&bus(), shards);
        let topics = Topics::new(&bus());
        topics.create(&config.replies_topic(), i32::from(shards)).await;
        topics.create(&config.commands_topic("suite"), 2).await;
        Self::on(config, topics, Arc::default(), Arc::default())
    }

    /// On topics that are made already, or not.
    pub(crate) fn on(config: KafkaConfig, topics: Topics, book: Arc<Book>, inlet: Arc<Kept>) -> Self {
        let courier = KafkaCourier::start(config.clone(), book.clone()).expect("a courier");
        courier.connect(inlet.clone());
        Self { config, book, inlet, courier, topics }
    }

    pub(crate) fn assign(&self, shard: u16, epoch: i64, cursor: i64) {
        self.courier.assigned(&lease(shard, epoch, cursor));
    }

    /// Waits until a shard's records have come up to a position; gives them all, of all epochs.
    pub(crate) async fn records(&self, shard: u16, next: i64) -> Vec<Records> {
        until(&format!("shard {shard} is read up to {next}"), || async {
            let records = self.of(shard).await;
            records.last().is_some_and(|last| last.next >= next).then_some(records)
        })
        .await
    }

    /// What has come for a shard so far.
    pub(crate) async fn of(&self, shard: u16) -> Vec<Records> {
        self.inlet.records.lock().await.iter().filter(|records| records.shard == Shard(shard)).cloned().collect()
    }

    /// Waits until a shard was told to stand still, or to go on, most recently.
    pub(crate) async fn told(&self, shard: u16, halted: bool) -> Option<String> {
        until(&format!("shard {shard} is told (halted: {halted})"), || async {
            let halts = self.inlet.halts.lock().await;
            let last = halts.iter().rfind(|(of, _)| *of == Shard(shard)).map(|(_, why)| why.clone());
            last.filter(|why| why.is_some() == halted)
        })
        .await
    }

    /// Writes replies into the partition of a shard.
    pub(crate) async fn reply(&self, shard: u16, replies: &[Reply]) {
        for reply in replies {
            let (headers, value) = record::reply_record(reply, "/suite", Timestamp(0));
            let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect::<Vec<_>>();
            self.topics.produce(&self.config.replies_topic(), shard, Some(value.as_str().as_bytes()), &headers).await;
        }
    }
}

/// Names of its own for each test, so that tests run side by side.
pub(crate) fn config(bootstrap: &str, shards: u16) -> KafkaConfig {
    let mut config = KafkaConfig::new(bootstrap, shards, &Definitions::default());
    config.prefix = format!("test-{}.", Uuid::new_v4().simple());
    config.participants = BTreeMap::from([("suite".to_owned(), BTreeSet::from(["suite.echo".to_owned()]))]);
    config
}

pub(crate) fn lease(shard: u16, epoch: i64, cursor: i64) -> Lease {
    Lease { shard: Shard(shard), epoch: Epoch(epoch), journal_head: 0, published_head: 0, reply_cursor: cursor }
}

/// A reply to some saga of a shard; the number makes it another one.
pub(crate) fn reply(shard: u16, shards: u16, number: u128) -> Reply {
    let ids = (0..).map(|salt: u128| SagaId::from_uuid(Uuid::from_u128((number << 32) + salt + 1)));
    let saga_id = ids.into_iter().find(|id| Shard::of(*id, shards) == Shard(shard)).expect("some saga");
    let step = StepName::new("echo").expect("a name");
    Reply {
        command_id: CommandId::derive(saga_id, &step, Operation::Execute, 0),
        saga_id,
        step,
        operation: Operation::Execute,
        attempt: 1,
        outcome: Outcome::Done(Payload::from_json(number.to_string()).expect("JSON")),
    }
}

/// Waits for something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes, fills and reads topics with clients of its own; deletes at the end what it made.
pub(crate) struct Topics {
    client: ClientConfig,
    admin: Arc<AdminClient<DefaultClientContext>>,
    producer: FutureProducer,
    made: std::sync::Mutex<BTreeSet<String>>,
}

impl Topics {
    pub(crate) fn new(bootstrap: &str) -> Self {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", bootstrap).set("linger.ms", "0");
        let admin = Arc::new(client.create().expect("a client"));
        let producer = client.create().expect("a producer");
        Self { client, admin, producer, made: std::sync::Mutex::default() }
    }

    pub(crate) fn admin(&self) -> &AdminClient<DefaultClientContext> {
        &self.admin
    }

    /// To be deleted at the end, whoever makes it.
    pub(crate) fn own(&self, topic: &str) {
        self.made.lock().expect("no panic").insert(topic.to_owned());
    }

    pub(crate) async fn create(&self, topic: &str, partitions: i32) {
        self.own(topic);
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = self.admin.create_topics(&[new], &AdminOptions::new()).await.expect("an answer");
        assert!(made[0].is_ok(), "{made:?}");
        self.until_partitions(topic, Some(partitions)).await;
    }

    pub(crate) async fn delete(&self, topic: &str) {
        let gone = self.admin.delete_topics(&[topic], &AdminOptions::new()).await.expect("an answer");
        assert!(gone[0].is_ok(), "{gone:?}");
        self.until_partitions(topic, None).await;
    }

    pub(crate) async fn until_partitions(&self, topic: &str, count: Option<i32>) {
        until(&format!("{topic} has {count:?} partitions"), || async {
            let answer = self.admin.inner().fetch_metadata(Some(topic), PATIENCE).expect("metadata");
            let found = answer.topics().first().map_or(0, |topic| topic.partitions().len());
            (found == usize::try_from(count.unwrap_or(0)).expect("a count")).then_some(())
        })
        .await;
    }

    /// Deletes what lies before an offset of a partition.
    pub(crate) async fn delete_before(&self, topic: &str, partition: u16, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, i32::from(partition), Offset::Offset(offset)).expect("an offset");
        self.admin.delete_records(&list, &AdminOptions::new()).await.expect("records are deleted");
    }

    pub(crate) async fn produce(&self, topic: &str, partition: u16, value: Option<&[u8]>, headers: &[(&str, &[u8])]) {
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let record = FutureRecord {
            topic,
            partition: Some(i32::from(partition)),
            payload: value,
            key: Some("key"),
            timestamp: None,
            headers: Some(headers),
        };
        self.producer.send(record, PATIENCE).await.expect("a delivery");
    }

    /// A consumer of all of a topic, from its beginning.
    pub(crate) fn reader(&self, topic: &str, partitions: u16) -> Reader {
        let mut config = self.client.clone();
        config.set("group.id", "test").set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, i32::from(partition), Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("an assignment");
        Reader(Arc::new(consumer))
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        let made: Vec<String> = self.made.lock().expect("no panic").iter().cloned().collect();
        if made.is_empty() {
            return;
        }
        let admin = Arc::clone(&self.admin);
        let delete = std::thread::spawn(move || {
            let names: Vec<&str> = made.iter().map(String::as_str).collect();
            let _ = futures::executor::block_on(admin.delete_topics(&names, &AdminOptions::new()));
        });
        let _ = delete.join();
    }
}

/// Reads a topic.
pub(crate) struct Reader(Arc<BaseConsumer>);

impl Reader {
    /// The next record; `None` if none comes for a while.
    pub(crate) async fn next(&self, wait: Duration) -> Option<OwnedMessage> {
        let consumer = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || {
            let end = Instant::now() + wait;
            while Instant::now() < end {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                    return Some(message.detach());
                }
            }
            None
        });
        read.await.expect("the reader lives")
    }
}

/// A header's value as text.
pub(crate) fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    found.value.map(|value| String::from_utf8_lossy(value).into_owned())
}

/// A book of topics in memory.
#[derive(Default)]
pub(crate) struct Book {
    rows: Mutex<BTreeMap<String, TopicRow>>,
    pub(crate) rewinds: std::sync::atomic::AtomicU32,
}

#[async_trait]
impl TopicBook for Book {
    async fn topics(&self) -> Result<Vec<TopicRow>, StoreError> {
        Ok(self.rows.lock().await.values().cloned().collect())
    }

    async fn record_topic(&self, row: &TopicRow) -> Result<(), StoreError> {
        let mut rows = self.rows.lock().await;
        match rows.get(&row.name) {
            Some(known) if known != row => Err(StoreError::Conflict(row.name.clone())),
            _ => {
                rows.insert(row.name.clone(), row.clone());
                Ok(())
            }
        }
    }

    async fn replace_topic(&self, row: &TopicRow, rewind: bool) -> Result<(), StoreError> {
        self.rows.lock().await.insert(row.name.clone(), row.clone());
        self.rewinds.fetch_add(u32::from(rewind), std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}
