//! Whether the broker can be reached and takes commands: what `holds` answers, and half of `hindered`.
//!
//! Suspicion holds at once, so that no attempt's clock runs out meanwhile; only what a probe confirms is logged, once
//! when it begins and once when it ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Notify;

use crate::courier::hindered::Hindered;

/// The state of the connection.
#[derive(Default)]
pub(super) struct Link {
    down: AtomicBool,
    broken: AtomicBool,
    troubled: AtomicBool,
    delivered: AtomicBool,
    undelivered: AtomicU64,
    /// The broker was away.
    pub(super) hindered: Hindered,
    state: Mutex<State>,
    /// Told when a check is wanted.
    pub(super) wake: Notify,
}

#[derive(Default)]
struct State {
    /// Why the broker cannot be reached, once that has been logged.
    down: Option<String>,
    /// What the library said last.
    last_error: String,
    /// Participants whose topic takes nothing, and why.
    topics: BTreeMap<String, String>,
}

impl Link {
    /// Whether commands to a participant are held.
    pub(super) fn holds(&self, participant: &str) -> bool {
        self.is_down() || (self.troubled.load(Ordering::Acquire) && self.state().topics.contains_key(participant))
    }

    /// Why they are, for people.
    pub(super) fn held(&self, participant: &str) -> Option<String> {
        let state = self.state();
        if self.is_down() {
            let why = state.down.as_deref().unwrap_or(&state.last_error);
            return Some(format!("the broker cannot be reached: {why}"));
        }
        state.topics.get(participant).cloned()
    }

    /// Whether no broker can be reached, as far as is known.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// The library says that a broker is missing: to be probed.
    pub(super) fn suspect(&self, why: &str) {
        self.state().last_error = why.to_owned();
        if !self.down.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// A probe has failed.
    pub(super) fn confirm_down(&self, why: String) {
        self.down.store(true, Ordering::Release);
        let mut state = self.state();
        if state.down.is_none() {
            tracing::warn!(%why, "the broker cannot be reached; commands are held");
        }
        state.down = Some(why);
    }

    /// The broker has answered.
    pub(super) fn reached(&self) {
        if !self.is_down() {
            return;
        }
        // A suspicion may be of one topic alone.
        let confirmed = self.state().down.take().is_some();
        if confirmed {
            self.hindered.note();
        }
        self.down.store(false, Ordering::Release);
        if confirmed {
            tracing::info!("the broker answers again; commands are no longer held");
        }
    }

    /// Says which participants' topics take nothing at present.
    pub(super) fn set_topics(&self, topics: BTreeMap<String, String>) {
        let mut state = self.state();
        for (participant, why) in &topics {
            if state.topics.get(participant) != Some(why) {
                tracing::warn!(participant, why, "commands are held");
            }
        }
        for participant in state.topics.keys().filter(|participant| !topics.contains_key(*participant)) {
            tracing::info!(participant, "commands are no longer held");
        }
        self.troubled.store(!topics.is_empty(), Ordering::Release);
        state.topics = topics;
    }

    /// A record was delivered. Cheap: said for each.
    pub(super) fn delivered(&self) {
        self.delivered.store(true, Ordering::Relaxed);
        self.reached();
    }

    /// Whether one was since this was asked last.
    pub(super) fn take_delivered(&self) -> bool {
        self.delivered.swap(false, Ordering::Relaxed)
    }

    /// A record was not delivered.
    pub(super) fn undelivered(&self, error: &KafkaError) {
        self.undelivered.fetch_add(1, Ordering::Relaxed);
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::MessageTimedOut
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown,
            ) => self.suspect("records were not acknowledged in time"),
            Some(RDKafkaErrorCode::Fatal) => self.fatal(),
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => self.wake.notify_one(),
            _ => {}
        }
    }

    /// Records that were not delivered so far.
    pub(super) fn undelivered_count(&self) -> u64 {
        self.undelivered.load(Ordering::Relaxed)
    }

    /// The producer is of no use any more.
    fn fatal(&self) {
        if !self.broken.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Whether the producer has to be made anew.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// It has been.
    pub(super) fn mended(&self) {
        self.broken.store(false, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error concerns one record, and would meet it again.
pub(super) fn refuses_record(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{InvalidMessage, InvalidMessageSize, InvalidRecord, MessageSizeTooLarge};
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| matches!(code, InvalidMessage | InvalidMessageSize | InvalidRecord | MessageSizeTooLarge))
}

/// What a client of the library reports goes to the link.
impl ClientContext for LinkContext {
    /// The library repeats itself while a broker is away; the link says once what that means.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.0.suspect(reason),
            Some(RDKafkaErrorCode::Fatal) => {
                tracing::error!(reason, "the Kafka producer failed for good; making a new one");
                self.0.fatal();
            }
            _ => {
                tracing::debug!(%error, reason, "reported by the Kafka client");
                self.0.state().last_error = reason.to_owned();
            }
        }
    }
}

/// The context of a client that reports to a link.
#[derive(Clone)]
pub(super) struct LinkContext(pub(super) std::sync::Arc<Link>);

impl rdkafka::consumer::ConsumerContext for LinkContext {
    fn commit_callback(
        &self,
        result: rdkafka::error::KafkaResult<()>,
        _offsets: &rdkafka::topic_partition_list::TopicPartitionList,
    ) {
        if let Err(error) = result {
            tracing::debug!(%error, "positions not shown to lag tools");
        }
    }
}
