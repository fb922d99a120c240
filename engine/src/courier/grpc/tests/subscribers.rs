//! Participants that subscribe to domain events.

use std::sync::atomic::Ordering;

use amends_core::{DomainEvent, Payload, SagaId, SagaType, Timestamp};
use uuid::Uuid;

use super::far_end::FarEnd;
use super::{Pair, target};
use crate::courier::grpc::{GrpcCourier, GrpcLimits};
use crate::courier::{Courier, CourierError, Publisher};

fn event(number: u128, topic: &str) -> DomainEvent {
    DomainEvent {
        id: Uuid::from_u128(number),
        topic: topic.to_owned(),
        saga_id: SagaId::from_uuid(Uuid::from_u128(7)),
        saga_type: SagaType::new("suite").unwrap(),
        at: Timestamp(1_700_000_000_123),
        payload: Payload::from_json(format!("{{\"n\":{number}}}")).unwrap(),
    }
}

#[tokio::test]
async fn who_subscribes_is_told_in_order_of_what_it_wants() {
    let far_end = FarEnd::start(true).await;
    far_end.state.topics.lock().unwrap().push("booked".into());
    let pair = Pair::new(far_end, GrpcLimits::default());
    pair.holds(false).await;
    let events: Vec<_> = (0..1_000).map(|n| event(n, if n % 2 == 0 { "booked" } else { "paid" })).collect();
    pair.courier.publish(&events).await.unwrap();
    let told = pair.far_end.state.events.lock().unwrap().clone();
    let ids: Vec<_> = told.iter().map(|event| event.id.clone()).collect();
    assert_eq!(ids, (0..1_000).step_by(2).map(|n| Uuid::from_u128(n).to_string()).collect::<Vec<_>>());
    let second = &told[1];
    assert_eq!((second.topic.as_str(), second.payload.as_str()), ("booked", r#"{"n":2}"#));
    assert_eq!(second.time.unwrap().seconds, 1_700_000_000);
}

#[tokio::test]
async fn one_that_does_not_take_its_events_is_told_again_later() {
    let far_end = FarEnd::start(true).await;
    far_end.state.topics.lock().unwrap().push("booked".into());
    far_end.state.deaf.store(true, Ordering::SeqCst);
    let pair = Pair::new(far_end, GrpcLimits::default());
    pair.holds(false).await;
    let refused = pair.courier.publish(&[event(1, "booked")]).await;
    assert!(matches!(refused, Err(CourierError::Unavailable(_))), "{refused:?}");
    pair.courier.publish(&[event(2, "paid")]).await.expect("nobody here wants that one");
    pair.far_end.state.deaf.store(false, Ordering::SeqCst);
    pair.courier.publish(&[event(1, "booked")]).await.unwrap();
    assert_eq!(pair.far_end.state.events.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn one_that_was_never_reached_may_want_to_know() {
    let absent = FarEnd::absent(true).await;
    let courier = GrpcCourier::start(vec![target(absent.url(), GrpcLimits::default())]).unwrap();
    let unsure = courier.publish(&[event(1, "booked")]).await;
    assert!(matches!(unsure, Err(CourierError::Unavailable(_))), "{unsure:?}");
}

#[tokio::test]
async fn one_of_its_processes_is_enough() {
    let (absent, far_end) = (FarEnd::absent(true).await, FarEnd::start(true).await);
    far_end.state.topics.lock().unwrap().push("booked".into());
    let urls = vec![absent.url(), far_end.url()];
    let both = crate::courier::grpc::GrpcTarget { urls, ..target(String::new(), GrpcLimits::default()) };
    let pair = Pair::to(GrpcCourier::start(vec![both]).unwrap(), far_end);
    pair.holds(false).await;
    pair.courier.publish(&[event(1, "booked")]).await.unwrap();
    pair.courier.send(super::commands(300)).await.unwrap();
    pair.replies(300).await;
    assert!(pair.courier.served()[0].held.is_none(), "one of two is there");
}
