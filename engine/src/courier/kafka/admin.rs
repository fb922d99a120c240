//! Makes topics and compares what is there with what is wanted and with what the database knows: `amends bus ensure`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use uuid::Uuid;

use super::broker::{Facts, TopicFacts, facts};
use super::config::{KafkaConfig, KafkaConfigError};
use crate::Definitions;
use crate::store::{StoreError, TopicBook, TopicRow};

/// How long the broker may take for what it is asked.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often it is asked whether a new topic is there.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Replies kept for a shorter time than this may be gone before an engine is back after a bad night.
const RETENTION_MIN_MS: i64 = 24 * 60 * 60 * 1_000;

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind {
    /// Commands to one participant.
    Commands,
    /// Replies; a partition a shard.
    Replies,
    /// Dead letters, for others to look at.
    DeadLetters,
    /// Domain events.
    Events,
}

/// A topic that has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedTopic {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: TopicKind,
    /// Partitions that it must have: the topic of replies one a shard. Others may have as many as they like.
    pub partitions: Option<i32>,
}

/// The topics that these definitions need.
pub fn wanted(config: &KafkaConfig, definitions: &Definitions) -> Vec<WantedTopic> {
    let topic = |name, kind| WantedTopic { name, kind, partitions: None };
    let mut topics: Vec<_> = config
        .participants
        .keys()
        .map(|participant| topic(config.commands_topic(participant), TopicKind::Commands))
        .collect();
    let partitions = Some(i32::from(config.shards));
    topics.push(WantedTopic { partitions, ..topic(config.replies_topic(), TopicKind::Replies) });
    topics.push(topic(config.dead_letters_topic(), TopicKind::DeadLetters));
    let events = definitions.iter().flat_map(|definition| &definition.events).map(|event| event.topic.clone());
    let events: BTreeSet<String> = events.collect();
    topics.extend(events.into_iter().map(|name| topic(name, TopicKind::Events)));
    topics
}

/// How [`ensure`] goes about it.
#[derive(Debug, Clone, Copy)]
pub struct EnsureOptions {
    /// Partitions of each new topic but that of replies. Requests, not records, are what a broker has to do, and clients
    /// send one for each partition: few, unless there are many workers, who share them.
    pub partitions: i32,
    /// Copies of each new topic; `None` leaves it to the broker.
    pub replication: Option<i32>,
    /// Takes what is there in the place of what the database knows, and has every shard read replies from the beginning:
    /// an operator's decision, since what the old topic held is lost.
    pub adopt: bool,
}

/// What [`ensure`] has found or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// The topic.
    pub name: String,
    /// What it is for.
    pub kind: TopicKind,
    /// How it stands now.
    pub state: TopicState,
    /// What is doubtful about it; sentences.
    pub warnings: Vec<String>,
}

/// How a topic stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicState {
    /// It was made.
    Created,
    /// It was there, as it should be.
    Unchanged,
    /// It was put in the place of the one that the database knew.
    Adopted,
    /// It is not what it should be.
    Differs {
        /// How.
        why: String,
        /// What to do.
        next: String,
    },
}

/// Why topics could not be made or compared.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] KafkaConfigError),
    /// The broker.
    #[error("the broker does not do it: {0}")]
    Broker(String),
    /// The database.
    #[error(transparent)]
    Book(#[from] StoreError),
}

impl From<KafkaError> for BusError {
    fn from(error: KafkaError) -> Self {
        Self::Broker(error.to_string())
    }
}

impl fmt::Display for TopicState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Unchanged => f.write_str("as it was"),
            Self::Adopted => f.write_str("adopted"),
            Self::Differs { why, .. } => write!(f, "differs: {why}"),
        }
    }
}

