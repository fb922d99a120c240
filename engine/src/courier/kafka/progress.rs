//! How far participants have read their commands.
//!
//! A command that waits in the log is not late: another copy would only wait behind it, and make the wait of all longer,
//! until every attempt of every saga is used up by copies that nobody has read. So the clock of an attempt stands still
//! until the participant's workers have committed an offset beyond its command.
//!
//! Commands are not followed one by one. Every now and then the ends of what was delivered are noted with the time;
//! once the workers are beyond them, everything that was sent until then is read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use amends_core::{Millis, Timestamp};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use tokio_util::sync::CancellationToken;

use super::broker::PATIENCE;
use super::config::KafkaConfig;
use super::link::{Link, LinkContext, refuses_record};
use super::outgoing::Batch;
use crate::courier::hindered::Hindered;
use crate::shard::now;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Notes kept of one participant; when there are more, every second is dropped, and new ones are made half as often.
const NOTES_MAX: usize = 128;

/// Workers that have not moved for so many looks may be waited for in vain: the log may not be the same any more.
const LOOKS_MAX: u32 = 10;

/// Workers that have never committed may be on their way up for so long. Then they are of another group, and no one will
/// say how far they have read.
const STARTING: Millis = Millis(30_000);

/// Commands unread for this long are told to people.
const LONG: Millis = Millis(10_000);

/// Stands for "read" where it is not known what is read: clocks run from the moment of sending.
const UNKNOWN: i64 = i64::MAX;

/// Next offsets by partition.
type Ends = BTreeMap<i32, i64>;

/// What is known of all participants.
pub(super) struct Progress {
    by_topic: BTreeMap<String, Log>,
    /// Batches of commands that may not be delivered yet, in the order in which they were handed over.
    under_way: Mutex<VecDeque<(Timestamp, Weak<Batch>)>>,
}

/// One participant's commands.
struct Log {
    group: String,
    /// Everything sent until then is read, in milliseconds since 1970.
    read: AtomicI64,
    /// Some of them did not get into the log.
    hindered: Hindered,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// After what was delivered last.
    ends: Ends,
    /// Oldest first, as far as not all of it is read.
    notes: VecDeque<Note>,
    /// The least time between two notes.
    spacing: Millis,
    /// The ends up to which all is read.
    passed: Ends,
}

/// Everything sent until then is within these ends.
struct Note {
    since: Timestamp,
    until: Timestamp,
    ends: Ends,
}

impl Progress {
    pub(super) fn new(config: &KafkaConfig) -> Self {
        let logs = config.participants.keys().map(|participant| {
            let log = Log {
                group: config.participant_group(participant),
                read: AtomicI64::new(UNKNOWN),
                hindered: Hindered::default(),
                state: Mutex::default(),
            };
            (config.commands_topic(participant), log)
        });
        Self { by_topic: logs.collect(), under_way: Mutex::default() }
    }

    /// A batch of commands is being handed over.
    pub(super) fn sending(&self, batch: &Arc<Batch>) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        forget_delivered(&mut under_way);
        under_way.push_back((now(), Arc::downgrade(batch)));
    }

    /// A record is in the log. To be said before its batch counts it as delivered. Cheap: said for each.
    pub(super) fn delivered(&self, topic: &str, partition: i32, offset: i64) {
        let Some(log) = self.by_topic.get(topic) else { return };
        let mut state = log.state();
        if state.ends.get(&partition).is_some_and(|end| *end > offset) {
            // The log was made anew, and nobody will read the old one.
            *state = State::default();
        }
        state.ends.insert(partition, offset + 1);
    }

    /// A record is not in the log, as far as is known. One that is no command is nothing to this.
    pub(super) fn undelivered(&self, topic: &str, error: &KafkaError) {
        if !refuses_record(error) {
            self.hinder(topic);
        }
    }

    /// Commands were not handed over.
    pub(super) fn hinder(&self, topic: &str) {
        if let Some(log) = self.by_topic.get(topic) {
            log.hindered.note();
        }
    }

    /// When commands to a participant were last not delivered.
    pub(super) fn hindered(&self, topic: &str) -> Timestamp {
        self.by_topic.get(topic).map_or(Timestamp(0), |log| log.hindered.last())
    }

    /// Whether a command to a participant, sent at that time, still waits to be read.
    pub(super) fn is_unread(&self, topic: &str, sent: Timestamp) -> bool {
        self.by_topic.get(topic).is_some_and(|log| sent.0 > log.read.load(Ordering::Acquire))
    }

    /// The same for people, once it has lasted.
    pub(super) fn unread(&self, topic: &str) -> Option<String> {
        let log = self.by_topic.get(topic)?;
        let state = log.state();
        let age = state.waits(now());
        (age > LONG && log.read.load(Ordering::Acquire) != UNKNOWN).then(|| {
            format!("its commands wait to be read: the workers' group {} is {} s behind", log.group, age.0 / 1_000)
        })
    }

    /// Until when all that was handed over has come to its end.
    fn handed_over(&self) -> Timestamp {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        forget_delivered(&mut under_way);
        under_way.front().map_or_else(now, |(at, _)| *at)
    }
}

