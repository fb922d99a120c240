//! `amends.v1.PeerService`: for the other engines of the installation only. What arrives here is done here or refused;
//! it is never sent on.

use std::sync::Arc;

use amends_core::{IdempotencyKey, Input, Millis, SagaId};
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::peer_service_server::PeerService;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::answer;
use crate::api::errors::status;
use crate::service::forward::Here;
use crate::service::start::StartSaga;
use crate::service::{ServiceError, field};

/// The service on an engine.
#[derive(Clone)]
pub(crate) struct Peer {
    here: Arc<dyn Here>,
    shutdown: CancellationToken,
}

impl Peer {
    /// `shutdown` ends what others follow here.
    pub(crate) fn new(here: Arc<dyn Here>, shutdown: CancellationToken) -> Self {
        Self { here, shutdown }
    }
}

#[tonic::async_trait]
impl PeerService for Peer {
    type FollowStream = BoxStream<'static, Result<proto::PeerFollowResponse, Status>>;

    async fn start(
        &self,
        request: Request<proto::PeerStartRequest>,
    ) -> Result<Response<proto::PeerStartResponse>, Status> {
        let start = start(request.into_inner()).map_err(status)?;
        let started = self.here.start_here(&start).await;
        answer(started.map(|started| proto::PeerStartResponse {
            id: started.id.to_string(),
            existed: started.existed,
            status: started.status.as_str().to_owned(),
            started_at_ms: started.started_at.0,
        }))
    }

    async fn operate(
        &self,
        request: Request<proto::PeerOperateRequest>,
    ) -> Result<Response<proto::PeerOperateResponse>, Status> {
        let request = request.into_inner();
        let saga = saga(&request.saga_id).map_err(status)?;
        let input = input(&request.input).map_err(status)?;
        answer(self.here.operate_here(saga, input).await.map(|()| proto::PeerOperateResponse {}))
    }

    async fn follow(&self, request: Request<proto::PeerFollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let saga = saga(&request.get_ref().saga_id).map_err(status)?;
        let Some(mut rows) = self.here.follow_here(saga).await.map_err(status)? else {
            return Ok(Response::new(futures::stream::empty().boxed()));
        };
        rows.mark_changed();
        let seqs = futures::stream::unfold(rows, |mut rows| async move {
            rows.changed().await.ok()?;
            let seq = *rows.borrow_and_update();
            Some((Ok(proto::PeerFollowResponse { seq }), rows))
        });
        Ok(Response::new(seqs.take_until(self.shutdown.clone().cancelled_owned()).boxed()))
    }
}

fn saga(id: &str) -> Result<SagaId, ServiceError> {
    id.parse().map_err(|error| ServiceError::invalid("id", error))
}

fn start(request: proto::PeerStartRequest) -> Result<StartSaga, ServiceError> {
    let key = match request.idempotency_key {
        key if key.is_empty() => None,
        key => Some(IdempotencyKey::new(key).map_err(|error| ServiceError::invalid("idempotency_key", error))?),
    };
    Ok(StartSaga {
        saga_type: field::saga_type("type", &request.r#type)?.to_string(),
        key,
        id: saga(&request.id)?,
        input: field::json("input", &request.input)?,
        deadline: (request.deadline_ms > 0).then_some(Millis(request.deadline_ms)),
    })
}

/// What operators do, and nothing else: replies and timers have ways of their own.
fn input(text: &str) -> Result<Input, ServiceError> {
    field::json_depth("input", text)?;
    match serde_json::from_str(text) {
        Ok(Input::Start { .. } | Input::Reply(_) | Input::TimerFired(_)) => {
            Err(ServiceError::invalid("input", "is not an operator's"))
        }
        Ok(input) => Ok(input),
        // The parser's words may quote the value, which may hold what nobody shall see (I37).
        Err(_) => Err(ServiceError::invalid("input", "is not one that this engine knows")),
    }
}
