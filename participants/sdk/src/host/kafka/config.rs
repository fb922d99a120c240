//! The clients' settings.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

/// What the engines' own topics are called unless configured otherwise.
const DEFAULT_PREFIX: &str = "amends.";

/// Which Kafka, and how to speak to it.
#[derive(Clone)]
pub struct KafkaConfig {
    bootstrap: String,
    prefix: String,
    options: Vec<(String, String)>,
}

impl KafkaConfig {
    /// Names some of the brokers, `host:port,…`.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), prefix: DEFAULT_PREFIX.to_owned(), options: Vec::new() }
    }

    /// Sets what the names of the engines' own topics, and of the workers' groups, begin with; those of domain events have
    /// none.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Where a participant finds its commands.
    pub(super) fn commands_topic(&self, participant: &str) -> String {
        format!("{}{participant}.commands", self.prefix)
    }

    /// Where records are kept that nobody could deal with.
    pub(super) fn dead_letters_topic(&self) -> String {
        format!("{}dead-letters", self.prefix)
    }

    /// Under which name the workers of a participant share its commands, or, with `.events`, its domain events.
    pub(super) fn group(&self, participant: &str, what: &str) -> String {
        format!("{}{participant}{what}", self.prefix)
    }

    /// Sets one of librdkafka's own options for every client, e.g. `security.protocol`.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }

    /// A member of a group that commits what it says and nothing else.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            // A worker that dies is replaced after this; its sagas wait meanwhile.
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "3000")
            // What is fetched ahead of the worker. Fetching goes on soon after there is room again.
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "10")
            // Topics that are made later are found after this.
            .set("topic.metadata.refresh.interval.ms", "5000");
        self.with_options(config)
    }

    /// A producer whose records arrive once and in order per partition, unless its process dies.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("allow.auto.create.topics", "false")
            // Enough for the replies of one batch to leave together: they are produced in one go.
            .set("linger.ms", "0.5")
            .set("delivery.timeout.ms", "30000")
            // A topic that is unknown for so long does not exist. Must be shorter than the timeout, which is tried again.
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("queue.buffering.max.kbytes", "65536");
        self.with_options(config)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "amends")
            // Brokers that come back are found this soon; sagas wait meanwhile.
            .set("reconnect.backoff.max.ms", "1000");
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    fn with_options(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.options {
            config.set(name, value);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_of_its_own_shares_neither_topics_nor_groups() {
        let config = KafkaConfig::new("127.0.0.1:1");
        assert_eq!(config.commands_topic("payment"), "amends.payment.commands");
        assert_eq!(config.dead_letters_topic(), super::super::DEAD_LETTERS);
        let own = config.prefix("test.");
        assert_eq!(own.commands_topic("payment"), "test.payment.commands");
        assert_eq!(own.dead_letters_topic(), "test.dead-letters");
        assert_eq!(own.group("payment", ".events"), "test.payment.events");
    }
}
