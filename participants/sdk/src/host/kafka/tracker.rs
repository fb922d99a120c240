//! The offsets as the threads share them: one reads, another hears of delivered replies.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::offsets::{Offsets, Position, Ticket};

/// [`Offsets`] behind a lock, and their way to the broker.
#[derive(Debug, Default)]
pub(super) struct Tracker(Mutex<Offsets>);

impl Tracker {
    /// Takes a record in hand.
    pub(super) fn take(&self, topic: &str, partition: i32, offset: i64) -> Ticket {
        self.lock().take(topic, partition, offset)
    }

    /// Notes that a record is dealt with.
    pub(super) fn finish(&self, ticket: &Ticket) {
        self.lock().finish(ticket);
    }

    /// Records in hand.
    pub(super) fn in_hand(&self) -> usize {
        self.lock().in_hand()
    }

    /// Commits the positions in these topics that have moved.
    pub(super) fn commit<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topics: &[String],
        mode: CommitMode,
    ) -> KafkaResult<()> {
        self.commit_moved(consumer, mode, |topic, _| topics.iter().any(|ours| ours == topic))
    }

    /// The same for partitions that are being given away; returns when it is done.
    pub(super) fn commit_these<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        partitions: &TopicPartitionList,
    ) -> KafkaResult<()> {
        let given = |topic: &str, partition| partitions.find_partition(topic, partition).is_some();
        self.commit_moved(consumer, CommitMode::Sync, given)
    }

    fn commit_moved<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        mode: CommitMode,
        wanted: impl Fn(&str, i32) -> bool,
    ) -> KafkaResult<()> {
        let moved = self.lock().moved(wanted);
        if moved.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(moved.len());
        for Position { topic, partition, offset } in moved {
            list.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
        }
        let committed = consumer.commit(&list, mode);
        if committed.is_err() {
            self.uncommit();
        }
        committed
    }

    /// Has every position committed once more.
    pub(super) fn uncommit(&self) {
        self.lock().uncommit();
    }

    /// Forgets partitions that were given away.
    pub(super) fn forget(&self, partitions: &TopicPartitionList) {
        let mut offsets = self.lock();
        for partition in partitions.elements() {
            offsets.forget(partition.topic(), partition.partition());
        }
    }

    /// Forgets all that was read from these topics.
    pub(super) fn forget_topics(&self, topics: &[String]) {
        let mut offsets = self.lock();
        for topic in topics {
            offsets.forget_topic(topic);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Offsets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
