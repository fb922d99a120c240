//! Names, addresses, and every property of the client library that matters, in one place with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use crate::Definitions;

/// What begins the name of each topic that is ours.
pub const DEFAULT_PREFIX: &str = "amends.";

/// What a courier over Kafka needs to know.
#[derive(Clone)]
pub struct KafkaConfig {
    /// Where brokers are found, e.g. `kafka-1:9092,kafka-2:9092`.
    pub bootstrap: String,
    /// Shards, and so partitions of the topic of replies.
    pub shards: u16,
    /// Participants by name, with the commands that they answer to.
    pub participants: BTreeMap<String, BTreeSet<String>>,
    /// Begins the names of our topics and groups; domain events' topics are named by their definitions alone.
    pub prefix: String,
    /// Further properties of librdkafka, e.g. for TLS and SASL. May hold secrets.
    pub properties: BTreeMap<String, String>,
}

/// Property names only: values may be secrets (I37).
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("bootstrap", &self.bootstrap)
            .field("shards", &self.shards)
            .field("participants", &self.participants)
            .field("prefix", &self.prefix)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// Why no client can be made of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaConfigError {
    /// Something here depends on the value of that property.
    #[error("the Kafka property {property} cannot be set, since Amends sets it itself: {reason}")]
    Pinned {
        /// As it was given.
        property: String,
        /// Why it is what it is.
        reason: &'static str,
    },
    /// librdkafka does not take it. Its own words may repeat the value, so they are not repeated.
    #[error("the Kafka property {0} is unknown to librdkafka, or its value is not allowed")]
    Property(String),
    /// librdkafka makes no client.
    #[error("no Kafka client can be made: {0}")]
    Client(String),
}

impl From<KafkaError> for KafkaConfigError {
    fn from(error: KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, _, property, _) => Self::Property(property),
            other => Self::Client(other.to_string()),
        }
    }
}

/// A property that is not up to the user: names (aliases too), value, reason.
struct Pin {
    names: &'static [&'static str],
    value: &'static str,
    reason: &'static str,
}

const fn pin(names: &'static [&'static str], value: &'static str, reason: &'static str) -> Pin {
    Pin { names, value, reason }
}

/// Pinned for all clients.
const ALWAYS: &[Pin] = &[
    pin(&["statistics.interval.ms"], "0", "nobody reads them, and they cost time"),
    pin(
        &["socket.nagle.disable"],
        "true",
        "a lone command waits for no other: Nagle's delay is longer than a hop may take",
    ),
    pin(&["reconnect.backoff.max.ms"], "1000", "a broker that is back is used within a second, not within ten"),
    pin(&["allow.auto.create.topics"], "false", "`amends bus ensure` makes topics, with the right partitions"),
];

/// Pinned for the producer.
const PRODUCER: &[Pin] = &[
    pin(&["enable.idempotence"], "true", "domain events keep their order, and a retry is no repeat (I26)"),
    pin(&["acks", "request.required.acks"], "all", "what one broker's loss undoes was never sent"),
    pin(
        &["delivery.timeout.ms", "message.timeout.ms"],
        "10000",
        "a command's time-out sends it again, so the client need not try for minutes",
    ),
    pin(
        &["linger.ms", "queue.buffering.max.ms"],
        "0",
        "a lane hands over whole batches: waiting for more saves nothing measurable and costs each hop half a ms",
    ),
    pin(&["queue.buffering.max.messages"], "100000", "memory stays bounded (I40)"),
    pin(&["queue.buffering.max.kbytes"], "65536", "memory stays bounded (I40)"),
    pin(&["partitioner"], "murmur2_random", "the same key goes where every other client puts it"),
];

/// How long domain events gather before they leave: at a thousand sagas a second some go together in each partition, and
/// requests, not records, are what they cost the broker.
const GATHER_MS: &str = "50";

/// Pinned for the consumer of replies.
const CONSUMER: &[Pin] = &[
    pin(&["enable.auto.commit"], "false", "the cursor is in the database (I22)"),
    pin(&["enable.auto.offset.store"], "false", "the cursor is in the database (I22)"),
    pin(
        &["auto.offset.reset"],
        "error",
        "a cursor that the log does not hold stops the shard instead of skipping records",
    ),
    pin(&["enable.partition.eof"], "false", "the end of the log is nothing to report"),
    pin(&["isolation.level"], "read_committed", "a reply of a transaction that was undone is none"),
    pin(&["fetch.min.bytes"], "1", "a lone reply waits for no other"),
    pin(
        &["fetch.wait.max.ms"],
        "100",
        "a partition newly assigned is asked for when the fetch under way ends, so this bounds the wait",
    ),
    pin(
        &["fetch.queue.backoff.ms"],
        "10",
        "with a full queue the next fetch is soon: the queue is short, and a second without replies is long",
    ),
    pin(&["queued.min.messages"], "10000", "memory stays bounded (I40)"),
    pin(&["queued.max.messages.kbytes"], "16384", "memory stays bounded (I40)"),
];

