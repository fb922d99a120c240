use rstest::rstest;

use super::*;
use crate::DatabaseKind;
use crate::fixture::{Scribe, event, ledger, open};

const REFUSED: i64 = Scribe::REFUSED;
const TRY_AGAIN: i64 = Scribe::TRY_AGAIN;
const PANICS: i64 = Scribe::PANICS;

async fn deliver(kind: DatabaseKind, numbers: &[i64]) -> (Result<(), DeliverError>, Vec<i64>) {
    let database = open(kind).await;
    let subscriptions = Subscriptions::new(database.clone(), vec![Arc::new(Scribe)]);
    let mut events = vec![event("letters", 1)];
    events.extend(numbers.iter().map(|number| event("numbers", *number)));
    (subscriptions.deliver(&events).await, ledger(&database).await)
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn events_come_in_order_and_a_refused_one_is_passed_over(#[case] kind: DatabaseKind) {
    let (delivered, written) = deliver(kind, &[1, 2, REFUSED, 3]).await;
    assert!(delivered.is_ok());
    assert_eq!(written, [1, 2, 3]);
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_delivery_is_all_or_nothing(#[case] kind: DatabaseKind) {
    for number in [TRY_AGAIN, PANICS] {
        let (delivered, written) = deliver(kind, &[1, number, 3]).await;
        assert!(matches!(delivered, Err(DeliverError::TryAgain { topic, .. }) if topic == "numbers"));
        assert!(written.is_empty());
    }
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn events_that_cannot_be_taken_hold_up_no_other_i35(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let subscriptions = Subscriptions::new(database.clone(), vec![Arc::new(Scribe)]);
    let events = [1, TRY_AGAIN, 2, PANICS, REFUSED, 3].map(|number| event("numbers", number));
    let passed_over = subscriptions.deliver_or_pass_over(&events).await.unwrap();
    let (places, reasons): (Vec<_>, Vec<_>) = passed_over.into_iter().map(|passed| (passed.index, passed.why)).unzip();
    assert_eq!(places, [1, 3]);
    assert_eq!(reasons[0], "not now");
    assert_eq!(ledger(&database).await, [1, 2, 3]);
    database.close().await;
    assert!(subscriptions.deliver_or_pass_over(&events).await.is_err(), "a database that fails is no event's fault");
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn events_that_nobody_wants_do_not_touch_the_database(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let subscriptions = Subscriptions::new(database.clone(), vec![Arc::new(Scribe)]);
    database.close().await;
    assert!(subscriptions.deliver(&[event("letters", 1)]).await.is_ok());
    assert!(subscriptions.deliver(&[event("numbers", 1)]).await.is_err());
}
