//! Which offsets may be committed: those up to the first record that is still in hand.
//!
//! Replies come out of order, since some are held back; an offset must not pass a record that was not dealt with.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A record in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Tells one assignment of a partition from the next: what was taken under an earlier one counts no more.
    generation: u64,
}

/// A partition and the next offset to read from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// What is in hand of every partition. Its size is that of what is in hand: what is dealt with leaves no trace.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    topics: HashMap<Arc<str>, HashMap<i32, Partition>>,
    generation: u64,
    in_hand: usize,
}

#[derive(Debug)]
struct Partition {
    generation: u64,
    in_hand: BTreeSet<i64>,
    /// One beyond the last record seen.
    next: i64,
    committed: Option<i64>,
}

impl Partition {
    fn position(&self) -> i64 {
        self.in_hand.first().map_or(self.next, |first| self.next.min(*first))
    }
}

impl Offsets {
    /// Takes a record in hand.
    pub(super) fn take(&mut self, topic: &str, partition: i32, offset: i64) -> Ticket {
        let topic = match self.topics.get_key_value(topic) {
            Some((topic, _)) => Arc::clone(topic),
            None => Arc::from(topic),
        };
        let partitions = self.topics.entry(Arc::clone(&topic)).or_default();
        let found = partitions.entry(partition).or_insert_with(|| {
            self.generation += 1;
            Partition { generation: self.generation, in_hand: BTreeSet::new(), next: offset, committed: None }
        });
        // A partition may jump back, e.g. when its topic was made anew; then so does what is committed.
        found.next = offset + 1;
        if found.in_hand.insert(offset) {
            self.in_hand += 1;
        }
        Ticket { topic, partition, offset, generation: found.generation }
    }

    /// Notes that a record is dealt with. Without effect if its partition was given away meanwhile.
    pub(super) fn finish(&mut self, ticket: &Ticket) {
        let Some(found) = self.topics.get_mut(&*ticket.topic).and_then(|topic| topic.get_mut(&ticket.partition)) else {
            return;
        };
        if found.generation == ticket.generation && found.in_hand.remove(&ticket.offset) {
            self.in_hand -= 1;
        }
    }

    /// Forgets a partition that was given away; whoever has it now is given what was in hand.
    pub(super) fn forget(&mut self, topic: &str, partition: i32) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        if let Some(gone) = partitions.remove(&partition) {
            self.in_hand -= gone.in_hand.len();
        }
    }

    /// Forgets all partitions of a topic.
    pub(super) fn forget_topic(&mut self, topic: &str) {
        let partitions: Vec<i32> = self.topics.get(topic).into_iter().flat_map(HashMap::keys).copied().collect();
        for partition in partitions {
            self.forget(topic, partition);
        }
    }

    /// The positions that have moved since they were last returned here, of the partitions asked for.
    pub(super) fn moved(&mut self, wanted: impl Fn(&str, i32) -> bool) -> Vec<Position> {
        let mut moved = Vec::new();
        for (topic, partitions) in &mut self.topics {
            for (partition, state) in partitions.iter_mut().filter(|(partition, _)| wanted(topic, **partition)) {
                let offset = state.position();
                if state.committed.replace(offset) != Some(offset) {
                    moved.push(Position { topic: Arc::clone(topic), partition: *partition, offset });
                }
            }
        }
        moved
    }

    /// Has [`Self::moved`] return every position once more: a commit has failed.
    pub(super) fn uncommit(&mut self) {
        for partition in self.topics.values_mut().flat_map(HashMap::values_mut) {
            partition.committed = None;
        }
    }

    /// Records in hand.
    pub(super) const fn in_hand(&self) -> usize {
        self.in_hand
    }
}

#[cfg(test)]
mod tests;