/// Set by us from other fields of the configuration.
const OURS: &[Pin] = &[
    pin(&["bootstrap.servers", "metadata.broker.list"], "", "it has a setting of its own"),
    pin(&["group.id"], "", "it is the topics' prefix and `engine`"),
];

/// What a user may set otherwise.
const DEFAULTS: &[(&str, &str)] = &[("client.id", "amends"), ("socket.keepalive.enable", "true")];

impl KafkaConfig {
    /// What serves these definitions: their participants and commands, under the default prefix.
    pub fn new(bootstrap: impl Into<String>, shards: u16, definitions: &Definitions) -> Self {
        let mut participants: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for step in definitions.iter().flat_map(|definition| &definition.steps) {
            participants.entry(step.participant.clone()).or_default().insert(step.command.clone());
        }
        Self {
            bootstrap: bootstrap.into(),
            shards,
            participants,
            prefix: DEFAULT_PREFIX.to_owned(),
            properties: BTreeMap::new(),
        }
    }

    /// Where a participant finds its commands.
    pub fn commands_topic(&self, participant: &str) -> String {
        format!("{}{participant}.commands", self.prefix)
    }

    /// Where replies go; one partition a shard.
    pub fn replies_topic(&self) -> String {
        format!("{}replies", self.prefix)
    }

    /// Where dead letters are shown.
    pub fn dead_letters_topic(&self) -> String {
        format!("{}dead-letters", self.prefix)
    }

    /// Under which name positions are committed for tools that show lag.
    pub fn engine_group(&self) -> String {
        format!("{}engine", self.prefix)
    }

    /// Under which name a participant's workers read their commands.
    pub fn participant_group(&self, participant: &str) -> String {
        format!("{}{participant}", self.prefix)
    }

    /// Whether a broker takes a plain connection, over which topic ids can be asked for.
    pub(super) fn plaintext(&self) -> bool {
        self.properties.get("security.protocol").is_none_or(|protocol| protocol.eq_ignore_ascii_case("plaintext"))
    }

    /// For the producer.
    pub(super) fn producer(&self) -> Result<ClientConfig, KafkaConfigError> {
        self.client(PRODUCER)
    }

    /// For what nobody waits for: it gathers before it sends.
    pub(super) fn gathering_producer(&self) -> Result<ClientConfig, KafkaConfigError> {
        let mut config = self.producer()?;
        config.set("linger.ms", GATHER_MS);
        Ok(config)
    }

    /// For the consumer of replies.
    pub(super) fn consumer(&self) -> Result<ClientConfig, KafkaConfigError> {
        let mut config = self.client(CONSUMER)?;
        config.set("group.id", self.engine_group());
        Ok(config)
    }

    /// For tools: no property of ours but those that every client has.
    pub(super) fn plain(&self) -> Result<ClientConfig, KafkaConfigError> {
        self.client(&[])
    }

    fn client(&self, pins: &[Pin]) -> Result<ClientConfig, KafkaConfigError> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in DEFAULTS {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            let mut pinned = [ALWAYS, PRODUCER, CONSUMER, OURS].into_iter().flatten();
            if let Some(pin) = pinned.find(|pin| pin.names.contains(&name.as_str())) {
                return Err(KafkaConfigError::Pinned { property: name.clone(), reason: pin.reason });
            }
            config.set(name, value);
        }
        for pin in ALWAYS.iter().chain(pins) {
            config.set(pin.names[0], pin.value);
        }
        config.set("bootstrap.servers", &self.bootstrap);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(property: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new("127.0.0.1:1", 4, &Definitions::default());
        config.properties.insert(property.to_owned(), value.to_owned());
        config
    }

    #[test]
    fn what_the_guarantees_rest_on_cannot_be_set() {
        for property in ["acks", "request.required.acks", "isolation.level", "auto.offset.reset", "group.id"] {
            let refused = config(property, "x").producer().unwrap_err();
            assert!(matches!(&refused, KafkaConfigError::Pinned { .. }), "{refused}");
            assert!(refused.to_string().contains(property), "{refused}");
        }
    }

    #[test]
    fn an_unknown_property_is_named_and_its_value_is_not() {
        let config = config("sasl.passwort", "hunter2").producer().unwrap();
        let refused = KafkaConfigError::from(config.create_native_config().err().unwrap());
        assert_eq!(refused, KafkaConfigError::Property("sasl.passwort".to_owned()));
        assert!(!format!("{:?}", self::config("sasl.password", "hunter2")).contains("hunter2"));
    }

    #[test]
    fn every_pin_is_known_to_the_library() {
        let config = config("client.id", "me");
        for client in [config.producer().unwrap(), config.consumer().unwrap(), config.plain().unwrap()] {
            client.create_native_config().unwrap();
        }
    }
}
