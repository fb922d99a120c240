//! The ways out of an engine, put together by the bindings of the participants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amends_engine::courier::by_participant::{ByParticipant, Publishers};
use amends_engine::courier::grpc::{GrpcCourier, GrpcLimits, GrpcTarget};
#[cfg(feature = "kafka")]
use amends_engine::courier::kafka::KafkaCourier;
use amends_engine::courier::{Courier, Publisher};
use amends_engine::store::Storage;
use amends_engine::{Definitions, Engine};

use super::bindings::Binding;
use super::unstartable;
use crate::config::Settings;
use crate::error::CliError;

/// What carries commands and domain events.
pub(super) struct Couriers {
    #[cfg(feature = "kafka")]
    kafka: Option<Arc<KafkaCourier>>,
    grpc: Option<Arc<GrpcCourier>>,
    bound: BTreeMap<String, Arc<dyn Courier>>,
}

/// What the couriers are made from.
#[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "most of it is for the bus"))]
pub(super) struct Parts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) storage: &'a Storage,
    pub(super) shards: u16,
    pub(super) definitions: &'a Definitions,
    /// Participants with the commands that they must answer to.
    pub(super) participants: &'a BTreeMap<String, BTreeSet<String>>,
    pub(super) bindings: &'a BTreeMap<String, Binding>,
    /// Make the topics that are missing.
    pub(super) ensure: bool,
}

impl Couriers {
    /// Makes those that are needed. They begin to look for the other side, which need not be up yet.
    pub(super) async fn start(parts: Parts<'_>) -> Result<Self, CliError> {
        let targets: Vec<_> =
            parts.bindings.iter().filter_map(|(name, binding)| target(&parts, name, binding)).collect();
        let grpc = match targets.is_empty() {
            true => None,
            false => Some(Arc::new(GrpcCourier::start(targets).map_err(|error| unstartable(&error))?)),
        };
        #[cfg(feature = "kafka")]
        let kafka = kafka(&parts).await?;
        #[cfg(not(feature = "kafka"))]
        if parts.settings.bus.url.is_some() {
            return Err(crate::features::without_kafka());
        }
        let bound = parts.bindings.iter().filter_map(|(name, binding)| {
            let courier: Option<Arc<dyn Courier>> = match binding {
                Binding::Grpc { .. } => grpc.clone().map(|courier| courier as _),
                #[cfg(feature = "kafka")]
                Binding::Kafka => kafka.clone().map(|courier| courier as _),
                #[cfg(not(feature = "kafka"))]
                Binding::Kafka => None,
            };
            Some((name.clone(), courier?))
        });
        let bound = bound.collect();
        Ok(Self {
            #[cfg(feature = "kafka")]
            kafka,
            grpc,
            bound,
        })
    }

    pub(super) fn courier(&self) -> Arc<dyn Courier> {
        Arc::new(ByParticipant::new(self.bound.clone(), None))
    }

    /// Domain events go to everybody who may want them, however their commands go.
    pub(super) fn publisher(&self) -> Arc<dyn Publisher> {
        let mut publishers: Vec<Arc<dyn Publisher>> = Vec::new();
        publishers.extend(self.grpc.clone().map(|grpc| grpc as _));
        #[cfg(feature = "kafka")]
        publishers.extend(self.kafka.clone().map(|kafka| kafka as _));
        Arc::new(Publishers::new(publishers))
    }

    /// Lets replies in.
    pub(super) fn connect(&self, engine: &Engine) {
        if let Some(grpc) = &self.grpc {
            grpc.connect(Arc::new(engine.clone()));
        }
        #[cfg(feature = "kafka")]
        if let Some(kafka) = &self.kafka {
            kafka.connect(Arc::new(engine.clone()));
        }
    }

    /// Waits for what is on its way, and stops.
    pub(super) async fn close(&self) {
        if let Some(grpc) = &self.grpc {
            grpc.shutdown().await;
        }
        #[cfg(feature = "kafka")]
        if let Some(kafka) = &self.kafka {
            kafka.close().await;
        }
    }
}

fn target(parts: &Parts<'_>, name: &str, binding: &Binding) -> Option<GrpcTarget> {
    let Binding::Grpc { urls, concurrency } = binding else { return None };
    let commands = parts.participants.get(name).into_iter().flatten().cloned().collect();
    let limits = GrpcLimits { in_flight_max: *concurrency, ..GrpcLimits::default() };
    Some(GrpcTarget { participant: name.to_owned(), urls: urls.clone(), commands, limits })
}

/// The courier over the bus, if there is one: for commands to those that are bound to it, and for domain events.
#[cfg(feature = "kafka")]
async fn kafka(parts: &Parts<'_>) -> Result<Option<Arc<KafkaCourier>>, CliError> {
    use crate::bus;
    use crate::config::BusSettings;
    use amends_engine::courier::kafka::admin::EnsureOptions;

    if parts.settings.bus.url.is_none() {
        return Ok(None);
    }
    let own = parts.participants.iter().filter(|(name, _)| parts.bindings.get(*name) == Some(&Binding::Kafka));
    let own = own.map(|(name, commands)| (name.clone(), commands.clone())).collect();
    let config = bus::config(parts.settings, parts.shards, own)?;
    if parts.ensure {
        let BusSettings { partitions, replication, .. } = parts.settings.bus;
        let options = EnsureOptions { partitions, replication, adopt: false };
        let reports = bus::ensure(&config, &*parts.storage.topics, parts.definitions, options).await?;
        if let Some(error) = bus::differing(&reports) {
            return Err(error);
        }
    }
    bus::check_recorded(&config, parts.storage, parts.definitions).await?;
    let courier = KafkaCourier::start(config, parts.storage.topics.clone()).map_err(|error| unstartable(&error))?;
    Ok(Some(courier))
}
