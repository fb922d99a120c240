//! Sends what leaves a worker, and hears from the brokers what has arrived: "sent" is a delivery report.
//!
//! Nothing waits for a single record. A batch is produced in one go; each report finishes the record that caused it,
//! on the producer's own thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::IN_HAND_MAX;
use super::config::KafkaConfig;
use super::notices::Notices;
use super::offsets::Ticket;
use super::outgoing::{Encoded, Outgoing};
use super::tracker::Tracker;
use crate::guard::now;

/// Most records produced before the queue is looked at again.
const BATCH_MAX: usize = 1024;
/// The wait for room in the producer's queue, which empties in batches.
const FULL_WAIT: Duration = Duration::from_millis(5);
/// How often a topic may say that it will not have a record, and the wait between: a topic that was just made may not be
/// known everywhere.
const REFUSED_MAX: u32 = 3;
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// How often the end looks whether all has arrived.
const FLUSH_POLL: Duration = Duration::from_millis(2);
/// The wait before a producer that failed for good is made anew.
const REBUILD: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(200))
    .with_max_delay(Duration::from_secs(10))
    .without_max_times();

/// The way to a [`Sender`].
#[derive(Clone)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Box<Outgoing>>,
    /// Given away and not yet delivered.
    unsent: Arc<AtomicUsize>,
}

/// Produces what its [`Outbox`] is given.
pub(super) struct Sender {
    queue: mpsc::Receiver<Box<Outgoing>>,
    /// Those that wait for another try, by their time.
    later: VecDeque<Box<Outgoing>>,
    config: ClientConfig,
    /// The topic of the dead letters.
    dead_letters: String,
    deliveries: Deliveries,
    producer: ThreadedProducer<Deliveries>,
}

/// What the producer calls back.
#[derive(Clone)]
struct Deliveries {
    outbox: Outbox,
    tracker: Arc<Tracker>,
    notices: Arc<Notices>,
}

impl Outbox {
    /// Gives a record away. Everything in hand leaves once, so that the queue has room for it.
    pub(super) async fn send(&self, outgoing: Box<Outgoing>) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        // Closed only when the worker is gone, and the command comes again to another.
        let _ = self.queue.send(outgoing).await;
    }

    /// Gives a record away, or back if there is no room.
    pub(super) fn try_send(&self, outgoing: Box<Outgoing>) -> Result<(), Box<Outgoing>> {
        match self.queue.try_send(outgoing) {
            Ok(()) => {
                self.unsent.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(back)) => Err(back),
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Returns when all that was given away has arrived.
    pub(super) async fn flushed(&self) {
        while self.unsent.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(FLUSH_POLL).await;
        }
    }
}

impl Sender {
    /// Makes the producer. Fails if it refuses its configuration.
    pub(super) fn new(config: &KafkaConfig, tracker: Arc<Tracker>, name: &str) -> Result<(Outbox, Self), KafkaError> {
        let (sender, queue) = mpsc::channel(IN_HAND_MAX);
        let outbox = Outbox { queue: sender, unsent: Arc::default() };
        let notices = Arc::new(Notices::new(format!("{name} (replies)")));
        let deliveries = Deliveries { outbox: outbox.clone(), tracker, notices };
        let (dead_letters, config) = (config.dead_letters_topic(), config.producer());
        let producer = config.create_with_context(deliveries.clone())?;
        Ok((outbox, Self { queue, later: VecDeque::new(), config, dead_letters, deliveries, producer }))
    }

    /// Sends until `end`; what has not arrived by then is lost, and its commands come again.
    pub(super) async fn run(mut self, end: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let next = self.later.front().and_then(|outgoing| outgoing.not_before);
            tokio::select! {
                _ = self.queue.recv_many(&mut batch, BATCH_MAX) => {}
                () = tokio::time::sleep_until(next.map_or_else(Instant::now, Instant::from_std)), if next.is_some() => {
                    if let Some(mut due) = self.later.pop_front() {
                        due.not_before = None;
                        batch.push(due);
                    }
                }
                () = end.cancelled() => return,
            }
            for outgoing in batch.drain(..) {
                if outgoing.not_before.is_some() {
                    self.later.push_back(outgoing);
                } else {
                    produce(&self.producer, &self.deliveries, &self.dead_letters, outgoing).await;
                }
            }
            if let Some((code, why)) = self.producer.client().fatal_error() {
                tracing::error!(%code, why, "the Kafka producer failed; making a new one");
                self.rebuild().await;
            }
        }
    }

    /// Replaces the producer; what the old one had is reported as not delivered, and so produced again.
    async fn rebuild(&mut self) {
        for wait in REBUILD.build() {
            tokio::time::sleep(wait).await;
            match self.config.create_with_context(self.deliveries.clone()) {
                Ok(producer) => {
                    let old = std::mem::replace(&mut self.producer, producer);
                    // It waits for the reports.
                    let _ = tokio::task::spawn_blocking(move || drop(old)).await;
                    return;
                }
                Err(error) => self.deliveries.notices.error(&error, "a new Kafka producer was not to be had"),
            }
        }
    }
}

