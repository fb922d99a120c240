//! Everything that leaves: idempotent producers, whole batches at once, a delivery report for each record.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use amends_core::SagaId;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::config::{KafkaConfig, KafkaConfigError};
use super::link::{Link, LinkContext, refuses_record};
use super::progress::Progress;
use crate::courier::CourierError;

/// A full queue is tried again after this, at most [`FULL_TRIES`] times: about a second, in which a broker that keeps up
/// has taken thousands of records.
const FULL_WAIT: Duration = Duration::from_millis(10);
const FULL_TRIES: u32 = 100;

/// Records put in the queue before other tasks of the thread get their turn: about a millisecond.
const YIELD_EVERY: usize = 256;

/// First and longest time between two producers, as long as none has delivered anything.
const REBUILD_WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A record on its way out.
pub(super) struct Outbound<'a> {
    pub(super) topic: &'a str,
    /// By the key's hash, if none is given.
    pub(super) partition: Option<i32>,
    pub(super) key: Option<Key<'a>>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
}

/// A record's key.
pub(super) enum Key<'a> {
    /// A saga's id as text, made in place.
    Saga([u8; uuid::fmt::Hyphenated::LENGTH]),
    /// As it came.
    Bytes(&'a [u8]),
}

impl Key<'_> {
    pub(super) fn of(saga: SagaId) -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        saga.as_uuid().hyphenated().encode_lower(&mut text);
        Self::Saga(text)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Saga(text) => text,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Headers as the library takes them.
pub(super) fn headers<'h>(pairs: impl ExactSizeIterator<Item = (&'h str, Option<&'h [u8]>)>) -> OwnedHeaders {
    // One more for the mark of a record that is sent on.
    let room = OwnedHeaders::new_with_capacity(pairs.len() + 1);
    pairs.fold(room, |headers, (key, value)| headers.insert(Header { key, value }))
}

/// The producers, which can be made anew.
pub(super) struct Outgoing {
    prompt: ClientConfig,
    gathering: ClientConfig,
    link: Arc<Link>,
    progress: Arc<Progress>,
    producers: RwLock<Option<Arc<Producers>>>,
    pause: Mutex<Pause>,
}

/// How soon records leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// At once.
    Prompt,
    /// With what comes within a moment.
    Gathering,
}

struct Producers {
    prompt: Sender,
    gathering: Sender,
}

impl Producers {
    fn at(&self, pace: Pace) -> &Sender {
        match pace {
            Pace::Prompt => &self.prompt,
            Pace::Gathering => &self.gathering,
        }
    }
}

/// Keeps producers that fail at once from following one another without end.
struct Pause {
    until: Option<Instant>,
    length: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self { until: None, length: REBUILD_WAIT.0 }
    }
}

type Sender = ThreadedProducer<Context>;

impl Outgoing {
    pub(super) fn new(
        config: &KafkaConfig,
        link: Arc<Link>,
        progress: Arc<Progress>,
    ) -> Result<Self, KafkaConfigError> {
        let (prompt, gathering) = (config.producer()?, config.gathering_producer()?);
        let outgoing =
            Self { prompt, gathering, link, progress, producers: RwLock::new(None), pause: Mutex::default() };
        outgoing.replace(Some(outgoing.make()?));
        Ok(outgoing)
    }

    fn make(&self) -> Result<Arc<Producers>, KafkaError> {
        let sender = |config: &ClientConfig| {
            let context = Context { link: LinkContext(self.link.clone()), progress: self.progress.clone() };
            Sender::from_config_and_context(config, context)
        };
        Ok(Arc::new(Producers { prompt: sender(&self.prompt)?, gathering: sender(&self.gathering)? }))
    }

