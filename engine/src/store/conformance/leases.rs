//! Who owns what (I27, I28).

use std::sync::Arc;

use amends_core::{Epoch, Shard, Timestamp};

use super::Subject;
use super::fixture::{mark, owner, shards};
use crate::store::{Archive, Batch, Lease, Owner, Store};

async fn claim(store: &impl Store, owner: &Owner, shards: &[u16], now: i64, until: i64) -> Vec<Lease> {
    let shards: Vec<_> = shards.iter().copied().map(Shard).collect();
    let mut leases = store.claim(owner, &shards, Timestamp(now), Timestamp(until)).await.expect("a claim");
    leases.sort_by_key(|lease| lease.shard);
    leases
}

pub(super) async fn a_free_shard_is_claimed_with_a_new_epoch(subject: &impl Subject) {
    let store = subject.store();
    // One that does not exist is left out.
    let leases = claim(store, &owner(1), &[0, 2, 999], 0, 10).await;
    let fresh =
        |shard| Lease { shard: Shard(shard), epoch: Epoch(1), journal_head: 0, published_head: 0, reply_cursor: 0 };
    assert_eq!(leases, [fresh(0), fresh(2)]);
    let rows = store.shards().await.expect("the shards");
    assert_eq!(rows.iter().map(|row| row.shard).collect::<Vec<_>>(), shards());
    assert_eq!(
        (rows[0].owner.as_ref(), rows[0].lease_until, rows[0].epoch),
        (Some(&owner(1)), Timestamp(10), Epoch(1))
    );
    assert_eq!((rows[1].owner.as_ref(), rows[1].epoch), (None, Epoch(0)));
    assert!(claim(store, &owner(1), &[], 0, 10).await.is_empty());
}

pub(super) async fn a_live_shard_is_left_to_its_owner(subject: &impl Subject) {
    let store = subject.store();
    claim(store, &owner(1), &[0, 1], 0, 10).await;
    let others = claim(store, &owner(2), &[0, 1, 2], 9, 19).await;
    assert_eq!(others.iter().map(|lease| lease.shard).collect::<Vec<_>>(), [Shard(2)]);
    // Its own it may take again; each time counts.
    assert_eq!(claim(store, &owner(1), &[0], 9, 20).await[0].epoch, Epoch(2));
    // A lease ends at the time it says.
    let expired = claim(store, &owner(2), &[0, 1], 10, 30).await;
    assert_eq!(expired.iter().map(|lease| (lease.shard, lease.epoch)).collect::<Vec<_>>(), [(Shard(1), Epoch(2))]);
    assert_eq!(claim(store, &owner(2), &[0], 20, 30).await[0].epoch, Epoch(3));
}

pub(super) async fn of_two_claims_at_once_one_wins(subject: &impl Subject) {
    let store = subject.store();
    let (one, two) = (owner(1), owner(2));
    let all = [0, 1, 2, 3];
    let (first, second) = futures::join!(claim(store, &one, &all, 0, 10), claim(store, &two, &all, 0, 10));
    let mut taken: Vec<_> = first.iter().chain(&second).map(|lease| (lease.shard, lease.epoch)).collect();
    taken.sort_unstable();
    assert_eq!(taken, shards().into_iter().map(|shard| (shard, Epoch(1))).collect::<Vec<_>>());
}

pub(super) async fn marks_go_from_owner_to_owner(subject: &impl Subject) {
    let store = subject.store();
    let leases = claim(store, &owner(1), &[0, 1], 0, 10).await;
    let mut moved = mark(&leases[1]);
    (moved.journal_head, moved.published_head, moved.reply_cursor) = (7, 5, 3);
    store.commit(Arc::new(Batch { shards: vec![moved], ..Batch::default() })).await.expect("a commit");
    let next = claim(store, &owner(2), &[0, 1], 10, 20).await;
    assert_eq!((next[0].journal_head, next[0].published_head, next[0].reply_cursor), (0, 0, 0));
    assert_eq!((next[1].journal_head, next[1].published_head, next[1].reply_cursor), (7, 5, 3));
    let row = &store.shards().await.expect("the shards")[1];
    assert_eq!((row.journal_head, row.published_head), (7, 5));
}
