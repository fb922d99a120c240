//! What an engine does itself, for the shards that it owns.

use amends_core::{Input, SagaId, SagaType};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Engine, stopping};
use crate::service::ServiceError;
use crate::service::forward::Here;
use crate::service::start::{StartSaga, Started};
use crate::shard::{LaneInput, StartRequest};

#[async_trait]
impl Here for Engine {
    async fn start_here(&self, request: &StartSaga) -> Result<Started, ServiceError> {
        let id = start_id(request)?;
        let saga_type = SagaType::new(&request.saga_type).map_err(|error| ServiceError::invalid("type", error))?;
        let Some(definition) = self.0.definitions.newest(&saga_type) else {
            let known: Vec<_> = self.0.definitions.iter().map(|known| known.saga_type.as_str()).collect();
            let message = format!("there is no saga type {saga_type}; known: {}", known.join(", "));
            return Err(ServiceError::invalid("type", message));
        };
        let start = StartRequest {
            id,
            definition: definition.clone(),
            key: request.key.clone(),
            input: request.input.clone(),
            deadline_at: request.deadline.map(|span| self.now().after(span)),
        };
        let (answer, answered) = oneshot::channel();
        match self.lane(id).inputs.try_send(LaneInput::Start(Box::new(start), answer)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(ServiceError::Overloaded { retry_after: amends_core::Millis(200) });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(stopping()),
        }
        answered.await.map_err(|_| stopping())?
    }

    async fn operate_here(&self, saga: SagaId, input: Input) -> Result<(), ServiceError> {
        let (answer, answered) = oneshot::channel();
        let input = LaneInput::Operate(saga, Box::new(input), answer);
        self.lane(saga).inputs.send(input).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    async fn follow_here(&self, saga: SagaId) -> Result<Option<watch::Receiver<u64>>, ServiceError> {
        let (answer, answered) = oneshot::channel();
        self.lane(saga).inputs.send(LaneInput::Follow(saga, answer)).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}

/// The id of the saga that a start means: a key names it.
pub(super) fn start_id(request: &StartSaga) -> Result<SagaId, ServiceError> {
    let Some(key) = &request.key else { return Ok(request.id) };
    let saga_type = SagaType::new(&request.saga_type).map_err(|error| ServiceError::invalid("type", error))?;
    Ok(SagaId::from_key(&saga_type, key))
}