    /// Puts records in the queue, in their order. What the library refuses ends the batch; what came before is on its
    /// way, as the batch tells.
    pub(super) async fn enqueue<'a>(
        &self,
        records: impl Iterator<Item = Outbound<'a>> + Send,
        batch: &Arc<Batch>,
        pace: Pace,
    ) -> Result<(), CourierError> {
        let producers = self.producers()?;
        let producer = producers.at(pace);
        for (index, record) in records.enumerate() {
            if index % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
            batch.left.fetch_add(1, Ordering::AcqRel);
            let mut prepared = BaseRecord {
                topic: record.topic,
                partition: record.partition,
                payload: record.value,
                key: record.key.as_ref().map(Key::bytes),
                timestamp: None,
                headers: Some(record.headers),
                delivery_opaque: batch.clone(),
            };
            let mut tries = 0;
            while let Err((error, refused)) = producer.send(prepared) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                if !full || tries == FULL_TRIES {
                    self.link.undelivered(&error);
                    self.progress.undelivered(record.topic, &error);
                    batch.report(Some(&error));
                    let why = error.to_string();
                    let refused = refuses_record(&error);
                    return Err(if refused { CourierError::Refused(why) } else { CourierError::Unavailable(why) });
                }
                tries += 1;
                prepared = refused;
                tokio::time::sleep(FULL_WAIT).await;
            }
        }
        Ok(())
    }

    /// Sends records and waits until each is acknowledged. Bounded by the client's own time-out of deliveries.
    pub(super) async fn deliver<'a>(
        &self,
        records: impl Iterator<Item = Outbound<'a>> + Send,
        pace: Pace,
    ) -> Result<(), CourierError> {
        let batch = Batch::new(None);
        let enqueued = self.enqueue(records, &batch, pace).await;
        batch.close();
        enqueued.and(batch.delivered().await)
    }

    /// Makes producers anew of which one failed for good, if it is time. What waited in the old ones is reported as not
    /// delivered. To be called from time to time until it has succeeded.
    pub(super) fn mend(&self) {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        if self.link.take_delivered() {
            *pause = Pause::default();
        }
        if pause.until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        pause.until = Some(Instant::now() + pause.length);
        pause.length = (pause.length * 2).min(REBUILD_WAIT.1);
        match self.make() {
            Ok(fresh) => {
                self.replace(Some(fresh));
                self.link.mended();
            }
            Err(error) => tracing::error!(%error, "the Kafka producer cannot be made anew; trying again"),
        }
    }

    /// Waits until what was enqueued is delivered, at most for a while. Blocks.
    pub(super) fn flush(&self, longest: Duration) {
        let Ok(producers) = self.producers() else { return };
        for producer in [&producers.prompt, &producers.gathering] {
            if let Err(error) = producer.flush(longest) {
                tracing::warn!(%error, "some records were not delivered before the end; they will be sent again");
            }
        }
    }

    fn producers(&self) -> Result<Arc<Producers>, CourierError> {
        let producers = self.producers.read().unwrap_or_else(PoisonError::into_inner);
        producers.clone().ok_or_else(|| CourierError::Unavailable("the courier has ended".to_owned()))
    }

    fn replace(&self, producers: Option<Arc<Producers>>) {
        let mut current = self.producers.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, producers);
        if old.is_some() {
            // Dropping waits for the library's threads.
            std::thread::spawn(move || drop(old));
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.replace(None);
    }
}

/// Counts the records of one batch that are still on their way.
pub(super) struct Batch {
    /// One more than the records, until the batch is closed.
    left: AtomicUsize,
    failed: AtomicUsize,
    why: Mutex<Option<String>>,
    done: Notify,
    /// Its place among the batches under way.
    _place: Option<OwnedSemaphorePermit>,
}

impl Batch {
    pub(super) fn new(place: Option<OwnedSemaphorePermit>) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(1),
            failed: AtomicUsize::new(0),
            why: Mutex::new(None),
            done: Notify::new(),
            _place: place,
        })
    }

    /// No more records follow.
    pub(super) fn close(&self) {
        self.one_less();
    }

    /// Waits for the reports; to be called once, by one.
    pub(super) async fn delivered(&self) -> Result<(), CourierError> {
        self.done.notified().await;
        match self.why.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(why) => Err(CourierError::Unavailable(why)),
        }
    }

    fn report(&self, error: Option<&KafkaError>) {
        if let Some(error) = error {
            self.failed.fetch_add(1, Ordering::AcqRel);
            let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
            why.get_or_insert_with(|| error.to_string());
        }
        self.one_less();
    }

    fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

/// A batch that nobody waits for says itself what became of it.
impl Drop for Batch {
    fn drop(&mut self) {
        let why = self.why.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = why.take() {
            let failed = self.failed.load(Ordering::Acquire);
            tracing::debug!(%why, failed, "commands not delivered; their time-outs will send them again");
        }
    }
}

/// Takes delivery reports.
struct Context {
    link: LinkContext,
    progress: Arc<Progress>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.link.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.link.error(error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<Batch>) {
        match result {
            Ok(record) => {
                self.link.0.delivered();
                self.progress.delivered(record.topic(), record.partition(), record.offset());
                batch.report(None);
            }
            Err((error, record)) => {
                self.link.0.undelivered(error);
                self.progress.undelivered(record.topic(), error);
                batch.report(Some(error));
            }
        }
    }
}
