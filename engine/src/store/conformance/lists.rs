//! What a list keeps, and what it shows.

use amends_core::{IdempotencyKey, SagaId, SagaType, Status, Timestamp};
use uuid::Uuid;

use super::Subject;
use super::fixture::{
    COMPLETED, OVERDUE, PAID, SENT_AGAIN, STARTED, Scribe, WAITING, id, list, numbers, saga, state, step,
};
use crate::store::{Archive, DefinitionRow, Leases, SagaChange, SagaFilter, SagaRow, Store};

fn waiting(saga: &SagaRow, at: i64) -> SagaChange {
    SagaChange {
        step: Some(step("pay")),
        attempt: 1,
        next_at: Some(Timestamp(900)),
        error_code: Some("SLOW".to_owned()),
        error_message: Some("no answer within 5s".to_owned()),
        ..state(saga.id, Status::Running, at)
    }
}

fn parked(saga: &SagaRow, at: i64) -> SagaChange {
    SagaChange { status: Status::Parked, step: Some(step("ship")), next_at: None, ..waiting(saga, at) }
}

/// Five sagas: 1 running, 2 waiting, 3 parked, 4 completed, 5 compensated after an error; and 6, a running refund.
async fn six_sagas<T: Store + Archive + Leases>(store: &T) -> SagaId {
    let mut scribe = Scribe::new(store).await;
    for n in 1..=5 {
        scribe.start(&saga(n, 0, n as i64 * 10));
    }
    let refund = SagaType::new("refund").expect("a name");
    let key = IdempotencyKey::new("k 6").expect("a key");
    let keyed = SagaId::from_key(&refund, &key);
    let sixth = SagaRow {
        id: keyed,
        saga_type: refund,
        key: Some(key),
        state: state(keyed, Status::Running, 60),
        ..saga(6, 1, 60)
    };
    scribe.start(&sixth);
    scribe.append(&sixth, 2, 61, PAID);
    scribe.change(&saga(2, 0, 20), 2, WAITING, waiting(&saga(2, 0, 20), 21));
    scribe.change(&saga(3, 0, 30), 2, PAID, parked(&saga(3, 0, 30), 31));
    scribe.change(&saga(4, 0, 40), 2, COMPLETED, state(id(4), Status::Completed, 41));
    let refused = SagaChange { error_code: Some("CARD_DECLINED".to_owned()), ..state(id(5), Status::Compensated, 51) };
    scribe.change(&saga(5, 0, 50), 2, COMPLETED, refused);
    scribe.commit().await.expect("a commit");
    for saga_type in ["order", "refund"] {
        let saga_type = SagaType::new(saga_type).expect("a name");
        let row = DefinitionRow { saga_type, version: 1, checksum: Uuid::nil(), source: String::new() };
        store.save_definition(&row).await.expect("a definition");
    }
    keyed
}

pub(super) async fn each_filter_keeps_what_it_says(subject: &impl Subject) {
    let store = subject.store();
    let six = six_sagas(store).await.as_uuid().as_u128();
    let text = |text: &str| Some(text.to_owned());
    let statuses = |statuses: &[Status]| SagaFilter { statuses: statuses.to_vec(), ..SagaFilter::default() };
    let none = SagaFilter::default;
    let cases = [
        (none(), vec![six, 5, 4, 3, 2, 1]),
        (SagaFilter { saga_type: text("refund"), ..none() }, vec![six]),
        (SagaFilter { saga_type: text("nothing"), ..none() }, vec![]),
        (statuses(&[Status::Running]), vec![six, 2, 1]),
        (statuses(&[Status::Parked, Status::Completed]), vec![4, 3]),
        (statuses(&[Status::Compensated]), vec![5]),
        (statuses(&[Status::Compensating]), vec![]),
        (statuses(&Status::ALL), vec![six, 5, 4, 3, 2, 1]),
        (SagaFilter { step: text("pay"), ..none() }, vec![2, 1]),
        (SagaFilter { step: text("ship"), ..none() }, vec![six, 3]),
        (SagaFilter { step: text("s"), ..none() }, vec![]),
        (SagaFilter { key: text("k 6"), ..none() }, vec![six]),
        (SagaFilter { key: text("k 6"), saga_type: text("order"), ..none() }, vec![]),
        (SagaFilter { key: text("k 6"), ..statuses(&[Status::Completed]) }, vec![]),
        (SagaFilter { key: text("k 6' OR TRUE --"), ..none() }, vec![]),
        (SagaFilter { error: text("card_de"), ..none() }, vec![5]),
        (SagaFilter { error: text("ANSWER within"), ..none() }, vec![3, 2]),
        (SagaFilter { error: text("%"), ..none() }, vec![]),
        (SagaFilter { error: text("s"), ..statuses(&[Status::Running]) }, vec![2]),
        (SagaFilter { since: Some(Timestamp(30)), until: Some(Timestamp(50)), ..none() }, vec![4, 3]),
        (SagaFilter { until: Some(Timestamp(30)), ..statuses(&[Status::Running]) }, vec![2, 1]),
        (SagaFilter { since: Some(Timestamp(61)), ..none() }, vec![]),
        (SagaFilter { retrying: true, ..none() }, vec![2]),
        (SagaFilter { retrying: true, step: text("ship"), ..none() }, vec![]),
    ];
    for (filter, expected) in cases {
        let page = list(store, filter.clone()).await;
        assert_eq!(numbers(&page), expected, "{filter:?}");
        assert_eq!(page.total, expected.len() as i64, "{filter:?}");
        assert!(page.next.is_empty(), "{filter:?}");
    }
}

