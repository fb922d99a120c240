//! All of a batch or nothing (I4, I5, I27, I28).

use std::sync::Arc;
use std::time::Duration;

use amends_core::{Epoch, Millis, Shard, Status, Timestamp};

use super::Subject;
use super::fixture::{COMPLETED, PAID, STARTED, Scribe, id, letter, mark, owner, saga, shards, state, written};
use crate::store::{Archive, AuditEntry, Batch, DeadLetter, Leases, SagaChange, SagaRow, ShardMark, Store, StoreError};

pub(super) async fn an_old_epoch_writes_nothing(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    let leases = store.claim(&owner(1), &[Shard(1)], Millis(60_000)).await.expect("a claim");
    assert_eq!(leases[0].epoch, Epoch(2));
    scribe.start(&saga(1, 1, 5));
    scribe.batch.dead_letters.push(DeadLetter { shard: Shard(1), ..letter(1, 5) });
    assert!(matches!(scribe.commit().await, Err(StoreError::Fenced(Shard(1)))));
    assert_eq!(written(subject).await, [0; 5]);
    // An epoch from the future is no proof either, nor is one of a shard that does not exist.
    for (shard, epoch) in [(1, 3), (999, 0)] {
        let mut wrong = mark(&leases[0]);
        (wrong.shard, wrong.epoch) = (Shard(shard), Epoch(epoch));
        let fenced = store.commit(Arc::new(Batch { shards: vec![wrong], ..Batch::default() })).await;
        assert!(matches!(fenced, Err(StoreError::Fenced(named)) if named == Shard(shard)));
    }
}

pub(super) async fn a_batch_fenced_in_one_shard_writes_nothing(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    store.claim(&owner(1), &[Shard(2)], Millis(60_000)).await.expect("a claim");
    for shard in shards() {
        scribe.start(&saga(u128::from(shard.0), shard.0, 5));
    }
    assert!(matches!(scribe.commit().await, Err(StoreError::Fenced(Shard(2)))));
    assert_eq!(written(subject).await, [0; 5]);
}

pub(super) async fn a_batch_must_bring_the_epoch_of_every_shard(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    scribe.start(&saga(1, 0, 5));
    scribe.start(&saga(2, 1, 5));
    let mut batch = scribe.take();
    batch.shards.retain(|mark| mark.shard == Shard(0));
    assert!(matches!(subject.store().commit(Arc::new(batch)).await, Err(StoreError::Conflict(_))));
    assert_eq!(written(subject).await, [0; 5]);
}

pub(super) async fn a_taken_number_undoes_the_whole_batch(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    let first = saga(1, 0, 5);
    scribe.start(&first);
    scribe.commit().await.expect("a commit");
    let before = written(subject).await;
    scribe.start(&saga(2, 1, 6));
    scribe.append(&first, 1, 6, PAID);
    scribe.batch.changed.push(state(first.id, Status::Completed, 6));
    scribe.batch.dead_letters.push(letter(1, 6));
    scribe.batch.audit.push(entry(1));
    assert!(matches!(scribe.commit().await, Err(StoreError::Conflict(_))));
    assert_eq!(written(subject).await, before);
    let stored = subject.store().saga(first.id).await.expect("an answer").expect("the saga");
    assert_eq!((stored.row, stored.journal.len()), (first, 1));
}

pub(super) async fn a_taken_position_is_a_conflict(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    scribe.start(&saga(1, 0, 5));
    scribe.commit().await.expect("a commit");
    scribe.start(&saga(2, 0, 5));
    let mut batch = scribe.take();
    batch.journal[0].position = 1;
    assert!(matches!(subject.store().commit(Arc::new(batch)).await, Err(StoreError::Conflict(_))));
    assert_eq!(written(subject).await, [1, 1, 0, 0, 1]);
}

pub(super) async fn a_saga_starts_once(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    scribe.start(&saga(1, 0, 5));
    scribe.commit().await.expect("a commit");
    scribe.batch.started.push(saga(1, 0, 9));
    scribe.append(&saga(1, 0, 9), 2, 9, PAID);
    assert!(matches!(scribe.commit().await, Err(StoreError::Conflict(_))));
    let stored = subject.store().saga(id(1)).await.expect("an answer").expect("the saga");
    assert_eq!(stored.row.started_at, Timestamp(5));
}

