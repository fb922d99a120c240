//! The bus as the configuration names it: its topics, made and compared.

use std::collections::{BTreeMap, BTreeSet};

use amends_engine::Definitions;
use amends_engine::courier::kafka::KafkaConfig;
use amends_engine::courier::kafka::admin::{self, BusError, EnsureOptions, TopicReport, TopicState};
use amends_engine::store::{Storage, TopicBook};
use secrecy::ExposeSecret as _;

use crate::config::Settings;
use crate::error::{CliError, Exit};
use crate::patience;

/// The client's settings, for the participants that are reached over the bus.
pub(crate) fn config(
    settings: &Settings,
    shards: u16,
    participants: BTreeMap<String, BTreeSet<String>>,
) -> Result<KafkaConfig, CliError> {
    let Some(bootstrap) = settings.bus.url.clone() else {
        return Err(CliError::new(Exit::Usage, "no bus is named")
            .why("neither --bus nor AMENDS_BUS nor bus.url in a file says which")
            .next("amends bus topics --bus 127.0.0.1:9092"));
    };
    let properties = settings.bus.properties.iter();
    let properties = properties.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect();
    Ok(KafkaConfig { bootstrap, shards, participants, prefix: settings.bus.prefix.clone(), properties })
}

/// Makes what is missing and writes it down; a broker that is not up yet is waited for.
pub(crate) async fn ensure(
    config: &KafkaConfig,
    book: &dyn TopicBook,
    definitions: &Definitions,
    options: EnsureOptions,
) -> Result<Vec<TopicReport>, CliError> {
    let wanted = admin::wanted(config, definitions);
    let ensure = || admin::ensure(config, book, &wanted, options);
    let is_down = |error: &BusError| matches!(error, BusError::Broker(_));
    patience::until_up("the bus", ensure, is_down).await.map_err(|error| unusable(config, &error))
}

/// The first topic that is not as it should be, as a failure.
pub(crate) fn differing(reports: &[TopicReport]) -> Option<CliError> {
    reports.iter().find_map(|report| match &report.state {
        TopicState::Differs { why, next } => Some(
            CliError::new(Exit::Refused, format!("the topic {} is not what it should be", report.name))
                .why(why)
                .next(next.clone()),
        ),
        _ => None,
    })
}

/// Compares the topics that are recorded with those that are needed, without asking the broker: an engine must be able
/// to start while it is away. Whether they are still the same ones, the courier watches.
pub(crate) async fn check_recorded(
    config: &KafkaConfig,
    storage: &Storage,
    definitions: &Definitions,
) -> Result<(), CliError> {
    let recorded = storage.topics.topics().await.map_err(|error| {
        CliError::new(Exit::Unreachable, "the recorded topics cannot be read").why(error).next("amends doctor")
    })?;
    let missing =
        admin::wanted(config, definitions).into_iter().find(|topic| recorded.iter().all(|row| row.name != topic.name));
    match missing {
        None => Ok(()),
        Some(topic) => Err(CliError::new(Exit::Refused, format!("the topic {} has not been made yet", topic.name))
            .why("the database does not know it")
            .next("amends bus ensure, or amends serve --migrate")),
    }
}

/// What to do about a bus that cannot be used.
pub(crate) fn unusable(config: &KafkaConfig, error: &BusError) -> CliError {
    let (exit, next) = match error {
        BusError::Config(_) => (Exit::Usage, "amends config explain bus.properties"),
        BusError::Broker(_) => (Exit::Unreachable, "amends doctor"),
        BusError::Book(_) => (Exit::Unreachable, "amends doctor"),
    };
    CliError::new(exit, format!("cannot use the bus at {}", config.bootstrap)).why(error).next(next)
}