fn forget_delivered(under_way: &mut VecDeque<(Timestamp, Weak<Batch>)>) {
    while under_way.front().is_some_and(|(_, batch)| batch.strong_count() == 0) {
        under_way.pop_front();
    }
}

impl Log {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes that what was sent until then is within the present ends. False if all of that is read.
    fn note(&mut self, at: Timestamp) -> bool {
        match self.notes.back_mut() {
            Some(last) if last.ends == self.ends => last.until = at,
            Some(last) if at.since(last.since) < self.spacing => {}
            None if self.ends == self.passed => {
                self.spacing = Millis(0);
                return false;
            }
            _ => self.notes.push_back(Note { since: at, until: at, ends: self.ends.clone() }),
        }
        if self.notes.len() > NOTES_MAX {
            let mut number = 0;
            self.notes.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            self.spacing = Millis((self.spacing.0 * 2).max(2 * LOOK_EVERY.as_millis() as u64));
        }
        true
    }

    /// Drops the notes that the workers are beyond, and says until when all is read.
    fn pass(&mut self, committed: &Ends) -> Option<Timestamp> {
        let mut read = None;
        while let Some(note) = self.notes.pop_front_if(|note| lagging(&note.ends, committed).next().is_none()) {
            (read, self.passed) = (Some(note.until), note.ends);
        }
        read
    }

    /// For how long something has been unread.
    fn waits(&self, now: Timestamp) -> Millis {
        self.notes.front().map_or(Millis(0), |oldest| now.since(oldest.since))
    }

    /// Waits no more for what a partition holds.
    fn forget(&mut self, partition: i32) {
        self.ends.remove(&partition);
        for note in &mut self.notes {
            note.ends.remove(&partition);
        }
    }
}

/// Partitions that are not read up to their ends, with these.
fn lagging<'e>(ends: &'e Ends, committed: &'e Ends) -> impl Iterator<Item = (i32, i64)> + 'e {
    let behind = |(partition, end): &(&i32, &i64)| committed.get(*partition).is_none_or(|offset| offset < *end);
    ends.iter().filter(behind).map(|(partition, end)| (*partition, *end))
}

/// Looks how far the workers are, until the end.
pub(super) async fn watch(config: KafkaConfig, link: Arc<Link>, progress: Arc<Progress>, over: CancellationToken) {
    let mut looks: Vec<Look> = progress.by_topic.keys().map(|topic| Look::new(topic.clone())).collect();
    while over.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let (config, link, known) = (config.clone(), Arc::clone(&link), Arc::clone(&progress));
        let looked = tokio::task::spawn_blocking(move || {
            looks.iter_mut().for_each(|look| look.once(&config, &link, &known));
            looks
        });
        match looked.await {
            Ok(again) => looks = again,
            Err(error) => {
                tracing::error!(%error, "it is not looked any more how far participants have read");
                return progress.by_topic.values().for_each(|log| log.read.store(UNKNOWN, Ordering::Release));
            }
        }
    }
}

