//! `amends.v1.DefinitionService`.

use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::definition_service_server::DefinitionService;
use tonic::{Request, Response, Status};

use super::answer;
use crate::api::Api;
use crate::service::query::catalogue;

#[tonic::async_trait]
impl DefinitionService for Api {
    async fn list_definitions(
        &self,
        _: Request<proto::ListDefinitionsRequest>,
    ) -> Result<Response<proto::ListDefinitionsResponse>, Status> {
        Ok(Response::new(catalogue::definitions(&self.engine)))
    }

    async fn get_definition(
        &self,
        request: Request<proto::GetDefinitionRequest>,
    ) -> Result<Response<proto::SagaDefinition>, Status> {
        answer(catalogue::definition(&self.engine, request.get_ref()))
    }

    async fn check_definition(
        &self,
        request: Request<proto::CheckDefinitionRequest>,
    ) -> Result<Response<proto::CheckDefinitionResponse>, Status> {
        Ok(Response::new(catalogue::check_definition(request.get_ref())))
    }
}
