//! Who owns what (I27, I28, I30).

use std::sync::Arc;
use std::time::Duration;

use amends_core::{Epoch, Millis, Shard};

use super::Subject;
use super::fixture::{mark, owner, shards};
use crate::store::{Archive, Batch, Lease, Leases, Owner, ShardRow, Store};

/// Longer than any case runs.
const LONG: Millis = Millis(600_000);
/// So short that a case can wait for its end.
const SHORT: Millis = Millis(50);
/// Long enough for the next call on a busy machine, and a case can still wait for its end.
const NOT_SO_SHORT: Millis = Millis(2000);

async fn claim(store: &impl Leases, owner: &Owner, shards: &[u16], ttl: Millis) -> Vec<Lease> {
    let shards: Vec<_> = shards.iter().copied().map(Shard).collect();
    let mut leases = store.claim(owner, &shards, ttl).await.expect("a claim");
    leases.sort_by_key(|lease| lease.shard);
    leases
}

async fn expiry() {
    tokio::time::sleep(Duration::from(SHORT) * 2).await;
}

async fn row(store: &impl Archive, shard: usize) -> ShardRow {
    store.shards().await.expect("the shards").remove(shard)
}

pub(super) async fn a_free_shard_is_claimed_with_a_new_epoch(subject: &impl Subject) {
    let store = subject.store();
    // One that does not exist is left out.
    let leases = claim(store, &owner(1), &[0, 2, 999], LONG).await;
    let fresh =
        |shard| Lease { shard: Shard(shard), epoch: Epoch(1), journal_head: 0, published_head: 0, reply_cursor: 0 };
    assert_eq!(leases, [fresh(0), fresh(2)]);
    let rows = store.shards().await.expect("the shards");
    assert_eq!(rows.iter().map(|row| row.shard).collect::<Vec<_>>(), shards());
    assert_eq!((rows[0].owner.as_ref(), rows[0].free, rows[0].epoch), (Some(&owner(1)), false, Epoch(1)));
    assert_eq!((rows[1].owner.as_ref(), rows[1].free, rows[1].epoch), (None, true, Epoch(0)));
    assert!(claim(store, &owner(1), &[], LONG).await.is_empty());
}

pub(super) async fn a_live_shard_is_left_to_its_owner(subject: &impl Subject) {
    let store = subject.store();
    claim(store, &owner(1), &[0], LONG).await;
    claim(store, &owner(1), &[1], SHORT).await;
    expiry().await;
    let others = claim(store, &owner(2), &[0, 1, 2], LONG).await;
    // Its lease was over, and the clock that says so is the database's.
    assert_eq!(
        others.iter().map(|lease| (lease.shard, lease.epoch)).collect::<Vec<_>>(),
        [(Shard(1), Epoch(2)), (Shard(2), Epoch(1))]
    );
    // Its own it may take again; each time counts.
    assert_eq!(claim(store, &owner(1), &[0], LONG).await[0].epoch, Epoch(2));
}

pub(super) async fn of_two_claims_at_once_one_wins(subject: &impl Subject) {
    let store = subject.store();
    let (one, two) = (owner(1), owner(2));
    let all = [0, 1, 2, 3];
    let (first, second) = futures::join!(claim(store, &one, &all, LONG), claim(store, &two, &all, LONG));
    let mut taken: Vec<_> = first.iter().chain(&second).map(|lease| (lease.shard, lease.epoch)).collect();
    taken.sort_unstable();
    assert_eq!(taken, shards().into_iter().map(|shard| (shard, Epoch(1))).collect::<Vec<_>>());
}

