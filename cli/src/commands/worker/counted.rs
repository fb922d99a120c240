//! Counts what a worker answers.

use std::sync::Arc;

use amends_core::{Operation, Outcome, Reply};
use amends_sdk::ReplySink;
use async_trait::async_trait;
use prometheus::{IntCounterVec, Opts, Registry, TextEncoder};

/// What was answered so far, by step, operation and outcome.
#[derive(Clone)]
pub(super) struct Counters {
    registry: Registry,
    replies: IntCounterVec,
}

impl Counters {
    pub(super) fn new() -> Self {
        let opts = Opts::new("amends_participant_replies_total", "Commands answered, by step, operation and outcome.");
        let labels = ["step", "operation", "outcome"];
        let replies = IntCounterVec::new(opts, &labels).unwrap_or_else(|error| unreachable!("fixed names: {error}"));
        let registry = Registry::new();
        // The only collector of a fresh registry cannot collide.
        let _ = registry.register(Box::new(replies.clone()));
        Self { registry, replies }
    }

    fn count(&self, reply: &Reply) {
        let operation = match reply.operation {
            Operation::Execute => "execute",
            Operation::Compensate => "compensate",
        };
        let outcome = match reply.outcome {
            Outcome::Done(_) => "done",
            Outcome::Refused(_) => "refused",
            Outcome::TryAgain { .. } => "try-again",
        };
        self.replies.with_label_values(&[reply.step.as_str(), operation, outcome]).inc();
    }

    /// In the Prometheus text format.
    pub(super) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// A way of replies on which they are counted.
pub(super) struct Counted {
    inner: Arc<dyn ReplySink>,
    counters: Counters,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn ReplySink>, counters: Counters) -> Self {
        Self { inner, counters }
    }
}

#[async_trait]
impl ReplySink for Counted {
    async fn send(&self, replies: Vec<Reply>) {
        replies.iter().for_each(|reply| self.counters.count(reply));
        self.inner.send(replies).await;
    }

    fn suspended(&self, away: bool) {
        self.inner.suspended(away);
    }
}