pub(super) async fn only_stored_sagas_change(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    scribe.change(&saga(1, 0, 5), 1, PAID, state(id(1), Status::Parked, 5));
    assert!(matches!(scribe.commit().await, Err(StoreError::Conflict(_))), "a change without a row");
    scribe.append(&saga(1, 0, 5), 1, 5, PAID);
    assert!(matches!(scribe.commit().await, Err(StoreError::Conflict(_))), "a journal without a row");
    assert_eq!(written(subject).await, [0; 5]);
}

pub(super) async fn a_saga_changes_once_and_under_its_shard(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    scribe.start(&saga(1, 0, 5));
    scribe.start(&saga(2, 1, 5));
    // A change beside the start belongs to it.
    scribe.change(&saga(1, 0, 5), 2, PAID, SagaChange { attempt: 7, ..state(id(1), Status::Running, 6) });
    scribe.commit().await.expect("a commit");
    let stored = subject.store().saga(id(1)).await.expect("an answer").expect("the saga");
    assert_eq!((stored.row.state.attempt, stored.row.state.updated_at), (7, Timestamp(6)));
    let before = written(subject).await;
    for (seq, status) in [(3, Status::Running), (4, Status::Parked)] {
        scribe.change(&saga(1, 0, 5), seq, PAID, state(id(1), status, 7));
    }
    assert!(matches!(scribe.commit().await, Err(StoreError::Conflict(_))), "twice");
    scribe.batch.changed.push(state(id(1), Status::Parked, 7));
    assert!(matches!(scribe.commit().await, Err(StoreError::Conflict(_))), "without the transition that says so");
    // Without the epoch of its own shard: somebody else may have that.
    scribe.change(&saga(2, 1, 5), 2, PAID, state(id(2), Status::Parked, 7));
    let mut batch = scribe.take();
    batch.shards.retain(|mark| mark.shard == Shard(0));
    assert!(matches!(subject.store().commit(Arc::new(batch)).await, Err(StoreError::Conflict(_))), "unfenced");
    let mut batch = Batch { dead_letters: vec![letter(1, 5)], ..scribe.take() };
    batch.shards.retain(|mark| mark.shard != Shard(0));
    assert!(
        matches!(subject.store().commit(Arc::new(batch)).await, Err(StoreError::Conflict(_))),
        "an unfenced letter"
    );
    assert_eq!(written(subject).await, before);
    // One that starts and has ended stays as it is within a batch, too.
    scribe.batch.started.push(SagaRow { state: state(id(3), Status::Completed, 5), ..saga(3, 0, 5) });
    scribe.change(&saga(3, 0, 5), 1, STARTED, state(id(3), Status::Running, 6));
    assert!(matches!(scribe.commit().await, Err(StoreError::Conflict(_))), "ended");
    assert_eq!(written(subject).await, before);
}

pub(super) async fn marks_move_alone(subject: &impl Subject) {
    let store = subject.store();
    let leases = store.claim(&owner(1), &shards(), Millis(60_000)).await.expect("a claim");
    for cursor in [3, 3, 8] {
        let moved = ShardMark { reply_cursor: cursor, published_head: 0, ..mark(&leases[2]) };
        store.commit(Arc::new(Batch { shards: vec![moved], ..Batch::default() })).await.expect("a commit");
        let rows = store.shards().await.expect("the shards");
        assert_eq!(rows.iter().map(|row| row.reply_cursor).collect::<Vec<_>>(), [0, 0, cursor, 0]);
    }
    store.commit(Arc::new(Batch::default())).await.expect("nothing is no error");
    assert_eq!(written(subject).await, [0; 5]);
}