pub(super) async fn marks_go_from_owner_to_owner(subject: &impl Subject) {
    let store = subject.store();
    let leases = claim(store, &owner(1), &[0, 1], SHORT).await;
    let mut moved = mark(&leases[1]);
    (moved.journal_head, moved.published_head, moved.reply_cursor) = (7, 5, 3);
    store.commit(Arc::new(Batch { shards: vec![moved], ..Batch::default() })).await.expect("a commit");
    expiry().await;
    let next = claim(store, &owner(2), &[0, 1], LONG).await;
    assert_eq!((next[0].journal_head, next[0].published_head, next[0].reply_cursor), (0, 0, 0));
    assert_eq!((next[1].journal_head, next[1].published_head, next[1].reply_cursor), (7, 5, 3));
    let row = row(store, 1).await;
    assert_eq!((row.journal_head, row.published_head, row.reply_cursor), (7, 5, 3));
}

pub(super) async fn a_heartbeat_renews_and_tells_who_lives(subject: &impl Subject) {
    let store = subject.store();
    claim(store, &owner(1), &[0], SHORT).await;
    store.heartbeat(&owner(2), NOT_SO_SHORT).await.expect("a beat");
    let cluster = store.heartbeat(&owner(1), LONG).await.expect("a beat");
    assert_eq!(cluster.engines, [owner(1), owner(2)]);
    assert_eq!(cluster.shards, store.shards().await.expect("the shards"));
    tokio::time::sleep(Duration::from(NOT_SO_SHORT)).await;
    // The one that was silent is gone; the shard of the other was renewed.
    let cluster = store.heartbeat(&owner(3), LONG).await.expect("a beat");
    assert_eq!(cluster.engines, [owner(1), owner(3)]);
    assert!(!cluster.shards[0].free);
    assert!(claim(store, &owner(3), &[0], LONG).await.is_empty());
}

pub(super) async fn an_expired_lease_is_renewed_unless_it_was_taken(subject: &impl Subject) {
    let store = subject.store();
    claim(store, &owner(1), &[0, 1], SHORT).await;
    expiry().await;
    claim(store, &owner(2), &[0], LONG).await;
    let cluster = store.heartbeat(&owner(1), LONG).await.expect("a beat");
    let owners: Vec<_> = cluster.shards.iter().map(|row| row.owner.clone()).collect();
    assert_eq!(owners, [Some(owner(2)), Some(owner(1)), None, None]);
    assert_eq!((cluster.shards[1].epoch, cluster.shards[1].free), (Epoch(1), false));
}

pub(super) async fn a_released_shard_keeps_its_marks(subject: &impl Subject) {
    let store = subject.store();
    let leases = claim(store, &owner(1), &[0, 1], LONG).await;
    let mut last = mark(&leases[0]);
    (last.published_head, last.reply_cursor) = (4, 9);
    let mut foreign = mark(&leases[1]);
    foreign.epoch = Epoch(77);
    store.release(&[last, foreign]).await.expect("a release");
    let (freed, kept) = (row(store, 0).await, row(store, 1).await);
    assert_eq!((freed.owner, freed.free, freed.published_head, freed.reply_cursor), (None, true, 4, 9));
    assert_eq!((kept.owner, kept.free), (Some(owner(1)), false));
    assert_eq!(claim(store, &owner(2), &[0, 1], LONG).await[0].epoch, Epoch(2));
}

pub(super) async fn who_leaves_frees_everything(subject: &impl Subject) {
    let store = subject.store();
    claim(store, &owner(1), &[0, 1], LONG).await;
    claim(store, &owner(2), &[2], LONG).await;
    store.heartbeat(&owner(1), LONG).await.expect("a beat");
    store.leave(&owner(1)).await.expect("a farewell");
    let cluster = store.heartbeat(&owner(2), LONG).await.expect("a beat");
    assert_eq!(cluster.engines, [owner(2)]);
    assert_eq!(cluster.shards.iter().map(|row| row.free).collect::<Vec<_>>(), [true, true, false, true]);
}