/// Makes what is missing, compares the rest, and writes down in the book what is new there. One report a topic.
pub async fn ensure(
    config: &KafkaConfig,
    book: &dyn TopicBook,
    topics: &[WantedTopic],
    options: EnsureOptions,
) -> Result<Vec<TopicReport>, BusError> {
    let bus = Bus::new(config)?;
    let known = book.topics().await?;
    let before = bus.facts(topics).await?;
    let to_make: Vec<&WantedTopic> = topics
        .iter()
        .filter(|topic| absent(&before, &topic.name))
        .filter(|topic| options.adopt || !known.iter().any(|row| row.name == topic.name))
        .collect();
    bus.make(&to_make, options).await?;
    let after = bus.facts(topics).await?;
    let configs = bus.configs(topics.iter().filter(|topic| !absent(&after, &topic.name))).await?;
    let mut reports = Vec::with_capacity(topics.len());
    for topic in topics {
        let known = known.iter().find(|row| row.name == topic.name);
        let found = after.get(&topic.name).and_then(Option::as_ref);
        let made = to_make.iter().any(|made| made.name == topic.name);
        let settings = configs.iter().find(|(name, _)| *name == topic.name).map(|(_, settings)| settings);
        let (mut warnings, mut state) = (Vec::new(), None);
        if let (Some(found), Some(settings)) = (found, settings) {
            state = doubtful(topic, settings);
            warnings = warn(topic, found, settings);
        }
        let state = match state {
            Some(differs) => differs,
            None => settle(topic, known, found, made, options.adopt, book).await?,
        };
        reports.push(TopicReport { name: topic.name.clone(), kind: topic.kind, state, warnings });
    }
    Ok(reports)
}

/// Compares a topic with the book, and brings the book up to date where that loses nothing or is asked for.
async fn settle(
    topic: &WantedTopic,
    known: Option<&TopicRow>,
    found: Option<&TopicFacts>,
    made: bool,
    adopt: bool,
    book: &dyn TopicBook,
) -> Result<TopicState, BusError> {
    let replies = topic.kind == TopicKind::Replies;
    let differs = |why: String, next: &str| Ok(TopicState::Differs { why, next: next.to_owned() });
    let Some(found) = found else {
        return differs("it was deleted, and what it held is lost".to_owned(), "amends bus ensure --adopt");
    };
    if let Some(shards) = topic.partitions.filter(|shards| *shards != found.partitions) {
        let why = format!("it has {} partitions, but there are {shards} shards", found.partitions);
        return differs(why, &format!("delete the topic {}, then amends bus ensure --adopt", topic.name));
    }
    let row = TopicRow {
        name: topic.name.clone(),
        topic_id: found.id.or_else(|| known.map(|known| known.topic_id)).unwrap_or(Uuid::nil()),
        partitions: found.partitions,
    };
    let Some(known) = known else {
        book.record_topic(&row).await?;
        return Ok(if made { TopicState::Created } else { TopicState::Unchanged });
    };
    if adopt && (replies || *known != row) {
        book.replace_topic(&row, replies).await?;
        return Ok(if made { TopicState::Created } else { TopicState::Adopted });
    }
    if !known.topic_id.is_nil() && known.topic_id != row.topic_id {
        return differs("it was deleted and made anew".to_owned(), "amends bus ensure --adopt");
    }
    if *known != row {
        if replies && known.partitions != row.partitions {
            let why = format!("it has {} partitions, not {}", row.partitions, known.partitions);
            return differs(why, "amends bus ensure --adopt");
        }
        // More partitions of any other topic lose nothing, nor does an id that could not be read so far.
        book.replace_topic(&row, false).await?;
    }
    Ok(TopicState::Unchanged)
}

/// A setting under which records would be lost.
fn doubtful(topic: &WantedTopic, settings: &ConfigResource) -> Option<TopicState> {
    let policy = settings.get("cleanup.policy")?.value.clone()?;
    let read_in_order = matches!(topic.kind, TopicKind::Replies | TopicKind::Commands);
    (read_in_order && policy.contains("compact")).then(|| TopicState::Differs {
        why: format!("cleanup.policy is {policy}: records of one saga would replace one another"),
        next: format!(
            "kafka-configs.sh --alter --entity-type topics --entity-name {} --add-config cleanup.policy=delete",
            topic.name
        ),
    })
}

