//! gRPC: `amends.v1`, health and reflection.

mod cluster;
mod dead_letter;
mod definition;
pub(crate) mod peer;
mod saga;

use std::any::Any;
use std::sync::Arc;

use amends_proto::amends::v1::cluster_service_server::ClusterServiceServer;
use amends_proto::amends::v1::dead_letter_service_server::DeadLetterServiceServer;
use amends_proto::amends::v1::definition_service_server::DefinitionServiceServer;
use amends_proto::amends::v1::peer_service_server::PeerServiceServer;
use amends_proto::amends::v1::saga_service_server::SagaServiceServer;
use axum::Router;
use axum::body::Body;
use axum::http::Response as HttpResponse;
use futures::FutureExt;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use tonic::{Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower_http::catch_panic::CatchPanicLayer;

use super::errors::{Problem, status};
use super::{Api, REQUEST_MAX};
use crate::service::ServiceError;

/// Largest accepted request of another engine: what a client sent there, in an envelope.
const PEER_REQUEST_MAX: usize = REQUEST_MAX + 64 * 1024;

/// All gRPC services as one router.
pub(super) fn router(api: &Api, mut routes: RoutesBuilder) -> Router {
    let peer = peer::Peer::new(Arc::new(api.engine.clone()), api.options.shutdown.clone());
    routes
        .add_service(PeerServiceServer::new(peer).max_decoding_message_size(PEER_REQUEST_MAX))
        .add_service(SagaServiceServer::new(api.clone()).max_decoding_message_size(REQUEST_MAX))
        .add_service(DefinitionServiceServer::new(api.clone()).max_decoding_message_size(REQUEST_MAX))
        .add_service(ClusterServiceServer::new(api.clone()).max_decoding_message_size(REQUEST_MAX))
        .add_service(DeadLetterServiceServer::new(api.clone()).max_decoding_message_size(REQUEST_MAX))
        .add_service(health());
    if api.options.reflection {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(amends_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1();
        match reflection {
            Ok(service) => drop(routes.add_service(service)),
            Err(error) => tracing::error!(%error, "gRPC reflection is off"),
        }
    }
    routes.routes().prepare().into_axum_router().layer(CatchPanicLayer::custom(panicked))
}

/// Serving from the start: an engine gets its router only once its shards are taken over.
fn health() -> HealthServer<HealthService> {
    const SERVICES: [&str; 4] = [
        SagaServiceServer::<Api>::NAME,
        DefinitionServiceServer::<Api>::NAME,
        ClusterServiceServer::<Api>::NAME,
        DeadLetterServiceServer::<Api>::NAME,
    ];
    let reporter = HealthReporter::new();
    for service in SERVICES {
        // Nobody else has the reporter yet, so that this never waits.
        let _ = reporter.set_service_status(service, ServingStatus::Serving).now_or_never();
    }
    HealthServer::new(HealthService::from_health_reporter(reporter))
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> HttpResponse<Body> {
    tracing::error!(panic = super::http::panic_message(&*panic), "a gRPC handler panicked");
    Problem::from(ServiceError::Internal).into_status().into_http()
}

fn answer<T>(result: Result<T, ServiceError>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(status)
}
