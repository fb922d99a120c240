//! Watches over the broker: is it there, are its topics the ones that the database knows, does the log of replies still
//! hold what the cursors point to. Nothing is read that has not been checked, and nothing is skipped silently.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::broker::{Facts, PATIENCE, TopicFacts, facts};
use super::config::KafkaConfig;
use super::link::{Link, LinkContext};
use super::outgoing::Outgoing;
use super::spread::Spread;
use crate::store::{StoreError, TopicBook, TopicRow};

/// How often all is checked, when all is well and when it is not.
const CHECK_EVERY: Duration = Duration::from_secs(5);
const RECHECK_EVERY: Duration = Duration::from_millis(500);

/// Questions that come this close together are answered by one check: an engine takes many shards over at once.
const GATHER: Duration = Duration::from_millis(5);

/// And reports of trouble, of which there may be one for each record.
const GATHER_TROUBLE: Duration = Duration::from_millis(200);

/// What checks have found, for the thread that reads.
#[derive(Default)]
pub(super) struct Findings {
    /// Changes with each check.
    version: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    asked: u64,
    done: u64,
    /// Why no shard can be read.
    topic: Option<String>,
    /// Where those shards would read on that are asked for or stand still.
    positions: BTreeMap<u16, i64>,
    /// Why these cannot be read.
    ranges: BTreeMap<u16, String>,
}

/// Whether a shard's log can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Not known yet.
    Pending,
    Fine,
    Halt(String),
}

impl Findings {
    /// Asks for a check of what a shard would read next. The number stands for the question.
    pub(super) fn ask(&self, link: &Link, positions: impl IntoIterator<Item = (u16, i64)>) -> u64 {
        let mut state = self.state();
        state.positions.extend(positions);
        state.asked += 1;
        link.wake.notify_one();
        state.asked
    }

    /// The shard is no longer ours.
    pub(super) fn forget(&self, shard: u16) {
        let mut state = self.state();
        state.positions.remove(&shard);
        state.ranges.remove(&shard);
    }

    /// The answer to a question.
    pub(super) fn of(&self, shard: u16, question: u64) -> Finding {
        let state = self.state();
        if state.done < question {
            return Finding::Pending;
        }
        match state.topic.as_ref().or_else(|| state.ranges.get(&shard)) {
            Some(why) => Finding::Halt(why.clone()),
            None => Finding::Fine,
        }
    }

