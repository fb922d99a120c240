//! The thread that polls: it reads records, hands them over, and commits what is dealt with.
//!
//! It never stops polling for long: a consumer that does loses its partitions. When there is no room for what it reads
//! it waits a little, then pauses the partitions and polls on. So what is in memory stays bounded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::IN_HAND_MAX;
use super::notices::Notices;
use super::offsets::Ticket;
use super::tracker::Tracker;

/// Longest wait for a record: how late the thread sees that it is to stop.
const POLL: Duration = Duration::from_millis(100);
/// The same while it waits for room, or for the end.
const POLL_SHORT: Duration = Duration::from_millis(10);
/// How long it waits for room before it pauses the partitions; pausing throws away what was fetched ahead.
const STALL_MAX: Duration = Duration::from_millis(500);
/// How often it looks for room meanwhile.
const STALL_POLL: Duration = Duration::from_millis(1);
/// How often offsets are committed. What is answered twice after a crash is harmless, so that this may be rare.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// The wait before a client that failed for good is made anew.
const REBUILD: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(200))
    .with_max_delay(Duration::from_secs(10))
    .without_max_times();

/// Takes records off the thread's hands.
pub(super) trait Intake: Send + 'static {
    /// What a record becomes.
    type Item: Send;

    /// Reads a record; whoever deals with it finishes the ticket.
    fn read(&mut self, record: &BorrowedMessage<'_>, ticket: Ticket) -> Self::Item;

    /// Hands an item over, or gives it back when there is no room for it now.
    fn offer(&mut self, item: Self::Item) -> Result<(), Self::Item>;

    /// Hands nothing over any more.
    fn close(&mut self);
}

/// The handle on a thread that polls. Dropped, it ends the thread, which leaves its group.
pub(super) struct PollThread {
    drain: CancellationToken,
    end: CancellationToken,
    ended: oneshot::Receiver<()>,
}

/// What one consumer is made from.
struct Source {
    config: ClientConfig,
    topics: Vec<String>,
    tracker: Arc<Tracker>,
    notices: Arc<Notices>,
    drain: CancellationToken,
    end: CancellationToken,
}

impl PollThread {
    /// Starts the thread. Fails if the client refuses its configuration.
    pub(super) fn start<I: Intake>(
        config: ClientConfig,
        topics: Vec<String>,
        tracker: Arc<Tracker>,
        mut intake: I,
    ) -> Result<Self, KafkaError> {
        let notices = Arc::new(Notices::new(config.get("group.id").unwrap_or_default()));
        let (drain, end) = (CancellationToken::new(), CancellationToken::new());
        let source = Source { config, topics, tracker, notices, drain: drain.clone(), end: end.clone() };
        let first = source.consumer()?;
        let (ending, ended) = oneshot::channel();
        let run = move || {
            // Dropped, it says that the thread has ended.
            let _ending: oneshot::Sender<()> = ending;
            source.run(first, &mut intake);
        };
        let started = std::thread::Builder::new().name("amends-poll".into()).spawn(run);
        started.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { drain, end, ended })
    }

    /// Has it fetch and hand over nothing more; it keeps its partitions, and commits as before.
    pub(super) fn drain(&self) {
        self.drain.cancel();
    }

    /// Has it commit and leave its group, and waits for that.
    pub(super) async fn end(&mut self) {
        self.drain();
        self.end.cancel();
        self.ended().await;
    }

    /// Returns when the thread has ended; it does not do so by itself.
    pub(super) async fn ended(&mut self) {
        // The error is the news.
        let _ = (&mut self.ended).await;
    }
}

impl Drop for PollThread {
    fn drop(&mut self) {
        self.drain.cancel();
        self.end.cancel();
    }
}

impl Source {
    fn consumer(&self) -> KafkaResult<BaseConsumer<Context>> {
        let context = Context { tracker: Arc::clone(&self.tracker), notices: Arc::clone(&self.notices) };
        let consumer: BaseConsumer<Context> = self.config.create_with_context(context)?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(consumer)
    }

    /// Polls until the end, with a new consumer whenever one has failed for good.
    fn run<I: Intake>(self, first: BaseConsumer<Context>, intake: &mut I) {
        let mut waits = REBUILD.build();
        let mut consumer = Ok(first);
        loop {
            let failed = match consumer {
                Ok(consumer) => {
                    let began = Instant::now();
                    let Err(error) = Session::new(&self, &consumer, intake).run() else { return };
                    if began.elapsed() > Duration::from_secs(60) {
                        waits = REBUILD.build();
                    }
                    error
                }
                Err(error) => error,
            };
            tracing::error!(group = self.config.get("group.id"), error = %failed, "the Kafka consumer failed; making a new one");
            self.tracker.forget_topics(&self.topics);
            let wait = Instant::now() + waits.next().unwrap_or(POLL);
            while Instant::now() < wait && !self.end.is_cancelled() {
                std::thread::sleep(POLL_SHORT);
            }
            if self.end.is_cancelled() {
                return;
            }
            consumer = self.consumer();
        }
    }
}

