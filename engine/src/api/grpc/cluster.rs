//! `amends.v1.ClusterService`.

use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::cluster_service_server::ClusterService;
use tonic::{Request, Response, Status};

use super::answer;
use crate::api::Api;
use crate::service::query::{catalogue, cluster};

#[tonic::async_trait]
impl ClusterService for Api {
    async fn get_version(
        &self,
        _: Request<proto::GetVersionRequest>,
    ) -> Result<Response<proto::GetVersionResponse>, Status> {
        Ok(Response::new(self.version()))
    }

    async fn list_shards(
        &self,
        _: Request<proto::ListShardsRequest>,
    ) -> Result<Response<proto::ListShardsResponse>, Status> {
        answer(cluster::shards(&self.engine).await)
    }

    async fn list_participants(
        &self,
        _: Request<proto::ListParticipantsRequest>,
    ) -> Result<Response<proto::ListParticipantsResponse>, Status> {
        Ok(Response::new(catalogue::participants(&self.engine)))
    }
}
