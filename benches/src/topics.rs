//! What earlier runs have left on the broker: with thousands of partitions more it is not the same broker.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use crate::BenchError;

const PATIENCE: Duration = Duration::from_secs(20);

/// Deletes the topics whose names begin so, and waits until they are gone.
pub(crate) fn delete(bootstrap: &str, prefixes: &[&str]) -> Result<(), BenchError> {
    let failed = |error: rdkafka::error::KafkaError| BenchError::Process(format!("Kafka: {error}"));
    let mut config = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> =
        config.set("bootstrap.servers", bootstrap).create().map_err(failed)?;
    loop {
        let metadata = admin.inner().fetch_metadata(None, PATIENCE).map_err(failed)?;
        let ours = |name: &&str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let names: Vec<&str> = metadata.topics().iter().map(|topic| topic.name()).filter(ours).collect();
        if names.is_empty() {
            return Ok(());
        }
        let deleted = futures::executor::block_on(admin.delete_topics(&names, &AdminOptions::new()));
        deleted.map_err(failed)?;
        std::thread::sleep(Duration::from_millis(200));
    }
}
