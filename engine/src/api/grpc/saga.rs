//! `amends.v1.SagaService`.

use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::saga_service_server::SagaService;
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::answer;
use crate::api::errors::status;
use crate::api::{Api, deadline, principal, start};
use crate::service::{operate, query, watch};

#[tonic::async_trait]
impl SagaService for Api {
    type WatchSagaStream = BoxStream<'static, Result<proto::Saga, Status>>;

    async fn start_saga(
        &self,
        request: Request<proto::StartSagaRequest>,
    ) -> Result<Response<proto::StartSagaResponse>, Status> {
        let wait_max = deadline::wait_max(request.metadata().as_ref());
        answer(start::start(&self.engine, request.get_ref(), wait_max).await)
    }

    async fn get_saga(&self, request: Request<proto::GetSagaRequest>) -> Result<Response<proto::Saga>, Status> {
        answer(query::get(&self.engine, &request.get_ref().id).await)
    }

    async fn list_sagas(
        &self,
        request: Request<proto::ListSagasRequest>,
    ) -> Result<Response<proto::ListSagasResponse>, Status> {
        answer(query::list(&self.engine, request.get_ref()).await)
    }

    async fn list_events(
        &self,
        request: Request<proto::ListEventsRequest>,
    ) -> Result<Response<proto::ListEventsResponse>, Status> {
        answer(query::events(&self.engine, request.get_ref()).await)
    }

    async fn watch_saga(
        &self,
        request: Request<proto::WatchSagaRequest>,
    ) -> Result<Response<Self::WatchSagaStream>, Status> {
        let sagas = watch::watch(&self.engine, &request.get_ref().id).await.map_err(status)?;
        let stopped = self.options.shutdown.clone().cancelled_owned();
        Ok(Response::new(sagas.map(|saga| saga.map_err(status)).take_until(stopped).boxed()))
    }

    async fn cancel_saga(
        &self,
        request: Request<proto::CancelSagaRequest>,
    ) -> Result<Response<proto::CancelSagaResponse>, Status> {
        let who = who(&request)?;
        answer(operate::cancel(&self.engine, request.get_ref(), &who).await)
    }

    async fn retry_saga(&self, request: Request<proto::RetrySagaRequest>) -> Result<Response<proto::Saga>, Status> {
        let who = who(&request)?;
        answer(operate::retry(&self.engine, request.get_ref(), &who).await)
    }

    async fn pause_saga(&self, request: Request<proto::PauseSagaRequest>) -> Result<Response<proto::Saga>, Status> {
        let who = who(&request)?;
        answer(operate::pause(&self.engine, request.get_ref(), &who).await)
    }

    async fn resume_saga(&self, request: Request<proto::ResumeSagaRequest>) -> Result<Response<proto::Saga>, Status> {
        let who = who(&request)?;
        answer(operate::resume(&self.engine, request.get_ref(), &who).await)
    }

    async fn skip_step(&self, request: Request<proto::SkipStepRequest>) -> Result<Response<proto::Saga>, Status> {
        let who = who(&request)?;
        answer(operate::skip(&self.engine, request.get_ref(), &who).await)
    }

    async fn resolve_saga(&self, request: Request<proto::ResolveSagaRequest>) -> Result<Response<proto::Saga>, Status> {
        let who = who(&request)?;
        answer(operate::resolve(&self.engine, request.get_ref(), &who).await)
    }
}

fn who<T>(request: &Request<T>) -> Result<String, Status> {
    principal(request.metadata().as_ref()).map_err(status)
}
