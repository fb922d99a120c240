//! Which partition a command goes to: all of a batch that is for one participant to the same one, the next batch's to the
//! next.
//!
//! The client library sends one request for each partition, and a request costs the broker far more than the records in
//! it. Spread by their keys, the commands of a batch would be in nearly as many requests as there are commands. Nobody
//! relies on their order: a participant's barrier has to stand commands that overtake one another anyway.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// So many of one batch keep together: where there are several workers, a large batch is for all of them.
const TOGETHER: usize = 256;

/// The topics of commands, with the number of their partitions.
#[derive(Default)]
pub(super) struct Spread {
    /// Zero: not known yet.
    partitions: BTreeMap<String, AtomicI32>,
    turn: AtomicU32,
}

impl Spread {
    pub(super) fn new(topics: impl Iterator<Item = String>) -> Self {
        Self { partitions: topics.map(|topic| (topic, AtomicI32::new(0))).collect(), turn: AtomicU32::new(0) }
    }

    /// What the broker says of a topic. One that is gone counts as unknown.
    pub(super) fn learn(&self, topic: &str, partitions: i32) {
        if let Some(known) = self.partitions.get(topic) {
            known.store(partitions, Ordering::Relaxed);
        }
    }

    /// The turn of the next batch.
    pub(super) fn turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Where the `index`th command of a batch goes; `None` leaves it to its key.
    pub(super) fn partition(&self, topic: &str, turn: u32, index: usize) -> Option<i32> {
        let partitions = self.partitions.get(topic)?.load(Ordering::Relaxed);
        let count = u64::try_from(partitions).ok().filter(|count| *count > 0)?;
        i32::try_from((u64::from(turn) + (index / TOGETHER) as u64) % count).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_together_and_the_next_goes_elsewhere() {
        let spread = Spread::new(["a".to_owned()].into_iter());
        assert_eq!(spread.partition("a", spread.turn(), 0), None, "nobody knows yet how many there are");
        spread.learn("a", 3);
        let turn = spread.turn();
        let of = |index| spread.partition("a", turn, index);
        assert_eq!((of(0), of(TOGETHER - 1)), (of(1), of(0)));
        assert_ne!(of(0), of(TOGETHER), "a large one does not");
        let seen: std::collections::BTreeSet<_> = (0..9).map(|_| spread.partition("a", spread.turn(), 0)).collect();
        assert_eq!(seen, [Some(0), Some(1), Some(2)].into());
        spread.learn("a", 0);
        assert_eq!(spread.partition("a", turn, 0), None, "the topic is gone");
    }
}