async fn produce(
    producer: &ThreadedProducer<Deliveries>,
    deliveries: &Deliveries,
    dead_letters: &str,
    outgoing: Box<Outgoing>,
) {
    let Encoded { topic, partition, key, value, headers } = outgoing.encode(now());
    let mut record: BaseRecord<'_, [u8], [u8], Box<Outgoing>> =
        BaseRecord::with_opaque_to(topic.name(dead_letters), outgoing).headers(headers);
    record.partition = partition;
    record.key = key.as_deref();
    record.payload = value.as_bytes();
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                tokio::time::sleep(FULL_WAIT).await;
            }
            Err((error, back)) => return deliveries.not_delivered(back.delivery_opaque, &error),
        }
    }
}

/// What a record that did not arrive calls for.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    /// The brokers could not be reached, or the producer was given up: produce it again.
    Again,
    /// The topic does not take it.
    Refused,
    /// No topic will ever take it.
    TooLarge,
}

fn judge(code: RDKafkaErrorCode) -> Failed {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => Failed::TooLarge,
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic
        | Code::InvalidArgument
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation
        | Code::TopicAuthorizationFailed => Failed::Refused,
        _ => Failed::Again,
    }
}

impl Deliveries {
    fn finish(&self, ticket: &Ticket) {
        self.tracker.finish(ticket);
        self.outbox.unsent.fetch_sub(1, Ordering::Relaxed);
    }

    fn not_delivered(&self, mut outgoing: Box<Outgoing>, error: &KafkaError) {
        // A name that holds a zero byte is the only other error that there is.
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::InvalidTopic);
        let failed = judge(code);
        if failed == Failed::Again {
            self.notices.error(error, &error.to_string());
            return self.again(outgoing);
        }
        outgoing.refused += 1;
        if failed == Failed::Refused && outgoing.refused < REFUSED_MAX {
            outgoing.not_before = Some(std::time::Instant::now() + REFUSED_WAIT);
            return self.again(outgoing);
        }
        let ticket = outgoing.ticket.clone();
        let (topic, partition, offset) = (&ticket.topic, ticket.partition, ticket.offset);
        match outgoing.into_dead_letter(&error.to_string(), failed == Failed::TooLarge, now()) {
            Some(letter) => {
                tracing::error!(%topic, partition, offset, %error, "a reply cannot be delivered; it becomes a dead letter");
                self.again(letter);
            }
            None => {
                tracing::error!(%topic, partition, offset, %error, "a dead letter is not taken; the record is passed over");
                self.finish(&ticket);
            }
        }
    }

    fn again(&self, outgoing: Box<Outgoing>) {
        // The queue has room for everything in hand. Should it not, the offset stays, and the command comes again.
        let _ = self.outbox.queue.try_send(outgoing);
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        self.notices.log(level, fac, log_message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.notices.error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Outgoing>;

    fn delivery(&self, result: &DeliveryResult<'_>, outgoing: Box<Outgoing>) {
        match result {
            Ok(_) => {
                self.notices.well();
                self.finish(&outgoing.ticket);
            }
            Err((error, _)) => self.not_delivered(outgoing, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_topic_will_not_have_is_told_from_what_could_not_be_brought() {
        assert_eq!(judge(RDKafkaErrorCode::MessageTimedOut), Failed::Again);
        assert_eq!(judge(RDKafkaErrorCode::PurgeInflight), Failed::Again);
        assert_eq!(judge(RDKafkaErrorCode::UnknownPartition), Failed::Refused);
        assert_eq!(judge(RDKafkaErrorCode::MessageSizeTooLarge), Failed::TooLarge);
    }
}
