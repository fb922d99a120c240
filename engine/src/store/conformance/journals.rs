//! The journal, read back (I5, I7).

use amends_core::{Shard, Timestamp};

use super::Subject;
use super::fixture::{COMPLETED, PAID, STARTED, Scribe, id, list, numbers, saga};
use crate::store::{Archive, SagaFilter, Store, StoreError};

pub(super) async fn the_journal_of_a_shard_is_read_in_order(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    // Saga 9 comes before saga 1, so that no other order than that of positions will do.
    let (late, early, other) = (saga(9, 1, 5), saga(1, 1, 6), saga(2, 0, 5));
    for saga in [&late, &early, &other] {
        scribe.start(saga);
    }
    scribe.append(&late, 2, 7, PAID);
    scribe.append(&late, 3, 8, COMPLETED);
    let written = scribe.batch.journal.clone();
    scribe.commit().await.expect("a commit");
    let shard_one: Vec<_> = written.into_iter().filter(|row| row.shard == Shard(1)).collect();
    assert_eq!(store.journal_after(Shard(1), 0, 100).await.expect("rows"), shard_one);
    assert_eq!(store.journal_after(Shard(1), 1, 2).await.expect("rows"), shard_one[1..3]);
    assert_eq!(store.journal_after(Shard(1), 4, 100).await.expect("rows"), []);
    assert_eq!(store.journal_after(Shard(3), 0, 100).await.expect("rows"), []);
    let stored = store.saga(late.id).await.expect("an answer").expect("the saga");
    let kinds: Vec<_> = stored.journal[2].events.iter().map(|event| event.kind()).collect();
    assert_eq!((stored.journal[2].at, kinds), (Timestamp(8), vec!["step_succeeded", "saga_completed"]));
}

async fn is_corrupt(subject: &impl Subject, n: u128) {
    let store = subject.store();
    let loaded = store.load(&[id(n)]).await.expect("the row can be read");
    assert!(loaded[0].unreadable.is_some(), "load says why");
    assert!(matches!(store.saga(id(n)).await, Err(StoreError::Corrupt(_))), "saga");
    let recovered = store.recover(Shard(0)).await.expect("the shard can be read");
    let readable: Vec<_> = recovered.iter().filter(|saga| saga.unreadable.is_none()).map(|saga| saga.row.id).collect();
    assert_eq!((recovered.len(), readable), (2, vec![id(1)]), "one such saga does not stop the others (I35)");
    assert_eq!(numbers(&list(store, SagaFilter::default()).await), [n, 1], "lists show it");
}

pub(super) async fn an_unknown_event_is_corrupt(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    scribe.start(&saga(1, 0, 5));
    scribe.start(&saga(2, 0, 6));
    scribe.append(&saga(2, 0, 6), 2, 7, r#"[{"saga_teleported":{"to":"the moon"}}]"#);
    scribe.commit().await.expect("a commit");
    is_corrupt(subject, 2).await;
}

pub(super) async fn a_gap_or_an_unknown_format_is_corrupt(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    scribe.start(&saga(1, 0, 5));
    scribe.start(&saga(2, 0, 6));
    scribe.append(&saga(2, 0, 6), 3, 7, PAID);
    scribe.commit().await.expect("a commit");
    is_corrupt(subject, 2).await;
    // With the gap filled, and another saga of a format to come.
    scribe.append(&saga(2, 0, 6), 2, 7, STARTED);
    scribe.commit().await.expect("a commit");
    assert!(subject.store().saga(id(2)).await.is_ok());
    scribe.append(&saga(2, 0, 6), 4, 7, PAID);
    let mut batch = scribe.take();
    batch.journal[0].format = i16::MAX;
    subject.store().commit(std::sync::Arc::new(batch)).await.expect("a commit");
    is_corrupt(subject, 2).await;
}