/// What works, but not as well as one may think.
fn warn(topic: &WantedTopic, found: &TopicFacts, settings: &ConfigResource) -> Vec<String> {
    let number = |name| settings.get(name)?.value.as_ref()?.parse::<i64>().ok();
    let mut warnings = Vec::new();
    if let Some(retention) = number("retention.ms").filter(|ms| (0..RETENTION_MIN_MS).contains(ms))
        && topic.kind == TopicKind::Replies
    {
        let hours = retention / 3_600_000;
        warnings.push(format!("replies are deleted after {hours} h, read or not: keep them for a day at least"));
    }
    let in_sync = number("min.insync.replicas").unwrap_or(1);
    if in_sync > i64::from(found.replication) {
        warnings.push(format!(
            "min.insync.replicas is {in_sync} and there are {} copies: it takes nothing",
            found.replication
        ));
    } else if found.replication > 1 && in_sync < 2 {
        warnings.push("min.insync.replicas is 1: what one broker has acknowledged is lost with it".to_owned());
    }
    if !found.leaderless.is_empty() {
        warnings.push(format!("no broker leads the partitions {:?}", found.leaderless));
    }
    warnings
}

fn absent(facts: &Facts, name: &str) -> bool {
    facts.get(name).is_none_or(Option::is_none)
}

/// The broker, as those who look after it see it.
pub(super) struct Bus {
    pub(super) config: KafkaConfig,
    admin: Arc<AdminClient<DefaultClientContext>>,
}

impl Bus {
    pub(super) fn new(config: &KafkaConfig) -> Result<Self, BusError> {
        let admin = AdminClient::from_config(&config.plain()?).map_err(KafkaConfigError::from)?;
        Ok(Self { config: config.clone(), admin: Arc::new(admin) })
    }

    async fn facts(&self, topics: &[WantedTopic]) -> Result<Facts, BusError> {
        self.facts_of(topics.iter().map(|topic| topic.name.clone()).collect()).await
    }

    pub(super) async fn facts_of(&self, names: Vec<String>) -> Result<Facts, BusError> {
        let (config, admin) = (self.config.clone(), Arc::clone(&self.admin));
        let asked = tokio::task::spawn_blocking(move || facts(&config, admin.inner(), &names));
        asked.await.map_err(|error| error.to_string()).and_then(|facts| facts).map_err(BusError::Broker)
    }

    /// Makes topics and waits until the broker shows them.
    async fn make(&self, topics: &[&WantedTopic], options: EnsureOptions) -> Result<(), BusError> {
        if topics.is_empty() {
            return Ok(());
        }
        // -1 leaves it to the broker.
        let copies = options.replication.unwrap_or(-1);
        let new = topics.iter().map(|topic| {
            let partitions = topic.partitions.unwrap_or(options.partitions);
            let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(copies));
            new.set("cleanup.policy", "delete")
        });
        let new: Vec<_> = new.collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        for made in self.admin.create_topics(&new, &options).await? {
            match made {
                // Somebody else was quicker.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(BusError::Broker(format!("{name} cannot be made: {code}"))),
            }
        }
        let begun = Instant::now();
        loop {
            let facts = self.facts_of(topics.iter().map(|topic| topic.name.clone()).collect()).await?;
            match topics.iter().find(|topic| absent(&facts, &topic.name)) {
                None => return Ok(()),
                Some(missing) if begun.elapsed() > PATIENCE => {
                    return Err(BusError::Broker(format!("{} was made and is still not there", missing.name)));
                }
                Some(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn configs<'t>(
        &self,
        topics: impl Iterator<Item = &'t WantedTopic>,
    ) -> Result<Vec<(String, ConfigResource)>, BusError> {
        let asked: Vec<_> = topics.map(|topic| (topic.name.clone(), ResourceSpecifier::Topic(&topic.name))).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let answers = self.admin.describe_configs(asked.iter().map(|(_, topic)| topic), &options).await?;
        // One who may not read settings may still use topics.
        Ok(asked
            .iter()
            .map(|(name, _)| name.clone())
            .zip(answers)
            .filter_map(|(name, one)| Some((name, one.ok()?)))
            .collect())
    }
}
