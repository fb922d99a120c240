//! Sagas, read back with their journals.

use amends_core::{Event, IdempotencyKey, Shard, Status, Timestamp};

use super::Subject;
use super::fixture::{COMPLETED, PAID, Scribe, id, saga, state, step};
use crate::store::{Archive, SagaChange, Store, StoredSaga};

fn journals(stored: &[StoredSaga]) -> Vec<(u128, Vec<u64>)> {
    let number = |saga: &StoredSaga| saga.row.id.as_uuid().as_u128();
    stored.iter().map(|saga| (number(saga), saga.journal.iter().map(|row| row.seq).collect())).collect()
}

pub(super) async fn recovery_gives_what_moves_by_itself(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    // Started in another order than they are written.
    for (n, at) in [(1, 30), (2, 10), (3, 20), (4, 40), (5, 50), (6, 60), (7, 70)] {
        scribe.start(&saga(n, u16::from(n == 4), at));
    }
    let undone = SagaChange { step: Some(step("pay")), ..state(id(3), Status::Compensating, 21) };
    scribe.change(&saga(3, 0, 20), 2, PAID, undone.clone());
    scribe.change(&saga(5, 0, 50), 2, PAID, state(id(5), Status::Parked, 51));
    scribe.change(&saga(6, 0, 60), 2, PAID, SagaChange { paused: true, ..state(id(6), Status::Running, 61) });
    scribe.change(&saga(7, 0, 70), 2, COMPLETED, state(id(7), Status::Completed, 71));
    scribe.append(&saga(1, 0, 30), 2, 31, PAID);
    scribe.commit().await.expect("a commit");
    let recovered = store.recover(Shard(0)).await.expect("sagas");
    assert_eq!(journals(&recovered), [(2, vec![1]), (3, vec![1, 2]), (1, vec![1, 2])]);
    assert_eq!(recovered[1].row.state, undone);
    assert!(
        matches!(&recovered[0].journal[0].events[1], Event::StepStarted { step, attempt: 1 } if step.as_str() == "pay")
    );
    assert_eq!(journals(&store.recover(Shard(1)).await.expect("sagas")), [(4, vec![1])]);
    assert!(store.recover(Shard(2)).await.expect("sagas").is_empty());
}

pub(super) async fn ended_sagas_load_without_their_journals(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    let mut keyed = saga(1, 0, 5);
    keyed.key = Some(IdempotencyKey::new("order/1").expect("a key"));
    scribe.start(&keyed);
    scribe.start(&saga(2, 0, 6));
    scribe.start(&saga(3, 1, 7));
    scribe.change(&keyed, 2, COMPLETED, state(id(1), Status::Completed, 8));
    let parked = SagaChange {
        overdue: true,
        step: Some(step("ship")),
        attempt: 5,
        next_at: Some(Timestamp(9)),
        error_code: Some("E".to_owned()),
        error_message: Some("m".to_owned()),
        ..state(id(3), Status::Parked, 8)
    };
    scribe.change(&saga(3, 1, 7), 2, PAID, parked.clone());
    scribe.commit().await.expect("a commit");
    let mut loaded = store.load(&[id(3), id(1), id(99), id(2)]).await.expect("sagas");
    loaded.sort_by_key(|stored| stored.row.id);
    assert_eq!(journals(&loaded), [(1, vec![]), (2, vec![1]), (3, vec![1, 2])]);
    keyed.state = state(id(1), Status::Completed, 8);
    assert_eq!(loaded[0].row, keyed);
    assert_eq!(loaded[2].row.state, parked);
    assert!(store.load(&[]).await.expect("nothing").is_empty());
    assert_eq!(journals(&store.load(&[id(1)]).await.expect("a saga")), [(1, vec![])]);
    // The archive gives the whole story of every saga.
    let ended = store.saga(id(1)).await.expect("an answer").expect("the saga");
    assert_eq!(journals(&[ended]), [(1, vec![1, 2])]);
    assert!(store.saga(id(99)).await.expect("an answer").is_none());
}

pub(super) async fn a_suffix_finds_a_saga(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    for n in [0xa_7f3a, 0xb_7f3a, 0xc_7f3a, 0x91bc] {
        scribe.start(&saga(n, 0, 5));
    }
    scribe.change(&saga(0x91bc, 0, 5), 2, COMPLETED, state(id(0x91bc), Status::Completed, 6));
    scribe.commit().await.expect("a commit");
    assert_eq!(store.by_suffix("91bc").await.expect("ids"), [id(0x91bc)]);
    assert_eq!(store.by_suffix("B7F3A").await.expect("ids"), [id(0xb_7f3a)]);
    assert_eq!(store.by_suffix("0000-00000000-91bc").await.expect("ids"), [id(0x91bc)]);
    assert_eq!(store.by_suffix(&id(0xa_7f3a).to_string()).await.expect("ids"), [id(0xa_7f3a)]);
    assert_eq!(store.by_suffix("7f3a").await.expect("ids").len(), 2, "two are enough to say that it is not unique");
    for nobody in ["7f3b", "%", "xyz", "'", "order/k"] {
        assert!(store.by_suffix(nobody).await.expect("ids").is_empty(), "{nobody}");
    }
}