    /// Changes with each check.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn pending(&self) -> bool {
        let state = self.state();
        state.done < state.asked
    }

    fn settled(&self) -> bool {
        let state = self.state();
        state.topic.is_none() && state.ranges.is_empty() && state.done == state.asked
    }

    /// Ends a check. Without `ranges` the shards' positions are still to be looked at.
    fn found(&self, question: u64, topic: Option<String>, ranges: Option<BTreeMap<u16, String>>) {
        let mut state = self.state();
        state.done = question;
        state.topic = topic;
        if let Some(ranges) = ranges {
            // What was asked for in the meantime waits for the next check.
            let newer = state.asked > question;
            state.positions.retain(|shard, _| newer || ranges.contains_key(shard));
            state.ranges = ranges;
        }
        drop(state);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    #[cfg(test)]
    pub(super) fn positions(&self) -> BTreeMap<u16, i64> {
        self.state().positions.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that checks.
pub(super) struct Watch {
    pub(super) config: KafkaConfig,
    pub(super) link: Arc<Link>,
    pub(super) findings: Arc<Findings>,
    pub(super) spread: Arc<Spread>,
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) book: Arc<dyn TopicBook>,
    /// The one that reads: another would need somebody to poll it.
    pub(super) consumer: Arc<BaseConsumer<LinkContext>>,
}

impl Watch {
    /// Checks until the end.
    pub(super) async fn run(self, over: CancellationToken) {
        over.run_until_cancelled(self.check_on()).await;
    }

    async fn check_on(&self) {
        loop {
            if self.link.is_broken() {
                self.outgoing.mend();
            }
            self.check().await;
            let settled = self.findings.settled() && !self.link.is_down() && !self.link.is_broken();
            let wait = if settled { CHECK_EVERY } else { RECHECK_EVERY };
            if tokio::time::timeout(wait, self.link.wake.notified()).await.is_ok() {
                tokio::time::sleep(if self.findings.pending() { GATHER } else { GATHER_TROUBLE }).await;
            }
        }
    }

    /// Checks everything once. What the broker or the database does not answer stays as it was.
    async fn check(&self) {
        let (question, positions) = {
            let state = self.findings.state();
            (state.asked, state.positions.clone())
        };
        let facts = match self.ask_broker().await {
            Ok(facts) => facts,
            Err(why) => {
                self.link.confirm_down(why);
                return;
            }
        };
        self.link.reached();
        for (topic, found) in &facts {
            self.spread.learn(topic, found.as_ref().map_or(0, |found| found.partitions));
        }
        self.link.set_topics(self.held(&facts));
        let trouble = match self.trouble(&facts).await {
            Ok(trouble) => trouble,
            Err(error) => {
                tracing::debug!(%error, "the broker's topics are not compared, since the database does not answer");
                return;
            }
        };
        let ranges = match trouble {
            Some(_) => None,
            None if positions.is_empty() => Some(BTreeMap::new()),
            None => match self.ranges(positions).await {
                Ok(ranges) => Some(ranges),
                Err(error) => {
                    tracing::debug!(%error, "the bounds of the log of replies are not known");
                    return;
                }
            },
        };
        self.findings.found(question, trouble, ranges);
    }

    async fn ask_broker(&self) -> Result<Facts, String> {
        let commands = self.config.participants.keys().map(|participant| self.config.commands_topic(participant));
        let names: Vec<String> = commands.chain([self.config.replies_topic()]).collect();
        let (config, client) = (self.config.clone(), Arc::clone(&self.consumer));
        let asked = tokio::task::spawn_blocking(move || facts(&config, client.client(), &names));
        asked.await.map_err(|error| error.to_string())?
    }

    /// Participants whose topic takes nothing.
    fn held(&self, facts: &Facts) -> BTreeMap<String, String> {
        let why = |participant: &String| {
            let topic = self.config.commands_topic(participant);
            let why = match facts.get(&topic)?.as_ref() {
                None => format!("the topic {topic} does not exist: `amends bus ensure` makes it"),
                Some(facts) if facts.leaderless.is_empty() => return None,
                Some(facts) => format!("no broker leads the partitions {:?} of {topic}", facts.leaderless),
            };
            Some((participant.clone(), why))
        };
        self.config.participants.keys().filter_map(why).collect()
    }

    /// Why the topic of replies is not the one that the cursors belong to.
    async fn trouble(&self, facts: &Facts) -> Result<Option<String>, StoreError> {
        let name = self.config.replies_topic();
        let Some(found) = facts.get(&name).and_then(Option::as_ref) else {
            return Ok(Some(format!(
                "the topic {name} does not exist: `amends bus ensure` makes it, or, if it was deleted, `amends bus \
                 ensure --adopt` puts a new one in its place"
            )));
        };
        if found.partitions != i32::from(self.config.shards) {
            return Ok(Some(format!(
                "the topic {name} has {} partitions, but there are {} shards and each needs exactly one: delete the \
                 topic, then run `amends bus ensure --adopt`",
                found.partitions, self.config.shards
            )));
        }
        let known = self.book.topics().await?.into_iter().find(|row| row.name == name);
        let row = TopicRow { name, topic_id: found.id.unwrap_or(Uuid::nil()), partitions: found.partitions };
        match known {
            Some(known) => Ok(differs(&known, found)),
            None => match self.book.record_topic(&row).await {
                // Another engine was quicker; the next check compares.
                Ok(()) | Err(StoreError::Conflict(_)) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Which of the shards would read outside of what the log holds.
    async fn ranges(&self, positions: BTreeMap<u16, i64>) -> Result<BTreeMap<u16, String>, String> {
        let (client, topic) = (Arc::clone(&self.consumer), self.config.replies_topic());
        let asked = tokio::task::spawn_blocking(move || {
            let low = bounds(&client, &topic, positions.keys(), Offset::Beginning)?;
            let high = bounds(&client, &topic, positions.keys(), Offset::End)?;
            let outside = positions.into_iter().filter_map(|(shard, position)| {
                out_of_range(&topic, shard, position, *low.get(&shard)?, *high.get(&shard)?)
            });
            Ok(outside.collect())
        });
        asked.await.map_err(|error| error.to_string())?
    }
}

/// What tells a topic from the one in the database.
fn differs(known: &TopicRow, found: &TopicFacts) -> Option<String> {
    let name = &known.name;
    if let Some(id) = found.id.filter(|id| !known.topic_id.is_nil() && *id != known.topic_id) {
        return Some(format!(
            "the topic {name} was deleted and made anew (its id is {id}, not {}): `amends bus ensure --adopt` reads the \
             new one from its beginning",
            known.topic_id
        ));
    }
    (known.partitions != found.partitions).then(|| {
        format!(
            "the topic {name} has {} partitions, not {} as recorded: `amends bus ensure --adopt` takes it as it is",
            found.partitions, known.partitions
        )
    })
}

fn out_of_range(topic: &str, shard: u16, position: i64, low: i64, high: i64) -> Option<(u16, String)> {
    const NEXT: &str = "`amends bus ensure --adopt` has every shard read what there is from its beginning";
    if position == 0 {
        if low > 0 {
            tracing::warn!(shard, low, "the log of replies no longer holds its beginning; reading what is left");
        }
        return None;
    }
    if position < low {
        return Some((
            shard,
            format!(
                "{} replies of partition {shard} of {topic} were deleted before they were read ({position} is next, \
                 {low} the first that is left): {NEXT}",
                low - position
            ),
        ));
    }
    (position > high).then(|| {
        let why = format!(
            "partition {shard} of {topic} ends at {high}, but {position} is to be read next; the topic has lost records \
             or is another one: {NEXT}"
        );
        (shard, why)
    })
}

/// The first or the next offset of partitions.
fn bounds<'s>(
    client: &BaseConsumer<LinkContext>,
    topic: &str,
    shards: impl Iterator<Item = &'s u16>,
    which: Offset,
) -> Result<BTreeMap<u16, i64>, String> {
    let mut asked = TopicPartitionList::new();
    for shard in shards {
        asked.add_partition_offset(topic, i32::from(*shard), which).map_err(|error| error.to_string())?;
    }
    let answer = client.offsets_for_times(asked, PATIENCE).map_err(|error| error.to_string())?;
    let bound = |shard: u16, offset| match offset {
        Offset::Offset(offset) => Ok((shard, offset)),
        other => Err(format!("partition {shard}: {other:?}")),
    };
    let mut bounds = BTreeMap::new();
    for element in answer.elements() {
        element.error().map_err(|error| error.to_string())?;
        let shard = u16::try_from(element.partition()).map_err(|error| error.to_string())?;
        let (shard, offset) = bound(shard, element.offset())?;
        bounds.insert(shard, offset);
    }
    Ok(bounds)
}
