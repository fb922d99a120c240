//! Measures the Kafka courier against the broker that `AMENDS_BUS` names:
//! `cargo run --release -p amends-engine --features kafka --example kafka_rate`.
//!
//! First commands a second by the size of batches, with and without waiting for each batch's acknowledgements, and the
//! processor time that a command costs this process and, given its id as `BROKER_PID`, the broker. Then the time of one
//! command and its reply through an echo, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_core::{
    Command, CommandId, Epoch, Operation, Outcome, Payload, Reply, SagaId, SagaType, Shard, StepName, Timestamp, record,
};
use amends_engine::Definitions;
use amends_engine::courier::kafka::admin::{EnsureOptions, ensure, wanted};
use amends_engine::courier::kafka::{KafkaConfig, KafkaCourier};
use amends_engine::courier::{Courier, Inlet, Records};
use amends_engine::store::{Lease, StoreError, TopicBook, TopicRow};
use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc;
use uuid::Uuid;

const SHARDS: u16 = 16;
const COMMANDS: usize = 60_000;
const HOPS: usize = 2_000;

#[tokio::main]
#[allow(clippy::print_stdout)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = std::env::var("AMENDS_BUS").map_err(|_| "AMENDS_BUS names no broker: `cargo xtask up` starts one")?;
    let mut config = KafkaConfig::new(bus.clone(), SHARDS, &Definitions::default());
    config.prefix = format!("rate-{}.", Uuid::new_v4().simple());
    config.participants.insert("suite".to_owned(), ["suite.echo".to_owned()].into());
    // `PROPERTIES=compression.type=lz4,…`
    let properties = std::env::var("PROPERTIES").unwrap_or_default();
    config.properties.extend(properties.split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    }));
    let book = Arc::new(Book);
    let topics = wanted(&config, &Definitions::default());
    ensure(&config, &*book, &topics, EnsureOptions { partitions: 4, replication: None, adopt: false }).await?;
    let courier = KafkaCourier::start(config.clone(), book)?;
    let (sender, mut replies) = mpsc::channel(1_000);
    courier.connect(Arc::new(Taken(sender)));
    for shard in 0..SHARDS {
        let (shard, epoch) = (Shard(shard), Epoch(1));
        courier.assigned(&Lease { shard, epoch, journal_head: 0, published_head: 0, reply_cursor: 0 });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    for (size, wait) in [(1, false), (16, false), (256, false), (16, true), (256, true)] {
        rate(&courier, size, wait).await?;
    }
    std::thread::spawn(move || echo(&bus, &config));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut times = Vec::with_capacity(HOPS);
    for number in 0..HOPS {
        let begun = Instant::now();
        courier.send(vec![command(number)]).await?;
        replies.recv().await.ok_or("the courier has ended")?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times[HOPS * share / 100];
    println!("command and reply, one at a time: p50 {:?}, p90 {:?}, p99 {:?}", at(50), at(90), at(99));
    courier.close().await;
    Ok(())
}

#[allow(clippy::print_stdout)]
async fn rate(courier: &KafkaCourier, size: usize, wait: bool) -> Result<(), Box<dyn std::error::Error>> {
    let batches = (COMMANDS / size).min(if wait { 500 } else { 20_000 });
    let commands: Vec<Command> = (0..size).map(command).collect();
    let (own, broker, begun) = (cpu("self"), broker_cpu(), Instant::now());
    for _ in 0..batches {
        courier.send(commands.clone()).await?;
        if wait {
            courier.settle().await;
        }
    }
    courier.settle().await;
    let count = batches * size;
    let took = begun.elapsed();
    println!(
        "batches of {size:>3}{}: {:>7.0} commands/s, {:>7.0} batches/s; CPU per command: here {:.1} µs, broker {:.1} µs; not delivered: {}",
        if wait { ", each waited for" } else { "" },
        count as f64 / took.as_secs_f64(),
        batches as f64 / took.as_secs_f64(),
        micros(cpu("self") - own, count),
        micros(broker_cpu() - broker, count),
        courier.undelivered(),
    );
    Ok(())
}

/// Answers commands that come from now on, as the plainest participant would.
fn echo(bus: &str, config: &KafkaConfig) {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", bus)
        .set("group.id", "rate")
        .set("linger.ms", "0")
        .set("socket.nagle.disable", "true");
    let producer: ThreadedProducer<_> = client.create().expect("a producer");
    let consumer: BaseConsumer = client.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..16 {
        list.add_partition_offset(&config.commands_topic("suite"), partition, Offset::End).expect("an offset");
    }
    consumer.assign(&list).expect("an assignment");
    for message in consumer.iter().filter_map(Result::ok) {
        let headers = message.headers().expect("headers");
        let find = |name: &str| headers.iter().find(|header| header.key == name).and_then(|header| header.value);
        let command = record::read_command("suite", find, message.payload()).expect("a command");
        let to = record::read_reply_to(find).expect("a way back");
        let reply = Reply {
            command_id: command.id,
            saga_id: command.saga_id,
            step: command.step,
            operation: command.operation,
            attempt: command.attempt,
            outcome: Outcome::Done(command.payload),
        };
        let (headers, value) = record::reply_record(&reply, "/rate", Timestamp(0));
        let headers = headers.iter().fold(OwnedHeaders::new_with_capacity(16), |all, (key, value)| {
            all.insert(Header { key, value: Some(value) })
        });
        let record = BaseRecord::<[u8], str>::to(&to.topic).payload(value.as_str()).partition(to.partition);
        let _ = producer.send(record.headers(headers));
    }
}

fn command(number: usize) -> Command {
    let saga_id = SagaId::from_uuid(Uuid::from_u128((number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)));
    let step = StepName::new("echo").expect("a name");
    Command {
        id: CommandId::derive(saga_id, &step, Operation::Execute, 0),
        saga_id,
        saga_type: SagaType::new("suite").expect("a name"),
        step,
        operation: Operation::Execute,
        command: "suite.echo".to_owned(),
        participant: "suite".to_owned(),
        attempt: 1,
        revision: 0,
        redrive: 0,
        deadline: Timestamp(1_700_000_000_000),
        payload: Payload::from_json(r#"{"order_id":"o-1","user_id":"u-1","amount":1299,"currency":"EUR"}"#.to_owned())
            .expect("JSON"),
        cause: None,
    }
}

/// Clock ticks of 10 ms that a process has used.
fn cpu(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<u64>().ok()).sum()
}

fn broker_cpu() -> u64 {
    std::env::var("BROKER_PID").map_or(0, |process| cpu(&process))
}

fn micros(ticks: u64, count: usize) -> f64 {
    ticks as f64 * 10_000.0 / count as f64
}

/// Passes replies on.
struct Taken(mpsc::Sender<Reply>);

#[async_trait]
impl Inlet for Taken {
    async fn replies(&self, replies: Vec<Reply>) {
        for reply in replies {
            let _ = self.0.send(reply).await;
        }
    }

    async fn records(&self, records: Records) {
        self.replies(records.replies.into_iter().map(|(reply, _)| reply).collect()).await;
    }

    async fn halt(&self, _: Shard, _: Epoch, _: Option<String>) {}
}

/// Knows nothing.
struct Book;

#[async_trait]
impl TopicBook for Book {
    async fn topics(&self) -> Result<Vec<TopicRow>, StoreError> {
        Ok(BTreeMap::<String, TopicRow>::new().into_values().collect())
    }

    async fn record_topic(&self, _: &TopicRow) -> Result<(), StoreError> {
        Ok(())
    }

    async fn replace_topic(&self, _: &TopicRow, _: bool) -> Result<(), StoreError> {
        Ok(())
    }
}
