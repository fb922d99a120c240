use amends_core::{Payload, SagaId, SagaType, Timestamp};
use uuid::Uuid;

use super::*;
use crate::Value;
use crate::fixture::{ledger, memory};

/// Writes down each event's number, and then ends as its number says.
struct Scribe;

const REFUSED: i64 = 13;
const TRY_AGAIN: i64 = 77;
const PANICS: i64 = 99;

#[async_trait]
impl Subscriber for Scribe {
    fn topics(&self) -> &'static [&'static str] {
        &["numbers"]
    }

    async fn on_event(&self, cx: &mut EventContext<'_>, event: &DomainEvent) -> Result<(), StepError> {
        let number: i64 = event.payload.decode().unwrap();
        cx.execute("INSERT INTO charge (saga_id, amount) VALUES (x'00', $1)", &[Value::Int(number)]).await?;
        match number {
            REFUSED => Err(StepError::refused("UNLUCKY", "no such number here")),
            TRY_AGAIN => Err(StepError::try_again("not now")),
            PANICS => panic!("the subscriber is broken"),
            _ => Ok(()),
        }
    }
}

fn event(topic: &str, number: i64) -> DomainEvent {
    DomainEvent {
        id: Uuid::from_u128(1),
        topic: topic.into(),
        saga_id: SagaId::from_uuid(Uuid::from_u128(1)),
        saga_type: SagaType::new("order").unwrap(),
        at: Timestamp(0),
        payload: Payload::encode(&number).unwrap(),
    }
}

async fn deliver(numbers: &[i64]) -> (Result<(), DeliverError>, Vec<i64>) {
    let database = memory().await;
    let subscriptions = Subscriptions::new(database.clone(), vec![Arc::new(Scribe)]);
    let mut events = vec![event("letters", 1)];
    events.extend(numbers.iter().map(|number| event("numbers", *number)));
    (subscriptions.deliver(&events).await, ledger(&database).await)
}

#[tokio::test]
async fn events_come_in_order_and_a_refused_one_is_passed_over() {
    let (delivered, written) = deliver(&[1, 2, REFUSED, 3]).await;
    assert!(delivered.is_ok());
    assert_eq!(written, [1, 2, 3]);
}

#[tokio::test]
async fn a_delivery_is_all_or_nothing() {
    for number in [TRY_AGAIN, PANICS] {
        let (delivered, written) = deliver(&[1, number, 3]).await;
        assert!(matches!(delivered, Err(DeliverError::TryAgain { topic, .. }) if topic == "numbers"));
        assert!(written.is_empty());
    }
}

#[tokio::test]
async fn events_that_nobody_wants_do_not_touch_the_database() {
    let database = memory().await;
    let subscriptions = Subscriptions::new(database.clone(), vec![Arc::new(Scribe)]);
    database.close().await;
    assert!(subscriptions.deliver(&[event("letters", 1)]).await.is_ok());
    assert!(subscriptions.deliver(&[event("numbers", 1)]).await.is_err());
}
