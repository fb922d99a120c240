//! What leaves: commands, held ones among them, domain events and dead letters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_core::{Command, DomainEvent, Operation, Payload, SagaId, SagaType, Shard, StepName, Timestamp, record};
use amends_engine::courier::{Courier, CourierError, Publisher};
use amends_engine::store::DeadLetter;
use rdkafka::message::{Headers as _, Message};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{Topics, World, bus, config, header, reply, until};

pub(crate) fn event(topic: &str, saga: u128, number: u128) -> DomainEvent {
    DomainEvent {
        id: Uuid::from_u128(number),
        topic: topic.to_owned(),
        saga_id: SagaId::from_uuid(Uuid::from_u128(saga)),
        saga_type: SagaType::new("suite").expect("valid"),
        at: Timestamp(1_700_000_000_000),
        payload: Payload::from_json(format!(r#"{{"n":{number}.50}}"#)).expect("valid"),
    }
}

pub(crate) fn command(number: u128) -> Command {
    let text = format!(
        r#"{{"id":"{}","saga_id":"{}","saga_type":"suite","step":"echo","operation":"execute","command":"suite.echo",
        "participant":"suite","attempt":1,"revision":0,"redrive":0,"deadline":0,"payload":null,"cause":null}}"#,
        Uuid::from_u128(number),
        Uuid::from_u128(number)
    );
    serde_json::from_str(&text).expect("valid")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_saga_keep_their_order() {
    let world = World::new(1).await;
    let topic = format!("{}events", world.config.prefix);
    world.topics.create(&topic, 3).await;
    let events: Vec<_> = (0..1_000).map(|number| event(&topic, number % 7, number)).collect();
    for chunk in events.chunks(250) {
        world.courier.publish(chunk).await.unwrap();
    }
    let reader = world.topics.reader(&topic, 3);
    let mut last = [-1_i64; 7];
    for _ in 0..1_000 {
        let record = reader.next(Duration::from_secs(10)).await.expect("each is there once publish is Ok");
        let number = i64::try_from(Uuid::parse_str(&header(&record, "ce_id").unwrap()).unwrap().as_u128()).unwrap();
        let saga = usize::try_from(number % 7).unwrap();
        assert_eq!(record.key().unwrap(), SagaId::from_uuid(Uuid::from_u128(saga as u128)).to_string().as_bytes());
        assert_eq!(record.payload().unwrap(), format!(r#"{{"n":{number}.50}}"#).as_bytes());
        assert!(number > last[saga], "{number} after {} of saga {saga}", last[saga]);
        last[saga] = number;
    }
}

/// One request of the worker's for all its answers to a batch, wherever their sagas are.
#[tokio::test(flavor = "multi_thread")]
async fn the_answers_to_a_batch_come_to_one_partition_of_the_engine() {
    const SHARDS: u16 = 8;
    let world = World::new(SHARDS).await;
    let reader = world.topics.reader(&world.config.commands_topic("suite"), 2);
    let batch: Vec<Command> = (0..20).map(command).collect();
    let shards: BTreeSet<u16> = batch.iter().map(|command| Shard::of(command.saga_id, SHARDS).0).collect();
    let last = *shards.last().unwrap();
    assert!(shards.len() > 2);
    let partitions = async |batch: Vec<Command>| {
        let mut partitions = BTreeSet::new();
        let count = batch.len();
        world.courier.send(batch).await.unwrap();
        for _ in 0..count {
            let record = reader.next(Duration::from_secs(10)).await.expect("a command");
            let reply_to = record::read_reply_to(|name| find(&record, name)).expect("a way back");
            partitions.insert(u16::try_from(reply_to.partition).unwrap());
        }
        partitions
    };
    assert_eq!(partitions(batch.clone()).await, shards, "as long as none is read, to each its own");
    world.assign(last, 1, 0);
    world.reply(last, &[reply(last, SHARDS, 1)]).await;
    world.records(last, 1).await;
    assert_eq!(partitions(batch.clone()).await, [last].into(), "the only one of them that is read");
    world.topics.delete(&world.config.replies_topic()).await;
    world.told(last, true).await;
    assert_eq!(partitions(batch).await, shards, "it stands still");
}

/// More than the client library sends, unless it is told to.
const TOO_LARGE: usize = 2_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_too_large_is_left_out_and_hinders_no_other() {
    let world = World::new(1).await;
    let reader = world.topics.reader(&world.config.commands_topic("suite"), 2);
    let mut batch: Vec<Command> = (0..5).map(command).collect();
    batch[2].payload = Payload::from_json(format!("\"{}\"", "x".repeat(TOO_LARGE))).expect("valid");
    let answer = world.courier.send(batch).await;
    assert!(matches!(answer, Err(CourierError::Refused(_))), "{answer:?}");
    for _ in 0..4 {
        assert!(reader.next(Duration::from_secs(10)).await.is_some(), "the others leave");
    }
    world.courier.settle().await;
    assert_eq!(world.courier.hindered("suite"), Timestamp(0), "no wait would help it");
}

fn find<'r>(record: &'r impl Message, name: &str) -> Option<&'r [u8]> {
    record.headers()?.iter().find(|header| header.key == name)?.value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_shown_with_its_record() {
    let world = World::new(1).await;
    world.topics.create(&world.config.dead_letters_topic(), 1).await;
    let letter = DeadLetter {
        id: Uuid::from_u128(5),
        saga_id: Some(SagaId::from_uuid(Uuid::from_u128(6))),
        shard: Shard(0),
        step: Some(StepName::new("pay").unwrap()),
        operation: Some(Operation::Compensate),
        attempts: 4,
        error_code: "GATEWAY_DOWN".to_owned(),
        error_message: "no answer".to_owned(),
        at: Timestamp(0),
        record: r#"{"topic":"t"}"#.to_owned(),
    };
    world.courier.show_dead_letters(&[letter]).await.unwrap();
    let reader = world.topics.reader(&world.config.dead_letters_topic(), 1);
    let record = reader.next(Duration::from_secs(10)).await.unwrap();
    assert_eq!(record.payload(), Some(&br#"{"topic":"t"}"#[..]));
    for (name, value) in
        [("amends-step", "pay"), ("amends-error-code", "GATEWAY_DOWN"), ("amends-operation", "compensate")]
    {
        assert_eq!(header(&record, name).as_deref(), Some(value));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_is_said() {
    let world = World::new(1).await;
    let topic = format!("{}nowhere", world.config.prefix);
    let answer = world.courier.publish(&[event(&topic, 1, 1)]).await;
    assert!(matches!(answer, Err(CourierError::Unavailable(_))), "{answer:?}");
}

/// Passes connections to the broker, until it is cut.
struct Proxy {
    address: std::net::SocketAddr,
    task: JoinHandle<()>,
}

impl Proxy {
    async fn open(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(bus()).await {
                        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        Self { address, task }
    }

    /// Cuts all connections and refuses new ones.
    async fn cut(self) -> std::net::SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }
}

/// The broker tells clients its own address, so a proxy stands between only as far as the bootstrap goes; a port that
/// nobody listens on is the other half.
#[tokio::test(flavor = "multi_thread")]
async fn commands_are_held_while_no_broker_answers() {
    let proxy = Proxy::open("127.0.0.1:0").await;
    let bootstrap = proxy.address.to_string();
    let topics = Topics::new(&bus());
    let config = config(&bootstrap, 1);
    topics.create(&config.replies_topic(), 1).await;
    topics.create(&config.commands_topic("suite"), 1).await;
    let address = proxy.cut().await;
    let world = World::on(config, topics, Arc::default(), Arc::default());

    until("it is held", || async { world.courier.holds("suite", Timestamp(0)).then_some(()) }).await;
    let held = until("and says why", || async { world.courier.served().remove(0).held }).await;
    assert!(held.contains("cannot be reached"), "{held}");
    let begun = Instant::now();
    world.courier.send(vec![command(1)]).await.expect("held commands are taken");
    assert!(begun.elapsed() < Duration::from_secs(2), "and not waited for");

    let _proxy = Proxy::open(&address.to_string()).await;
    until("it is no longer held", || async { (!world.courier.holds("suite", Timestamp(0))).then_some(()) }).await;
    let reader = world.topics.reader(&world.config.commands_topic("suite"), 1);
    assert!(reader.next(Duration::from_secs(10)).await.is_some(), "what was held has left");
    assert_eq!(world.courier.undelivered(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_held_while_their_topic_does_not_exist() {
    let config = config(&bus(), 1);
    let topics = Topics::new(&bus());
    topics.create(&config.replies_topic(), 1).await;
    let world = World::on(config, topics, Arc::default(), Arc::default());
    until("it is held", || async { world.courier.holds("suite", Timestamp(0)).then_some(()) }).await;
    let held = world.courier.served().remove(0).held.unwrap();
    assert!(held.contains("amends bus ensure"), "{held}");
    assert!(!world.courier.holds("other", Timestamp(0)), "nobody else is");
    world.topics.create(&world.config.commands_topic("suite"), 1).await;
    until("it is no longer held", || async { (!world.courier.holds("suite", Timestamp(0))).then_some(()) }).await;
}

/// 100 MB of commands and no broker: the queue is bounded, and what does not fit is said within a few seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_said_and_not_waited_for_long() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let world = World::on(config(&closed.to_string(), 1), Topics::new(&bus()), Arc::default(), Arc::default());
    let mut large = command(1);
    large.payload = Payload::from_json(format!("\"{}\"", "x".repeat(500_000))).unwrap();
    let begun = Instant::now();
    let answer = world.courier.send(vec![large; 200]).await;
    assert!(matches!(answer, Err(CourierError::Unavailable(_))), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