pub(super) async fn a_list_shows_where_running_sagas_are(subject: &impl Subject) {
    let store = subject.store();
    six_sagas(store).await;
    let rows = list(store, SagaFilter::default()).await.rows;
    let shown: Vec<_> =
        rows.iter().map(|row| (row.state.step.as_ref().map(|step| step.as_str()), row.state.attempt)).collect();
    let expected = [(Some("ship"), 1), (None, 0), (None, 0), (Some("ship"), 1), (Some("pay"), 1), (Some("pay"), 1)];
    assert_eq!(shown, expected);
    // The sixth moved after its row was written.
    assert_eq!(rows[0].state.updated_at, Timestamp(61));
    assert_eq!((rows[4].state.next_at, rows[4].state.error_code.as_deref()), (Some(Timestamp(900)), Some("SLOW")));
    assert_eq!(rows[3].state, parked(&rows[3], 31));
}

pub(super) async fn what_a_saga_waited_for_is_forgotten_when_it_moves_on(subject: &impl Subject) {
    let store = subject.store();
    six_sagas(store).await;
    let mut scribe = Scribe::new(store).await;
    scribe.append(&saga(2, 0, 20), 3, 22, SENT_AGAIN);
    // An event about no step leaves the step as it was.
    scribe.append(&saga(1, 0, 10), 2, 23, OVERDUE);
    scribe.commit().await.expect("a commit");
    let page = list(store, SagaFilter { step: Some("pay".to_owned()), ..SagaFilter::default() }).await;
    assert_eq!(numbers(&page), [2, 1]);
    assert_eq!((page.rows[0].state.attempt, page.rows[0].state.next_at), (2, None));
    assert_eq!((page.rows[1].state.attempt, page.rows[1].state.updated_at), (1, Timestamp(23)));
    assert!(list(store, SagaFilter { retrying: true, ..SagaFilter::default() }).await.rows.is_empty());
    scribe.append(&saga(2, 0, 20), 4, 24, PAID);
    scribe.commit().await.expect("a commit");
    let page = list(store, SagaFilter { step: Some("ship".to_owned()), ..SagaFilter::default() }).await;
    assert_eq!(numbers(&page)[1..], [3, 2]);
}

pub(super) async fn stuck_sagas_are_those_that_need_somebody(subject: &impl Subject) {
    let store = subject.store();
    let six = six_sagas(store).await.as_uuid().as_u128();
    let mut scribe = Scribe::new(store).await;
    let overdue =
        SagaRow { state: SagaChange { overdue: true, ..state(id(7), Status::Running, 70) }, ..saga(7, 0, 70) };
    scribe.batch.started.push(overdue.clone());
    scribe.append(&overdue, 1, 70, STARTED);
    scribe.append(&saga(1, 0, 10), 2, 65, PAID);
    scribe.commit().await.expect("a commit");
    let stuck = |since| SagaFilter { stuck_since: Some(Timestamp(since)), ..SagaFilter::default() };
    assert_eq!(numbers(&list(store, stuck(0)).await), [7, 3], "overdue or parked, whenever they moved");
    assert_eq!(numbers(&list(store, stuck(61)).await), [7, 3, 2], "the last move counts, not the row");
    assert_eq!(numbers(&list(store, stuck(62)).await), [7, six, 3, 2]);
    assert_eq!(numbers(&list(store, stuck(66)).await), [7, six, 3, 2, 1]);
}
