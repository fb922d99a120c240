//! `amends.v1.DeadLetterService`.

use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::dead_letter_service_server::DeadLetterService;
use tonic::{Request, Response, Status};

use super::answer;
use crate::api::Api;
use crate::service::query;

#[tonic::async_trait]
impl DeadLetterService for Api {
    async fn list_dead_letters(
        &self,
        request: Request<proto::ListDeadLettersRequest>,
    ) -> Result<Response<proto::ListDeadLettersResponse>, Status> {
        answer(query::dead_letters(&self.engine, request.get_ref()).await)
    }
}
