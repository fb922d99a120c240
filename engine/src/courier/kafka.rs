//! Carries commands, replies, dead letters and domain events over Kafka.
//!
//! Commands go to their participant's topic, replies come back in the partition that their command names, one of a shard
//! of the engine, which is read from the cursor in the database: the broker knows nothing of who owns what.
//!
//! `config` holds every property that matters, `outgoing` the producer, `link` what is known of the connection,
//! `progress` how far participants have read, `spread` where commands go, `checks` what makes a shard stand still,
//! `wanted`, `reader`, `decode`, `handover` and `reroute` the way of a reply, `admin` and `tail` what `amends bus` does.

pub mod admin;
mod broker;
mod checks;
mod config;
mod decode;
mod handover;
mod link;
mod outgoing;
mod progress;
mod reader;
mod reroute;
mod spread;
pub mod tail;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amends_core::record::{Headers, ReplyTo, command_headers, event_headers, header};
use amends_core::{Command, DomainEvent, SagaId, Shard, Timestamp};
use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::OwnedHeaders;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::checks::{Findings, Watch};
pub use self::config::{DEFAULT_PREFIX, KafkaConfig, KafkaConfigError};
use self::link::{Link, LinkContext};
use self::outgoing::{Batch, Key, Outbound, Outgoing, Pace};
use self::progress::Progress;
use self::reader::Reader;
use self::spread::Spread;
use self::wanted::Wanted;
use super::{Courier, CourierError, Inlet, Publisher, Served, Source};
use crate::store::{DeadLetter, Lease, TopicBook};

/// Batches of commands under way at a time. A lane's next batch does not wait for the acknowledgement of the last, but
/// a broker that falls this far behind slows the lanes down.
const BATCHES: u32 = 64;

/// How long a batch waits for its place among them.
const PLACE_WAIT: Duration = Duration::from_secs(1);

/// How long the end waits for acknowledgements. What is not acknowledged then is sent again by the next owner.
const END_WAIT: Duration = Duration::from_secs(5);

/// The courier. Dropped, it stops at once; [`KafkaCourier::close`] first waits for what is under way.
pub struct KafkaCourier {
    replies_topic: String,
    dead_letters_topic: String,
    shards: u16,
    targets: BTreeMap<String, Target>,
    link: Arc<Link>,
    progress: Arc<Progress>,
    spread: Arc<Spread>,
    outgoing: Arc<Outgoing>,
    places: Arc<Semaphore>,
    findings: Arc<Findings>,
    wanted: Arc<Wanted>,
    /// Until the inlet is known.
    consumer: Mutex<Option<Arc<BaseConsumer<LinkContext>>>>,
    over: DropGuard,
}

/// A participant as it is reached.
struct Target {
    topic: String,
    commands: BTreeSet<String>,
}

impl KafkaCourier {
    /// Makes the courier and begins to watch the broker, which need not be there yet. Needs a runtime around it.
    pub fn start(config: KafkaConfig, book: Arc<dyn TopicBook>) -> Result<Arc<Self>, KafkaConfigError> {
        let link = Arc::new(Link::default());
        let context = LinkContext(Arc::clone(&link));
        let progress = Arc::new(Progress::new(&config));
        let topics = config.participants.keys().map(|participant| config.commands_topic(participant));
        let spread = Arc::new(Spread::new(topics));
        let outgoing = Arc::new(Outgoing::new(&config, Arc::clone(&link), Arc::clone(&progress))?);
        let consumer = Arc::new(BaseConsumer::from_config_and_context(&config.consumer()?, context)?);
        if !config.plaintext() {
            tracing::warn!(
                "ids of topics cannot be read over an encrypted or authenticated connection: a topic of replies that is \
                 deleted and made anew is noticed only once a cursor lies beyond its end"
            );
        }
        let over = CancellationToken::new();
        let findings = Arc::new(Findings::default());
        let targets = config.participants.iter().map(|(participant, commands)| {
            (participant.clone(), Target { topic: config.commands_topic(participant), commands: commands.clone() })
        });
        let courier = Arc::new(Self {
            replies_topic: config.replies_topic(),
            dead_letters_topic: config.dead_letters_topic(),
            shards: config.shards,
            targets: targets.collect(),
            link: Arc::clone(&link),
            progress: Arc::clone(&progress),
            spread: Arc::clone(&spread),
            outgoing: Arc::clone(&outgoing),
            places: Arc::new(Semaphore::new(BATCHES as usize)),
            findings: Arc::clone(&findings),
            wanted: Arc::default(),
            consumer: Mutex::new(Some(Arc::clone(&consumer))),
            over: over.clone().drop_guard(),
        });
        tokio::spawn(progress::watch(config.clone(), Arc::clone(&link), progress, over.clone()));
        tokio::spawn(Watch { config, link, findings, spread, outgoing, book, consumer }.run(over));
        Ok(courier)
    }

