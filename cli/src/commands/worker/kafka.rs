//! Commands and domain events from Kafka: each participant is a group of its own.

use amends_sdk::kafka::{self, KafkaConfig};
use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;

use super::{Answerer, Worker, ended, unknown};
use crate::config::Settings;
use crate::error::CliError;

impl Worker<'_> {
    pub(super) fn over_bus(
        &self,
        settings: &Settings,
        hosts: &mut JoinSet<Result<(), CliError>>,
    ) -> Result<(), CliError> {
        let bootstrap = settings.bus.url.as_deref().unwrap_or_default();
        let properties = settings.bus.properties.iter();
        let config = properties
            .fold(KafkaConfig::new(bootstrap).prefix(&settings.bus.prefix), |config, (name, value)| {
                config.option(name, value.expose_secret())
            });
        for name in self.names {
            let name: &'static str = name;
            let answer = self.answerer.clone().run(&[name], self.counters.clone())?;
            let (own, cancel) = (config.clone(), self.cancel.clone());
            hosts.spawn(async move {
                let served = kafka::serve(&own, &[name], cancel, answer).await;
                served.map_err(|error| ended(name, &error))
            });
            if let Answerer::Full(database) = self.answerer {
                let subscriptions = amends_participants::subscriptions_for(&[name], database).map_err(unknown)?;
                let (own, cancel) = (config.clone(), self.cancel.clone());
                hosts.spawn(async move {
                    let subscribed = kafka::subscribe(&own, name, subscriptions, cancel).await;
                    subscribed.map_err(|error| ended(name, &error))
                });
            }
        }
        Ok(())
    }
}