/// The life of one consumer.
struct Session<'s, I: Intake> {
    source: &'s Source,
    consumer: &'s BaseConsumer<Context>,
    intake: &'s mut I,
    /// What there was no room for; while it holds anything, the partitions are paused.
    waiting: VecDeque<I::Item>,
    committed_at: Instant,
}

impl<'s, I: Intake> Session<'s, I> {
    fn new(source: &'s Source, consumer: &'s BaseConsumer<Context>, intake: &'s mut I) -> Self {
        Self { source, consumer, intake, waiting: VecDeque::new(), committed_at: Instant::now() }
    }

    /// Ends in good order, or with the error for which there must be a new consumer.
    fn run(mut self) -> Result<(), KafkaError> {
        while !self.source.drain.is_cancelled() {
            self.try_waiting();
            let wait = if self.waiting.is_empty() { POLL } else { POLL_SHORT };
            if let Some(record) = self.poll(wait)? {
                let ticket = self.source.tracker.take(record.topic(), record.partition(), record.offset());
                let item = self.intake.read(&record, ticket);
                self.hand_over(item);
            }
            self.commit_now_and_then();
        }
        self.intake.close();
        self.waiting.clear();
        self.pause();
        while !self.source.end.is_cancelled() {
            if self.poll(POLL_SHORT)?.is_some() {
                // Of a partition that came just now; it is not in hand, and so nobody takes it for done.
                self.pause();
            }
            self.commit_now_and_then();
        }
        if let Err(error) = self.source.tracker.commit(self.consumer, &self.source.topics, CommitMode::Sync) {
            self.source.notices.error(&error, "the last offsets were not committed; what they cover comes again");
        }
        Ok(())
    }

    fn poll(&self, wait: Duration) -> Result<Option<BorrowedMessage<'s>>, KafkaError> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(record)) => {
                self.source.notices.well();
                Ok(Some(record))
            }
            Some(Err(error)) => {
                if matches!(error, KafkaError::MessageConsumptionFatal(_))
                    || self.consumer.client().fatal_error().is_some()
                {
                    return Err(error);
                }
                self.source.notices.error(&error, &error.to_string());
                Ok(None)
            }
        }
    }

    fn hand_over(&mut self, item: I::Item) {
        let mut item = item;
        if self.waiting.is_empty() {
            let give_up = Instant::now() + STALL_MAX;
            loop {
                match self.offer(item) {
                    Ok(()) => return,
                    Err(back) => item = back,
                }
                if Instant::now() > give_up || self.source.drain.is_cancelled() {
                    break;
                }
                std::thread::sleep(STALL_POLL);
            }
        }
        // More than one comes only when partitions are assigned while others are paused.
        self.waiting.push_back(item);
        self.pause();
    }

    fn offer(&mut self, item: I::Item) -> Result<(), I::Item> {
        if self.source.tracker.in_hand() > IN_HAND_MAX {
            return Err(item);
        }
        self.intake.offer(item)
    }

    fn try_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        while let Some(item) = self.waiting.pop_front() {
            if let Err(item) = self.offer(item) {
                self.waiting.push_front(item);
                return;
            }
        }
        self.of_assignment("resume", |assigned| self.consumer.resume(assigned));
    }

    fn pause(&self) {
        self.of_assignment("pause", |assigned| self.consumer.pause(assigned));
    }

    fn of_assignment(&self, what: &str, act: impl FnOnce(&TopicPartitionList) -> KafkaResult<()>) {
        if let Err(error) = self.consumer.assignment().and_then(|assigned| act(&assigned)) {
            self.source.notices.trouble(what, &error.to_string());
        }
    }

    fn commit_now_and_then(&mut self) {
        if self.committed_at.elapsed() < COMMIT_EVERY {
            return;
        }
        self.committed_at = Instant::now();
        if let Err(error) = self.source.tracker.commit(self.consumer, &self.source.topics, CommitMode::Async) {
            self.source.notices.error(&error, "offsets were not committed");
        }
    }
}

/// What the consumer calls back.
struct Context {
    tracker: Arc<Tracker>,
    notices: Arc<Notices>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        self.notices.log(level, fac, log_message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.notices.error(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(partitions) => {
                // Partitions that were lost are another's already.
                if !consumer.assignment_lost()
                    && let Err(error) = self.tracker.commit_these(consumer, partitions)
                {
                    self.notices.error(&error, "offsets were not committed; what they cover comes again");
                }
                self.tracker.forget(partitions);
            }
            Rebalance::Assign(partitions) => self.tracker.forget(partitions),
            Rebalance::Error(error) => self.notices.error(error, "a rebalance failed"),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // A partition that was given away while it was paused, and comes back, is still paused.
        if let Rebalance::Assign(partitions) = rebalance
            && let Err(error) = consumer.resume(partitions)
        {
            self.notices.error(&error, "partitions that were assigned are not read");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            self.notices.error(&error, "offsets were not committed");
            self.tracker.uncommit();
        }
    }
}
