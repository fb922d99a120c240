//! What the engine counts, and under which names: all of them stand here.

use amends_core::{Rejected, Status};
use prometheus::{Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// The counters of one engine. Cheap to touch: a round of a lane touches each once or per reply, never per byte.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) accepted: IntCounter,
    pub(crate) transitions: IntCounter,
    pub(crate) commands: IntCounter,
    pub(crate) commit_failures: IntCounter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) round_transitions: Histogram,
    in_flight: IntGauge,
    ended: IntCounterVec,
    replies: IntCounterVec,
}

/// What became of a reply or a record (I23). Those that came the wrong way are counted by their courier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Applied,
    Duplicate,
    Stale,
    DeadLettered,
}

impl Verdict {
    pub(crate) const fn of(result: &Result<(), Rejected>) -> Self {
        match result {
            Ok(()) => Self::Applied,
            Err(Rejected::Duplicate) => Self::Duplicate,
            Err(_) => Self::Stale,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::DeadLettered => "dead-lettered",
        }
    }
}

impl Metrics {
    /// Registers everything on a registry of its own.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let by_label = |name: &str, help: &str, label: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let in_flight = IntGauge::new("amends_sagas_in_flight", "Unfinished sagas in memory.")?;
        registry.register(Box::new(in_flight.clone()))?;
        Ok(Self {
            accepted: counter("amends_sagas_accepted_total", "Sagas accepted.")?,
            transitions: counter("amends_transitions_total", "Journal rows committed.")?,
            commands: counter("amends_commands_total", "Commands handed to couriers, repeats included.")?,
            commit_failures: counter("amends_commit_failures_total", "Commits that failed and were tried again.")?,
            commit_seconds: histogram(
                "amends_commit_seconds",
                "Time that one commit took.",
                prometheus::exponential_buckets(0.000_25, 2.0, 14)?,
            )?,
            round_transitions: histogram(
                "amends_round_transitions",
                "Journal rows of one commit.",
                prometheus::exponential_buckets(1.0, 2.0, 12)?,
            )?,
            in_flight,
            ended: by_label("amends_sagas_ended_total", "Sagas that ended or parked, by status.", "status")?,
            replies: by_label("amends_replies_total", "Replies, by verdict (I23).", "verdict")?,
            registry,
        })
    }

    pub(crate) fn ended(&self, status: Status) {
        self.ended.with_label_values(&[status.as_str()]).inc();
    }

    pub(crate) fn verdict(&self, verdict: Verdict) {
        self.replies.with_label_values(&[verdict.as_str()]).inc();
    }

    /// Everything in the Prometheus text format, with the number of sagas in memory as of now.
    pub(crate) fn text(&self, in_flight: usize) -> Result<String, prometheus::Error> {
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
