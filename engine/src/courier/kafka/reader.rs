//! The thread that reads replies. It only polls and hands over; whoever is slow has his partition paused.
//!
//! Which partitions are read follows from the leases alone, never from a consumer group, and each begins at the cursor
//! of its lease. What is wanted is a state, not a queue of orders: the thread brings what is read in line with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use amends_core::Shard;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::checks::{Finding, Findings};
use super::decode::source_record;
use super::handover::{Assignment, Handover, QUEUE};
use super::link::{Link, LinkContext};
use super::outgoing::Outgoing;
use super::wanted::{Want, Wanted};
use crate::courier::{Inlet, Source};

/// How long a poll waits for a record; a change of assignment waits as long.
const POLL: Duration = Duration::from_millis(20);

/// The same while an engine is busy: then its queue is looked after.
const POLL_BUSY: Duration = Duration::from_millis(2);

/// Records and bytes gathered before they are handed over.
const GATHER: usize = 512;
const GATHER_BYTES: usize = 256 << 10;

/// How often positions are committed, for tools that show lag; nothing of ours reads them.
const COMMIT_EVERY: Duration = Duration::from_secs(5);

/// The thread's state.
pub(super) struct Reader {
    pub(super) consumer: Arc<BaseConsumer<LinkContext>>,
    pub(super) topic: String,
    pub(super) shards: u16,
    pub(super) wanted: Arc<Wanted>,
    pub(super) findings: Arc<Findings>,
    pub(super) link: Arc<Link>,
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) inlet: Arc<dyn Inlet>,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) over: CancellationToken,
}

/// A shard as it is read.
struct Partition {
    want: Want,
    /// The question whose answer decides whether it can be read.
    question: u64,
    /// The next record to take; what lies before has come twice.
    next: i64,
    reading: Reading,
    /// Why the engine was told that it stands still.
    told: Option<String>,
    /// What the queue had no room for: at most one run, and what came of checks since.
    waiting: VecDeque<Handover>,
    queue: mpsc::Sender<Handover>,
    taken: Arc<AtomicI64>,
    committed: i64,
    _over: DropGuard,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Off,
    On,
    Paused,
}

impl Reader {
    /// Reads until the end.
    pub(super) fn run(self) {
        let mut partitions = BTreeMap::new();
        let (mut seen, mut committed) = (None, Instant::now());
        while !self.over.is_cancelled() {
            let now = Some((self.wanted.version(), self.findings.version()));
            if seen != now {
                self.align(&mut partitions);
                seen = now;
            }
            let busy = self.push_waiting(&mut partitions);
            self.gather(&mut partitions, if busy { POLL_BUSY } else { POLL });
            if committed.elapsed() >= COMMIT_EVERY {
                committed = Instant::now();
                self.commit(&mut partitions);
            }
        }
    }

    /// Brings what is read in line with what is wanted and what checks have found.
    fn align(&self, partitions: &mut BTreeMap<u16, Partition>) {
        let wanted = self.wanted.all();
        let outdated = |shard: &u16, partition: &Partition| {
            wanted.get(shard).is_none_or(|want| want.question != partition.want.question)
        };
        let gone: Vec<u16> =
            partitions.iter().filter(|(shard, old)| outdated(shard, old)).map(|(shard, _)| *shard).collect();
        for shard in gone {
            if let Some(mut partition) = partitions.remove(&shard) {
                self.stop(shard, &mut partition);
            }
        }
        for (shard, want) in wanted {
            let partition = partitions.entry(shard).or_insert_with(|| self.partition(shard, want));
            match self.findings.of(shard, partition.question) {
                Finding::Pending => {}
                Finding::Halt(why) => {
                    self.stop(shard, partition);
                    partition.tell(Some(why));
                }
                Finding::Fine if partition.reading == Reading::Off => {
                    self.start(shard, partition);
                    partition.tell(None);
                }
                Finding::Fine => {}
            }
        }
    }

    fn partition(&self, shard: u16, want: Want) -> Partition {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let over = self.over.child_token();
        let taken = Arc::new(AtomicI64::new(want.cursor));
        let assignment = Assignment {
            shard: Shard(shard),
            epoch: want.epoch,
            shards: self.shards,
            wanted: Arc::clone(&self.wanted),
            taken: Arc::clone(&taken),
            inlet: Arc::clone(&self.inlet),
            outgoing: Arc::clone(&self.outgoing),
            over: over.clone(),
        };
        self.runtime.spawn(assignment.run(receiver));
        Partition {
            want,
            question: want.question,
            next: want.cursor,
            reading: Reading::Off,
            told: None,
            waiting: VecDeque::new(),
            queue,
            taken,
            committed: want.cursor,
            _over: over.drop_guard(),
        }
    }