    /// Begins to read replies, for the shards assigned so far and later. To be called once; needs a runtime around it.
    pub fn connect(&self, inlet: Arc<dyn Inlet>) {
        let Some(consumer) = self.consumer.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            tracing::error!("the Kafka courier has its inlet already; the second is not used");
            return;
        };
        let reader = Reader {
            consumer,
            topic: self.replies_topic.clone(),
            shards: self.shards,
            wanted: Arc::clone(&self.wanted),
            findings: Arc::clone(&self.findings),
            link: Arc::clone(&self.link),
            outgoing: Arc::clone(&self.outgoing),
            inlet,
            runtime: tokio::runtime::Handle::current(),
            over: self.over.token().child_token(),
        };
        let thread = std::thread::Builder::new().name("amends-replies".to_owned());
        if let Err(error) = thread.spawn(move || reader.run()) {
            tracing::error!(%error, "replies cannot be read: no thread can be started");
        }
    }

    /// Waits until the commands handed over so far are acknowledged or have failed; at most a few seconds.
    pub async fn settle(&self) {
        let all = self.places.acquire_many(BATCHES);
        if tokio::time::timeout(END_WAIT, all).await.is_err() {
            tracing::warn!(
                "some commands were not acknowledged before the end; their sagas' next owner sends them again"
            );
        }
    }

    /// Waits for what is under way and stops.
    pub async fn close(&self) {
        self.settle().await;
        self.over.token().cancel();
        let outgoing = Arc::clone(&self.outgoing);
        let _ = tokio::task::spawn_blocking(move || outgoing.flush(END_WAIT)).await;
    }

    /// Records that the broker has not acknowledged in time, so far.
    pub fn undelivered(&self) -> u64 {
        self.link.undelivered_count()
    }

    /// Notes that a batch was not handed over, or not all of it.
    fn hinder(&self, batch: &[Command]) {
        let targets = batch.iter().filter_map(|command| self.targets.get(&command.participant));
        targets.for_each(|target| self.progress.hinder(&target.topic));
    }

    /// The shard to whose partition all answers to a batch shall come, since the client library sends a request for each
    /// partition: one of the batch that can be read. A lane commits what they change together, whatever shard their sagas
    /// are of. `None` leaves each to its own.
    fn home(&self, batch: &[Command]) -> Option<Shard> {
        let mut shards = batch.iter().map(|command| Shard::of(command.saga_id, self.shards));
        shards.find(|shard| self.wanted.is_read(*shard, &self.findings))
    }
}

#[async_trait]
impl Courier for KafkaCourier {
    /// `Ok` means that the producer has them. Acknowledgements are not waited for, so that no round trip lies between a
    /// lane's batches: that would allow a few hundred a second, not thousands. One that is not delivered is counted,
    /// makes [`Courier::holds`] true if the broker is away, and is sent again by its time-out.
    async fn send(&self, commands: Vec<Command>) -> Result<(), CourierError> {
        if commands.is_empty() {
            return Ok(());
        }
        let place = tokio::time::timeout(PLACE_WAIT, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            self.hinder(&commands);
            return Err(CourierError::Unavailable("the broker is behind with its acknowledgements".to_owned()));
        };
        let mut unserved = None;
        let now = Timestamp(chrono::Utc::now().timestamp_millis());
        let turn = self.spread.turn();
        let home = self.home(&commands);
        let mut reply_to = ReplyTo { topic: self.replies_topic.clone(), partition: 0 };
        let mut records = commands.iter().enumerate().filter_map(|(index, command)| {
            let target = self.targets.get(&command.participant);
            let Some(target) = target.filter(|target| target.commands.contains(&command.command)) else {
                unserved = Some(CourierError::Unserved(command.command.clone()));
                return None;
            };
            let partition = self.spread.partition(&target.topic, turn, index);
            reply_to.partition = home.unwrap_or_else(|| Shard::of(command.saga_id, self.shards)).0.into();
            Some(Outbound {
                topic: &target.topic,
                partition,
                key: Some(Key::of(command.saga_id)),
                value: Some(command.payload.as_str().as_bytes()),
                headers: owned(&command_headers(command, &reply_to, now)),
            })
        });
        let batch = Batch::new(Some(place));
        self.progress.sending(&batch);
        let mut refused = None;
        let enqueued = loop {
            // The others can do nothing for one that is refused.
            match self.outgoing.enqueue(&mut records, &batch, Pace::Prompt).await {
                Err(error @ CourierError::Refused(_)) => refused = Some(error),
                enqueued => break enqueued,
            }
        };
        batch.close();
        drop(records);
        if enqueued.is_err() {
            self.hinder(&commands);
        }
        enqueued.and(unserved.or(refused).map_or(Ok(()), Err))
    }

