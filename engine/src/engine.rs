//! Puts the shell together: stores, couriers, lanes.

use std::sync::Arc;

use amends_core::{Input, SagaId, Status, Timestamp};
use tokio::sync::{broadcast, watch};

use crate::courier::{Courier, Publisher};
use crate::definitions::Definitions;
use crate::service::ServiceError;
use crate::service::start::{StartSaga, Started};
use crate::store::{Archive, Store};

/// A running engine; a clone is another handle to it.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    archive: Arc<dyn Archive>,
    definitions: Definitions,
    courier: Arc<dyn Courier>,
}

/// Sizes and bounds.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Number of shards, fixed at install.
    pub shards: u16,
    /// Tasks that move sagas.
    pub lanes: usize,
    /// Unfinished sagas per shard in memory; starts beyond it are refused.
    pub in_flight_max: usize,
    /// Where others reach this engine.
    pub address: String,
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The definitions contradict each other or the stored ones.
    #[error("{0}")]
    Definitions(String),
}

/// Tells that a saga has ended or parked.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The saga.
    pub saga_id: SagaId,
    /// How.
    pub status: Status,
}

impl Engine {
    /// Takes the shards over, recovers their sagas and begins to move them. Returns with the engine, to be given to
    /// couriers as their [`crate::courier::Inlet`].
    pub async fn start(
        _config: EngineConfig,
        _store: Arc<dyn Store>,
        _archive: Arc<dyn Archive>,
        _courier: Arc<dyn Courier>,
        _publisher: Arc<dyn Publisher>,
        _definitions: Definitions,
    ) -> Result<Self, EngineError> {
        todo!()
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        todo!()
    }

    /// A fresh, time-ordered id.
    pub fn new_saga_id(&self) -> SagaId {
        todo!()
    }

    /// The read path.
    pub fn archive(&self) -> &dyn Archive {
        &*self.0.archive
    }

    /// What sagas there are.
    pub fn definitions(&self) -> &Definitions {
        &self.0.definitions
    }

    /// The courier.
    pub fn courier(&self) -> &dyn Courier {
        &*self.0.courier
    }

    /// Accepts a saga; answers after the commit.
    pub async fn start_saga(&self, _request: StartSaga) -> Result<Started, ServiceError> {
        todo!()
    }

    /// Brings an operator's input to a saga; answers after the commit.
    pub async fn operate(&self, _saga: SagaId, _input: Input) -> Result<(), ServiceError> {
        todo!()
    }

    /// Follows a saga: the number of its last journal row, as it grows. Closed when the saga leaves memory
    /// (ended, parked or held) or is not there.
    pub async fn follow(&self, _saga: SagaId) -> Result<watch::Receiver<u64>, ServiceError> {
        todo!()
    }

    /// Everything that ends or parks from now on; a slow reader loses the oldest.
    pub fn ended(&self) -> broadcast::Receiver<Ended> {
        todo!()
    }

    /// Unfinished sagas in memory, by shard.
    pub fn in_flight(&self) -> Vec<usize> {
        todo!()
    }

    /// Stops taking inputs, finishes what is being committed, and returns.
    pub async fn shutdown(&self) {
        todo!()
    }
}
