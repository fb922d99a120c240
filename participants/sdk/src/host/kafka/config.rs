//! The clients' settings.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

/// Which Kafka, and how to speak to it.
#[derive(Clone)]
pub struct KafkaConfig {
    bootstrap: String,
    options: Vec<(String, String)>,
}

impl KafkaConfig {
    /// Names some of the brokers, `host:port,…`.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), options: Vec::new() }
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