    fn served(&self) -> Vec<Served> {
        let served = self.targets.iter().map(|(participant, target)| Served {
            participant: participant.clone(),
            courier: "kafka",
            target: target.topic.clone(),
            commands: target.commands.iter().cloned().collect(),
            held: self.link.held(participant).or_else(|| self.progress.unread(&target.topic)),
        });
        served.collect()
    }

    fn holds(&self, participant: &str, sent: Timestamp) -> bool {
        let unread = |target: &Target| self.progress.is_unread(&target.topic, sent);
        self.link.holds(participant) || self.targets.get(participant).is_some_and(unread)
    }

    fn hindered(&self, participant: &str) -> Timestamp {
        let target = self.targets.get(participant);
        let log = target.map_or(Timestamp(0), |target| self.progress.hindered(&target.topic));
        log.max(self.link.hindered.last())
    }

    async fn send_on(&self, replies: &[(Shard, Source)]) -> Result<(), CourierError> {
        self.outgoing.send_on(replies).await
    }

    fn assigned(&self, lease: &Lease) {
        self.wanted.assign(lease, &self.findings, &self.link);
    }

    fn revoked(&self, shard: Shard) {
        self.wanted.revoke(shard, &self.findings);
    }
}

#[async_trait]
impl Publisher for KafkaCourier {
    /// In order for each saga: its id is the key, and the producer keeps the order of a partition. Returns a moment later
    /// than it could: nobody waits for events, and many in a request cost the broker little more than one.
    async fn publish(&self, events: &[DomainEvent]) -> Result<(), CourierError> {
        let records = events.iter().map(|event| Outbound {
            topic: &event.topic,
            partition: None,
            key: Some(Key::of(event.saga_id)),
            value: Some(event.payload.as_str().as_bytes()),
            headers: owned(&event_headers(event)),
        });
        self.outgoing.deliver(records, Pace::Gathering).await
    }

    async fn show_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), CourierError> {
        let records = letters.iter().map(|letter| Outbound {
            topic: &self.dead_letters_topic,
            partition: None,
            key: letter.saga_id.map(Key::of),
            value: Some(letter.record.as_bytes()),
            headers: owned(&dead_letter_headers(letter)),
        });
        self.outgoing.deliver(records, Pace::Prompt).await
    }
}

fn owned(headers: &Headers) -> OwnedHeaders {
    outgoing::headers(headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))))
}

fn dead_letter_headers(letter: &DeadLetter) -> Headers {
    let mut headers = vec![
        (header::SPEC, "1.0".to_owned()),
        (header::ID, letter.id.to_string()),
        (header::TYPE, "amends.dead-letter".to_owned()),
        (header::SOURCE, "/amends".to_owned()),
        (header::TIME, letter.at.to_string()),
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::ATTEMPT, letter.attempts.to_string()),
        (header::ERROR_CODE, letter.error_code.clone()),
        (header::ERROR_MESSAGE, letter.error_message.clone()),
    ];
    headers.extend(letter.saga_id.map(|saga: SagaId| (header::SUBJECT, saga.to_string())));
    headers.extend(letter.step.as_ref().map(|step| (header::STEP, step.to_string())));
    headers.extend(letter.operation.map(|operation| (header::OPERATION, operation.as_str().to_owned())));
    headers
}