/// How one participant's workers are looked at.
struct Look {
    topic: String,
    /// A member of no group, which only asks. Made when there is something to ask.
    client: Option<BaseConsumer<LinkContext>>,
    committed: Ends,
    /// Looks since the workers moved.
    unmoved: u32,
}

impl Look {
    const fn new(topic: String) -> Self {
        Self { topic, client: None, committed: Ends::new(), unmoved: 0 }
    }

    /// Looks once. Blocks while the broker is asked, if there is something to ask.
    fn once(&mut self, config: &KafkaConfig, link: &Arc<Link>, progress: &Progress) {
        let Some(log) = progress.by_topic.get(&self.topic) else { return };
        let at = progress.handed_over();
        let asked = {
            let mut state = log.state();
            if !state.note(at) {
                if log.read.load(Ordering::Acquire) != UNKNOWN {
                    log.read.store(at.0, Ordering::Release);
                }
                return;
            }
            state.ends.clone()
        };
        if link.is_down() {
            return;
        }
        match self.ask(config, link, log, &asked) {
            Ok(committed) => self.found(log, committed),
            Err(KafkaError::OffsetFetch(RDKafkaErrorCode::GroupAuthorizationFailed)) => {
                if log.read.swap(UNKNOWN, Ordering::AcqRel) != UNKNOWN {
                    tracing::warn!(group = log.group, "how far the workers have read may not be asked");
                }
            }
            Err(error) => tracing::debug!(%error, group = log.group, "how far the workers have read is not known"),
        }
    }

    fn found(&mut self, log: &Log, committed: Ends) {
        if committed.is_empty() && log.state().waits(now()) > STARTING {
            return log.read.store(UNKNOWN, Ordering::Release);
        }
        self.unmoved = if committed == self.committed { self.unmoved + 1 } else { 0 };
        self.committed = committed;
        let mut state = log.state();
        match state.pass(&self.committed) {
            Some(read) => log.read.store(read.0, Ordering::Release),
            None if log.read.load(Ordering::Acquire) == UNKNOWN => log.read.store(0, Ordering::Release),
            None => {}
        }
        drop(state);
        if self.unmoved >= LOOKS_MAX {
            self.unmoved = 0;
            self.compare(log);
        }
    }

    /// What the workers have committed, of the partitions that hold something of ours.
    fn ask(&mut self, config: &KafkaConfig, link: &Arc<Link>, log: &Log, ends: &Ends) -> KafkaResult<Ends> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(client(config, link, &log.group)?),
        };
        // It has nothing to read, but what it reports must be taken off it.
        let _ = client.poll(Duration::ZERO);
        let mut wanted = TopicPartitionList::with_capacity(ends.len());
        for partition in ends.keys() {
            wanted.add_partition(&self.topic, *partition);
        }
        let answer = client.committed_offsets(wanted, PATIENCE)?;
        let offset = |element: TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        };
        Ok(answer.elements().into_iter().filter_map(offset).collect())
    }

    /// Finds partitions that do not hold any more what the workers are waited for: deleted by retention, or with the topic.
    fn compare(&self, log: &Log) {
        let Some(client) = &self.client else { return };
        let behind: Vec<_> = lagging(&log.state().ends, &self.committed).collect();
        for (partition, end) in behind {
            match client.fetch_watermarks(&self.topic, partition, PATIENCE) {
                Ok((low, high)) if high < end || low >= end => {
                    tracing::info!(topic = self.topic, partition, "commands are no longer in the log; they time out");
                    log.state().forget(partition);
                }
                Ok(_) => {}
                Err(error) => return tracing::debug!(%error, topic = self.topic, "the log's bounds are not known"),
            }
        }
    }
}

fn client(config: &KafkaConfig, link: &Arc<Link>, group: &str) -> KafkaResult<BaseConsumer<LinkContext>> {
    let mut config = config.plain().map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
    config.set("group.id", group).set("enable.auto.commit", "false");
    BaseConsumer::from_config_and_context(&config, LinkContext(Arc::clone(link)))
}

#[cfg(test)]
mod tests;
