//! The broker's topics (I22).

use amends_core::{Epoch, Millis, Shard};
use uuid::Uuid;

use super::Subject;
use super::fixture::{mark, owner, shards};
use crate::store::{Archive, Batch, Leases, ShardMark, Store, StoreError, TopicBook, TopicRow};

const LONG: Millis = Millis(600_000);

fn topic(name: &str, id: u128) -> TopicRow {
    TopicRow { name: name.to_owned(), topic_id: Uuid::from_u128(id), partitions: 4 }
}

pub(super) async fn a_topic_is_recorded_once(subject: &impl Subject) {
    let store = subject.store();
    assert_eq!(store.topics().await.expect("topics"), []);
    for row in [topic("b", 2), topic("a.Z", 1), topic("B", 3)] {
        store.record_topic(&row).await.expect("the first");
        store.record_topic(&row).await.expect("the same again");
    }
    let known = [topic("B", 3), topic("a.Z", 1), topic("b", 2)];
    assert_eq!(store.topics().await.expect("topics"), known, "by name, byte by byte");
    let wider = TopicRow { partitions: 8, ..topic("b", 2) };
    for other in [topic("b", 9), wider] {
        assert!(matches!(store.record_topic(&other).await, Err(StoreError::Conflict(_))), "{other:?}");
    }
    assert_eq!(store.topics().await.expect("topics"), known);
}

pub(super) async fn a_replaced_topic_fences_only_if_it_is_rewound(subject: &impl Subject) {
    let store = subject.store();
    let leases = store.claim(&owner(1), &shards(), LONG).await.expect("a claim");
    let moved: Vec<_> = leases.iter().map(|lease| ShardMark { reply_cursor: 7, ..mark(lease) }).collect();
    let batch = |shards: &[ShardMark]| std::sync::Arc::new(Batch { shards: shards.to_vec(), ..Batch::default() });
    store.commit(batch(&moved)).await.expect("a commit");
    store.replace_topic(&topic("orders", 1), false).await.expect("one that is not known");
    store.replace_topic(&topic("orders", 2), false).await.expect("another");
    assert_eq!(store.topics().await.expect("topics"), [topic("orders", 2)]);
    store.commit(batch(&moved)).await.expect("the owners are not concerned");

    store.replace_topic(&topic("replies", 3), true).await.expect("a rewind");
    assert_eq!(store.topics().await.expect("topics"), [topic("orders", 2), topic("replies", 3)]);
    assert!(matches!(store.commit(batch(&moved)).await, Err(StoreError::Fenced(Shard(0)))));
    for row in store.shards().await.expect("the shards") {
        assert_eq!((row.owner, row.free, row.epoch, row.reply_cursor), (None, true, Epoch(2), 0));
    }
    // What the old owners still say about the old topic is not heard.
    store.release(&moved).await.expect("nothing");
    assert!(store.shards().await.expect("the shards").iter().all(|row| row.reply_cursor == 0));
    assert_eq!(store.claim(&owner(2), &shards(), LONG).await.expect("a claim").len(), shards().len());
}