    fn start(&self, shard: u16, partition: &mut Partition) {
        // Nothing was read yet: the log may begin later than at 0, and that is no loss.
        let from = if partition.next == 0 { Offset::Beginning } else { Offset::Offset(partition.next) };
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(&self.topic, i32::from(shard), from)
            .and_then(|()| self.consumer.incremental_assign(&list));
        match assigned {
            Ok(()) => partition.reading = Reading::On,
            Err(error) => tracing::error!(shard, %error, "the log of replies cannot be read; trying again"),
        }
    }

    fn stop(&self, shard: u16, partition: &mut Partition) {
        if partition.reading == Reading::Paused {
            // The library keeps that with the partition: taken over again, it would never be read.
            self.ask(shard, "resume", |list| self.consumer.resume(list));
        }
        if partition.reading != Reading::Off {
            // What it has fetched is dropped by the library: a new assignment sees nothing of an older one.
            self.ask(shard, "unassign", |list| self.consumer.incremental_unassign(list));
            partition.reading = Reading::Off;
        }
    }

    /// Hands over what waits, and goes on with those who have caught up. True if some have not.
    fn push_waiting(&self, partitions: &mut BTreeMap<u16, Partition>) -> bool {
        let mut busy = false;
        for (shard, partition) in partitions {
            partition.push();
            busy |= !partition.waiting.is_empty();
            match (partition.reading, partition.waiting.is_empty()) {
                (Reading::On, false) => {
                    self.ask(*shard, "pause", |list| self.consumer.pause(list));
                    partition.reading = Reading::Paused;
                }
                (Reading::Paused, true) => {
                    self.ask(*shard, "resume", |list| self.consumer.resume(list));
                    partition.reading = Reading::On;
                }
                _ => {}
            }
        }
        busy
    }

    fn ask(&self, shard: u16, what: &str, how: impl FnOnce(&TopicPartitionList) -> Result<(), KafkaError>) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, i32::from(shard));
        if let Err(error) = how(&list) {
            tracing::error!(shard, %error, "the Kafka client does not {what}");
        }
    }

    /// Waits for a record, then takes what else has come.
    fn gather(&self, partitions: &mut BTreeMap<u16, Partition>, longest: Duration) {
        let mut runs: BTreeMap<u16, Vec<Source>> = BTreeMap::new();
        let (mut wait, mut bytes, mut count) = (longest, 0, 0);
        while count < GATHER && bytes < GATHER_BYTES {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    bytes += message.payload_len() + message.key_len();
                    count += 1;
                    take(partitions, &mut runs, &message);
                }
                Some(Err(error)) => self.failed(partitions, &error),
            }
            wait = Duration::ZERO;
        }
        for (shard, run) in runs {
            if let Some(partition) = partitions.get_mut(&shard) {
                debug_assert!(partition.waiting.is_empty(), "a paused partition brings nothing");
                partition.waiting.push_back(Handover::Run(run));
                partition.push();
            }
        }
    }

    fn failed(&self, partitions: &mut BTreeMap<u16, Partition>, error: &KafkaError) {
        match error.rdkafka_error_code() {
            // The library has stopped reading some partition and does not say which: all are checked anew.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let positions = partitions.iter();
                let positions = positions.map(|(shard, partition)| (*shard, partition.want.question, partition.next));
                let question = self.wanted.ask_again(&self.findings, &self.link, positions);
                for (shard, partition) in partitions {
                    self.stop(*shard, partition);
                    partition.question = question;
                }
            }
            _ => {
                tracing::debug!(%error, "reported while reading replies");
                self.link.wake.notify_one();
            }
        }
    }

    fn commit(&self, partitions: &mut BTreeMap<u16, Partition>) {
        let mut list = TopicPartitionList::new();
        for (shard, partition) in partitions {
            let taken = partition.taken.load(Ordering::Acquire);
            if taken > partition.committed
                && list.add_partition_offset(&self.topic, i32::from(*shard), Offset::Offset(taken)).is_ok()
            {
                partition.committed = taken;
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "positions not shown to lag tools");
        }
    }
}

impl Partition {
    fn tell(&mut self, why: Option<String>) {
        if self.told != why {
            self.told.clone_from(&why);
            // Only the newest counts, and thus no more than one waits.
            self.waiting.retain(|item| matches!(item, Handover::Run(_)));
            self.waiting.push_back(Handover::Halt(why));
        }
    }

    fn push(&mut self) {
        while let Some(item) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(item)) = self.queue.try_send(item) {
                self.waiting.push_front(item);
                return;
            }
        }
    }
}

fn take(
    partitions: &mut BTreeMap<u16, Partition>,
    runs: &mut BTreeMap<u16, Vec<Source>>,
    message: &BorrowedMessage<'_>,
) {
    let Some((shard, partition)) =
        u16::try_from(message.partition()).ok().and_then(|shard| Some((shard, partitions.get_mut(&shard)?)))
    else {
        return;
    };
    if partition.reading != Reading::Off && message.offset() >= partition.next {
        partition.next = message.offset() + 1;
        runs.entry(shard).or_default().push(Arc::new(source_record(message)));
    }
}