pub(super) async fn epochs_and_marks_only_go_up(subject: &impl Subject) {
    let store = subject.store();
    let lease = store.claim(&owner(1), &[Shard(0)], Millis(60_000)).await.expect("a claim").remove(0);
    let ahead = ShardMark { journal_head: 5, published_head: 5, reply_cursor: 5, ..mark(&lease) };
    let commit =
        async |mark: &ShardMark| store.commit(Arc::new(Batch { shards: vec![mark.clone()], ..Batch::default() })).await;
    commit(&ahead).await.expect("a commit");
    for behind in [
        ShardMark { journal_head: 4, ..ahead.clone() },
        ShardMark { published_head: 4, ..ahead.clone() },
        ShardMark { reply_cursor: 4, ..ahead.clone() },
    ] {
        assert!(matches!(commit(&behind).await, Err(StoreError::Conflict(_))), "{behind:?}");
    }
    for back in [
        "UPDATE shards SET epoch = epoch - 1 WHERE shard = 0",
        "UPDATE shards SET journal_head = 4 WHERE shard = 0",
        "UPDATE shards SET reply_cursor = 0 WHERE shard = 0",
        "UPDATE shards SET reply_cursor = 4, epoch = epoch + 1 WHERE shard = 0",
    ] {
        assert!(subject.sql(back).await.is_err(), "the database must refuse it too: {back}");
    }
    commit(&ahead).await.expect("the same again");
    assert_eq!(written(subject).await, [0, 0, 0, 0, 5]);
}

pub(super) async fn terminal_is_absorbing(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    for (n, status) in [(1, Status::Completed), (2, Status::Compensated)] {
        let ended = saga(n, 0, 5);
        scribe.start(&ended);
        scribe.change(&ended, 2, COMPLETED, state(ended.id, status, 6));
        scribe.commit().await.expect("a commit");
        for next in Status::ALL {
            scribe.change(&ended, 3, PAID, state(ended.id, next, 7));
            assert!(matches!(scribe.commit().await, Err(StoreError::Conflict(_))), "{status:?} to {next:?}");
        }
        let stored = subject.store().saga(ended.id).await.expect("an answer").expect("the saga");
        assert_eq!(stored.row.state, state(ended.id, status, 6));
    }
    assert!(subject.sql("UPDATE sagas SET status = 'running'").await.is_err(), "the database must refuse it too");
}

pub(super) async fn the_journal_is_append_only(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    scribe.start(&saga(1, 0, 5));
    scribe.commit().await.expect("a commit");
    assert!(subject.sql("UPDATE journal SET at = at + 1").await.is_err());
    assert!(subject.sql("DELETE FROM journal").await.is_err());
    assert_eq!(subject.sql("SELECT count(*) FROM journal WHERE at = 5").await, Ok(1));
}

pub(super) async fn batches_of_every_size_are_kept(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    let mut next = 0;
    for size in [1, 2, 7, 8, 9, 31, 33, 127, 128, 129, 300] {
        let sagas: Vec<_> = (next..next + size).map(|n| saga(n, (n % 4) as u16, 5)).collect();
        next += size;
        for saga in &sagas {
            scribe.start(saga);
            scribe.append(saga, 2, 6, PAID);
        }
        scribe.commit().await.expect("a commit");
        for saga in &sagas {
            scribe.change(saga, 3, COMPLETED, state(saga.id, Status::Completed, 7));
        }
        scribe.commit().await.expect("a commit");
        for saga in sagas {
            let stored = subject.store().saga(saga.id).await.expect("an answer").expect("the saga");
            assert_eq!(stored.row.state, state(saga.id, Status::Completed, 7));
            assert_eq!(
                stored.journal.iter().map(|row| (row.seq, row.at.0)).collect::<Vec<_>>(),
                [(1, 5), (2, 6), (3, 7)]
            );
        }
    }
}

pub(super) async fn a_commit_outlives_its_caller(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    let batch = {
        scribe.start(&saga(1, 0, 5));
        Arc::new(scribe.take())
    };
    {
        let commit = store.commit(batch);
        futures::pin_mut!(commit);
        let _ = futures::poll!(&mut commit);
    }
    for _ in 0..500 {
        if store.saga(id(1)).await.expect("an answer").is_some() {
            scribe.start(&saga(2, 0, 6));
            return scribe.commit().await.expect("a commit after it");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the commit went away with its caller");
}

fn entry(n: u128) -> AuditEntry {
    let (who, action, reason) = ("ops".to_owned(), "retry".to_owned(), "why not".to_owned());
    AuditEntry { saga_id: id(n), seq: 2, at: Timestamp(6), who, action, reason }
}
