//! Domain events to the participants that subscribe to them.

use std::sync::Arc;
use std::time::Duration;

use amends_core::DomainEvent;
use amends_core::record::{self, InvalidRecord};
use backon::{ExponentialBuilder, Retryable};
use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::commands::{leave, spawn};
use super::config::KafkaConfig;
use super::offsets::Ticket;
use super::outgoing::{DeadLetter, Outgoing};
use super::poison::Pairs;
use super::poll::{Intake, PollThread};
use super::sender::{Outbox, Sender};
use super::tracker::Tracker;
use super::{GRACE, WorkerError};
use crate::subscription::Subscriptions;

/// Most events delivered in one transaction.
const BATCH_MAX: usize = 256;
/// Events that wait for their delivery.
const QUEUE: usize = 1024;
/// How long events gather. They share a database with the steps, whose sagas are waited for; nobody waits for these.
const GATHER: Duration = Duration::from_millis(20);
/// The wait for a database that failed.
const DATABASE_RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times();

/// The codes of the dead letters.
const INVALID_EVENT: &str = "INVALID_EVENT";
const EVENT_NOT_TAKEN: &str = "EVENT_NOT_TAKEN";

/// Delivers the domain events that a participant's subscribers want, until `cancel`.
///
/// Workers of the same participant share the events, those of one saga in order. An event that its subscriber cannot
/// take becomes a dead letter after some tries, and the others go on. Topics that do not exist yet are waited for.
pub async fn subscribe(
    config: &KafkaConfig,
    participant: &str,
    subscriptions: Subscriptions,
    cancel: CancellationToken,
) -> Result<(), WorkerError> {
    let topics = subscriptions.topics();
    if topics.is_empty() {
        cancel.cancelled().await;
        return Ok(());
    }
    let tracker = Arc::new(Tracker::default());
    let group = config.group(participant, ".events");
    let (outbox, sender) = Sender::new(config, Arc::clone(&tracker), &group).map_err(WorkerError::Configuration)?;
    let (items, queue) = mpsc::channel(QUEUE);
    let thread = PollThread::start(config.consumer(&group), topics, Arc::clone(&tracker), Events(Some(items)));
    let mut threads = [thread.map_err(WorkerError::Configuration)?];
    let sending = spawn(sender);
    let delivery = Delivery { subscriptions, tracker, outbox };
    let ended = tokio::select! {
        () = delivery.run(queue, &cancel) => Ok(()),
        () = threads[0].ended() => Err(WorkerError::Ended("the consumer")),
    };
    threads[0].drain();
    if timeout_at(Instant::now() + GRACE, delivery.outbox.flushed()).await.is_err() {
        tracing::warn!("not all dead letters were delivered in time; their events come again");
    }
    leave(&mut threads).await;
    drop(sending);
    ended
}

/// A record as it was read.
struct Item {
    event: Result<DomainEvent, InvalidRecord>,
    /// For the case that nobody can take it.
    record: DeadLetter,
    ticket: Ticket,
}

/// Reads events.
struct Events(Option<mpsc::Sender<Item>>);

impl Intake for Events {
    type Item = Item;

    fn read(&mut self, record: &BorrowedMessage<'_>, ticket: Ticket) -> Item {
        let event = Pairs::read(record.headers())
            .and_then(|pairs| record::read_event(record.topic(), |name: &str| pairs.get(name), record.payload()));
        Item { event, record: DeadLetter::keep(record), ticket }
    }

    fn offer(&mut self, item: Item) -> Result<(), Item> {
        let Some(items) = &self.0 else { return Ok(()) };
        match items.try_send(item) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(item)) => Err(item),
        }
    }

    fn close(&mut self) {
        self.0 = None;
    }
}

struct Delivery {
    subscriptions: Subscriptions,
    tracker: Arc<Tracker>,
    outbox: Outbox,
}

impl Delivery {
    async fn run(&self, mut queue: mpsc::Receiver<Item>, cancel: &CancellationToken) {
        let mut items = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                received = queue.recv_many(&mut items, 1) => if received == 0 { return },
                () = cancel.cancelled() => return,
            }
            tokio::time::sleep(GATHER).await;
            while items.len() < BATCH_MAX
                && let Ok(item) = queue.try_recv()
            {
                items.push(item);
            }
            tokio::select! {
                () = self.deliver(std::mem::take(&mut items)) => {}
                // What is not delivered has no effect, and comes again.
                () = cancel.cancelled() => return,
            }
        }
    }

    async fn deliver(&self, items: Vec<Item>) {
        let (mut events, mut records) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for Item { event, record, ticket } in items {
            match event {
                Ok(event) => {
                    events.push(event);
                    records.push((record, ticket));
                }
                Err(why) => {
                    let (topic, partition, offset) = (&ticket.topic, ticket.partition, ticket.offset);
                    tracing::error!(%topic, partition, offset, %why, "a record is no event; it becomes a dead letter");
                    self.pass_over(record, ticket, INVALID_EVENT, &why.to_string()).await;
                }
            }
        }
        let deliver = || self.subscriptions.deliver_or_pass_over(&events);
        let notify = |error: &_, _| tracing::warn!(%error, "events are not delivered; trying again");
        let passed_over = match deliver.retry(DATABASE_RETRY).notify(notify).await {
            Ok(passed_over) => passed_over,
            // There is no last try.
            Err(error) => return tracing::error!(%error, "events are not delivered; they come again"),
        };
        let mut passed_over = passed_over.into_iter().peekable();
        for (index, (record, ticket)) in records.into_iter().enumerate() {
            match passed_over.next_if(|passed| passed.index == index) {
                Some(passed) => self.pass_over(record, ticket, EVENT_NOT_TAKEN, &passed.why).await,
                None => self.tracker.finish(&ticket),
            }
        }
    }

    async fn pass_over(&self, record: DeadLetter, ticket: Ticket, code: &str, why: &str) {
        let letter = record.because(&ticket, code, why);
        self.outbox.send(Outgoing::dead_letter(letter, ticket)).await;
    }
}
