//! Domain events to subscribers.

use std::sync::Arc;

use amends_core::record;
use amends_core::{DomainEvent, Payload, SagaType, Timestamp};
use amends_sdk::kafka::{self, DEAD_LETTERS};
use amends_sdk::{Database, EventContext, StepError, Subscriber, Subscriptions, Value};
use async_trait::async_trait;
use rdkafka::message::{Header, Message};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bus::{Bus, PATIENCE, Reader, config, header, make_topic, saga_id, to_headers, unique};

/// Writes down each event's number; one it can never take.
struct Scribe(&'static [&'static str]);

const NEVER: i64 = 77;

#[async_trait]
impl Subscriber for Scribe {
    fn topics(&self) -> &'static [&'static str] {
        self.0
    }

    async fn on_event(&self, cx: &mut EventContext<'_>, event: &DomainEvent) -> Result<(), StepError> {
        let number: i64 = event.payload.decode().map_err(|error| StepError::refused("INVALID", error.to_string()))?;
        if number == NEVER {
            return Err(StepError::try_again("never"));
        }
        cx.execute("INSERT INTO seen (number) VALUES ($1)", &[Value::Int(number)]).await?;
        Ok(())
    }
}

fn put(bus: &Bus, topic: &str, number: i64) {
    let event = DomainEvent {
        id: Uuid::from_u128(1),
        topic: topic.into(),
        saga_id: saga_id(1),
        saga_type: SagaType::new("order").unwrap(),
        at: Timestamp(0),
        payload: Payload::encode(&number).unwrap(),
    };
    let mut headers = to_headers(record::event_headers(&event));
    headers = headers.insert(Header { key: "more", value: Some("kept") });
    bus.put(topic, 0, "1", headers, Some(event.payload.as_str().as_bytes()));
}

async fn seen(database: &Database, count: usize) -> Vec<i64> {
    let give_up = std::time::Instant::now() + PATIENCE;
    loop {
        let rows: Vec<(i64,)> = database.fetch_all("SELECT number FROM seen ORDER BY rowid", &[]).await.unwrap();
        if rows.len() >= count {
            return rows.into_iter().map(|(number,)| number).collect();
        }
        assert!(std::time::Instant::now() < give_up, "only {rows:?} were seen");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_order_and_poison_is_passed_over() {
    let bus = Bus::new().await;
    let names = [unique("numbers"), unique("later")];
    let topics: &'static [&'static str] = Box::leak(Box::new(names.map(|name| &*Box::leak(name.into_boxed_str()))));
    let (numbers, later) = (topics[0], topics[1]);
    make_topic(numbers).await;
    let database = Database::open_sqlite(":memory:").await.unwrap();
    database.execute("CREATE TABLE seen (number INTEGER NOT NULL)", &[]).await.unwrap();
    let (cancel, participant) = (CancellationToken::new(), bus.participant.clone());
    let subscriptions = Subscriptions::new(database.clone(), vec![Arc::new(Scribe(topics))]);
    assert_eq!(subscriptions.topics().len(), 2);
    let token = cancel.clone();
    let subscribed = tokio::spawn(async move { kafka::subscribe(&config(), &participant, subscriptions, token).await });
    for number in 0..50 {
        put(&bus, numbers, number);
    }
    put(&bus, numbers, NEVER);
    bus.put(numbers, 0, "unreadable", to_headers(Vec::new()), Some(b"{}"));
    for number in 50..100 {
        put(&bus, numbers, number);
    }
    bus.flush();
    let expected: Vec<i64> = (0..100).filter(|number| *number != NEVER).collect();
    assert_eq!(seen(&database, 99).await, expected);
    let mut letters = Reader::new(DEAD_LETTERS).letters_of(numbers, 3);
    letters.sort_by_key(|letter| header(letter, record::header::ERROR_CODE));
    let codes: Vec<String> = letters.iter().map(|letter| header(letter, record::header::ERROR_CODE).unwrap()).collect();
    assert_eq!(codes, ["EVENT_NOT_TAKEN", "EVENT_NOT_TAKEN", "INVALID_EVENT"]);
    assert_eq!(
        (letters[0].payload().unwrap(), header(&letters[0], "more").unwrap()),
        (b"77".as_slice(), "kept".into())
    );
    assert_eq!(letters[2].key().unwrap(), b"unreadable");
    // A topic that is made only now.
    make_topic(later).await;
    put(&bus, later, 1000);
    bus.flush();
    assert!(seen(&database, 100).await.contains(&1000));
    let group = format!("{}.events", bus.group());
    bus.all_committed(numbers, &group).await;
    cancel.cancel();
    subscribed.await.unwrap().unwrap();
    assert_eq!(bus.committed(later, &group), (1, 1));
}
