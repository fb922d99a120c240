//! Prints how many commands a second one worker answers over Kafka when nothing has to be done for them.
//!
//! `AMENDS_BUS=127.0.0.1:7492 cargo run --release -p amends-sdk --features kafka --example kafka_rate [COMMANDS]
//! [OPTION=VALUE …]`, where the options are librdkafka's.
//!
//! The topic is filled before the worker starts. Time and CPU count from the first command to the last reply that the
//! brokers have; the CPU is that of the worker's process, not the brokers'.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a program for the terminal")]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use amends_core::record::{self, ReplyTo};
use amends_sdk::kafka::{self, KafkaConfig};
use amends_sdk::{
    Command, CommandId, Operation, Outcome, Payload, Reply, ReplySink, SagaId, SagaType, StepName, Timestamp,
};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PARTITIONS: i32 = 16;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let bootstrap = std::env::var("AMENDS_BUS").expect("AMENDS_BUS names no Kafka; start one with `cargo xtask up`");
    let mut args = std::env::args().skip(1);
    let count: i64 = args.next().map_or(200_000, |count| count.parse().unwrap());
    let options = args.map(|option| option.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap());
    let config = options.fold(KafkaConfig::new(&bootstrap), |config, (name, value)| config.option(name, value));

    let participant = format!("rate-{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis());
    let (commands, replies) = (format!("amends.{participant}.commands"), format!("amends.{participant}.replies"));
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &bootstrap);
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let topics = [&commands, &replies].map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
    admin.create_topics(&topics, &AdminOptions::new()).await.unwrap();
    fill(&client.create().unwrap(), &commands, &replies, count);

    let (began, cancel) = (Arc::new(OnceLock::new()), CancellationToken::new());
    let (noted, token) = (Arc::clone(&began), cancel.clone());
    let worker = tokio::spawn(async move {
        kafka::serve(&config, &[&participant], token, |commands, sink, _| answer(commands, sink, noted)).await
    });
    let counter: BaseConsumer = client.create().unwrap();
    let delivered =
        || (0..PARTITIONS).map(|at| counter.fetch_watermarks(&replies, at, PATIENCE).unwrap().1).sum::<i64>();
    while delivered() < count {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (start, cpu_before): (Instant, Duration) = *began.get().unwrap();
    let (took, cpu) = (start.elapsed(), cpu() - cpu_before);
    cancel.cancel();
    worker.await.unwrap().unwrap();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    println!("{count} commands in {took:.2?}: {:.0}/s, {:.1} µs of CPU each", 1e6 / each(took), each(cpu));
}

/// Answers as a participant would that has nothing to do.
async fn answer(
    mut commands: mpsc::Receiver<Command>,
    sink: Arc<dyn ReplySink>,
    noted: Arc<OnceLock<(Instant, Duration)>>,
) {
    let mut batch = Vec::with_capacity(256);
    while commands.recv_many(&mut batch, 256).await > 0 {
        noted.get_or_init(|| (Instant::now(), cpu()));
        let done = |command: Command| Reply {
            command_id: command.id,
            saga_id: command.saga_id,
            step: command.step,
            operation: command.operation,
            attempt: command.attempt,
            outcome: Outcome::Done(command.payload),
        };
        sink.send(batch.drain(..).map(done).collect()).await;
    }
}

fn fill(producer: &BaseProducer, commands: &str, replies: &str, count: i64) {
    for number in 0..count {
        let command = command(u128::try_from(number).unwrap());
        let partition = i32::try_from(number % i64::from(PARTITIONS)).unwrap();
        let to = ReplyTo { topic: replies.to_owned(), partition };
        let headers = record::command_headers(&command, &to, Timestamp(0));
        let insert = |all: OwnedHeaders, (key, value): &(&str, String)| all.insert(Header { key, value: Some(value) });
        let headers = headers.iter().fold(OwnedHeaders::new(), insert);
        let key = command.saga_id.to_string();
        let record = BaseRecord::to(commands).partition(partition).key(&key).headers(headers);
        let mut record = record.payload(command.payload.as_str());
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(PATIENCE).unwrap();
}

fn command(number: u128) -> Command {
    let (saga_id, step) = (SagaId::from_uuid(Uuid::from_u128(number << 64)), StepName::new("charge_payment").unwrap());
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
        payload: Payload::from_json(r#"{"order_id":"ord_1","amount":1999,"currency":"EUR","user_id":"u1"}"#.into())
            .unwrap(),
        cause: None,
    }
}

/// What this process has used so far; the kernel counts in hundredths of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
