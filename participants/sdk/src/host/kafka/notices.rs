//! Trouble with the brokers: said when it begins and when it is over, not each time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// How long trouble of one kind is not said again.
const QUIET: Duration = Duration::from_secs(60);

/// The log of one client.
pub(super) struct Notices {
    client: String,
    said: Mutex<HashMap<String, Instant>>,
    troubled: AtomicBool,
}

impl Notices {
    pub(super) fn new(client: impl Into<String>) -> Self {
        Self { client: client.into(), said: Mutex::default(), troubled: AtomicBool::new(false) }
    }

    /// Notes trouble; `kind` is what makes it the same trouble as before.
    pub(super) fn trouble(&self, kind: &str, why: &str) {
        self.troubled.store(true, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(kind).is_none_or(|when| when.elapsed() > QUIET) {
            said.insert(kind.to_owned(), Instant::now());
            drop(said);
            tracing::warn!(client = self.client, kind, why, "trouble with Kafka; it goes on as soon as that is over");
        } else {
            drop(said);
            tracing::debug!(client = self.client, kind, why, "trouble with Kafka");
        }
    }

    /// Notes that something has worked.
    pub(super) fn well(&self) {
        if self.troubled.load(Ordering::Relaxed) && self.troubled.swap(false, Ordering::Relaxed) {
            self.said.lock().unwrap_or_else(PoisonError::into_inner).clear();
            tracing::info!(client = self.client, "Kafka works again");
        }
    }

    /// Notes an error of librdkafka.
    pub(super) fn error(&self, error: &KafkaError, why: &str) {
        let kind = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        self.trouble(&format!("{kind:?}"), why);
    }
}

impl ClientContext for Notices {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                self.trouble(fac, log_message);
            }
            _ => tracing::debug!(client = self.client, fac, log_message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Self::error(self, &error, reason);
    }
}