pub(super) async fn a_halt_is_noted_until_the_next_claim(subject: &impl Subject) {
    let store = subject.store();
    let lease = claim(store, &owner(1), &[0], LONG).await.remove(0);
    store.note_halt(Shard(0), lease.epoch, Some("the topic is gone")).await.expect("a note");
    store.note_halt(Shard(0), Epoch(77), None).await.expect("nothing");
    assert_eq!(row(store, 0).await.halted.as_deref(), Some("the topic is gone"));
    store.note_halt(Shard(0), lease.epoch, None).await.expect("a note");
    assert_eq!(row(store, 0).await.halted, None);
    store.note_halt(Shard(0), lease.epoch, Some("again")).await.expect("a note");
    claim(store, &owner(1), &[0], LONG).await;
    assert_eq!(row(store, 0).await.halted, None);
}

pub(super) async fn what_is_said_late_of_a_lease_changes_nothing(subject: &impl Subject) {
    let store = subject.store();
    let first = claim(store, &owner(1), &[0, 1], LONG).await;
    let mut ahead = mark(&first[0]);
    (ahead.journal_head, ahead.published_head, ahead.reply_cursor) = (6, 6, 6);
    store.commit(Arc::new(Batch { shards: vec![ahead.clone()], ..Batch::default() })).await.expect("a commit");
    // Its own marks, older than what it committed: they do not go back, and the journal's head is the commit's alone.
    let mut behind = mark(&first[0]);
    (behind.journal_head, behind.published_head, behind.reply_cursor) = (99, 2, 2);
    store.release(&[behind.clone(), behind]).await.expect("a release");
    let freed = row(store, 0).await;
    assert_eq!((freed.journal_head, freed.published_head, freed.reply_cursor), (6, 6, 6));
    // Another owner came meanwhile.
    let second = claim(store, &owner(2), &[0], LONG).await;
    (ahead.published_head, ahead.reply_cursor) = (9, 9);
    store.release(&[ahead.clone()]).await.expect("nothing");
    store.note_halt(Shard(0), first[0].epoch, Some("late")).await.expect("nothing");
    store.leave(&owner(1)).await.expect("a farewell");
    let held = row(store, 0).await;
    assert_eq!((held.owner.as_ref(), held.epoch, held.halted.as_deref()), (Some(&owner(2)), second[0].epoch, None));
    assert_eq!((held.published_head, held.reply_cursor), (6, 6));
    assert!(row(store, 1).await.free, "leaving freed what it still held");
    store.release(&[]).await.expect("nothing");
    // Who has left and commits all the same still has the epoch, as long as nobody else came.
    store.commit(Arc::new(Batch { shards: vec![mark(&first[1])], ..Batch::default() })).await.expect("a commit");
}

pub(super) async fn an_engine_may_move_and_come_back(subject: &impl Subject) {
    let store = subject.store();
    store.heartbeat(&owner(1), LONG).await.expect("a beat");
    let moved = Owner { address: "10.9.9.9:7400".to_owned(), ..owner(1) };
    let cluster = store.heartbeat(&moved, LONG).await.expect("a beat");
    assert_eq!(cluster.engines, std::slice::from_ref(&moved));
    store.leave(&moved).await.expect("a farewell");
    store.leave(&moved).await.expect("a second one");
    let cluster = store.heartbeat(&owner(2), LONG).await.expect("a beat");
    assert_eq!(cluster.engines, [owner(2)]);
    // A lease of no time ends at once, but is one until another comes.
    let lease = claim(store, &owner(1), &[3], Millis(0)).await.remove(0);
    assert!(row(store, 3).await.free);
    store.commit(Arc::new(Batch { shards: vec![mark(&lease)], ..Batch::default() })).await.expect("a commit");
    assert!(store.heartbeat(&owner(1), LONG).await.expect("a beat").shards[3].owner.is_some());
    assert!(!row(store, 3).await.free);
}

pub(super) async fn a_long_lease_is_no_error(subject: &impl Subject) {
    let store = subject.store();
    for ttl in [Millis(u64::MAX), Millis(i64::MAX.cast_unsigned())] {
        assert_eq!(claim(store, &owner(1), &[0], ttl).await.len(), 1);
        store.heartbeat(&owner(1), ttl).await.expect("a beat");
        assert!(!row(store, 0).await.free);
    }
}
