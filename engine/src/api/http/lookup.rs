//! What is only read: dead letters, types, shards, participants, readiness.

use amends_proto::amends::v1 as proto;
use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;

use super::body::JsonBody;
use super::params::Params;
use crate::api::Api;
use crate::api::errors::Problem;
use crate::service::query;
use crate::service::query::{catalogue, cluster};

type Answer<T> = Result<Json<T>, Problem>;

/// `GET /v1/dead-letters`
pub(super) async fn dead_letters(State(api): State<Api>, mut params: Params) -> Answer<proto::ListDeadLettersResponse> {
    let request = proto::ListDeadLettersRequest {
        page_size: params.number("page_size")?,
        page_token: params.text("page_token")?,
        step: params.text("step")?,
        error: params.text("error")?,
    };
    params.finish(&["page_size", "page_token", "step", "error"])?;
    Ok(Json(query::dead_letters(&api.engine, &request).await?))
}

/// `GET /v1/types`
pub(super) async fn types(State(api): State<Api>) -> Json<proto::ListDefinitionsResponse> {
    Json(catalogue::definitions(&api.engine))
}

/// `GET /v1/types/{type}`
pub(super) async fn one_type(
    State(api): State<Api>,
    Path(r#type): Path<String>,
    mut params: Params,
) -> Answer<proto::SagaDefinition> {
    let request = proto::GetDefinitionRequest { r#type, version: params.number("version")? };
    params.finish(&["version"])?;
    Ok(Json(catalogue::definition(&api.engine, &request)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckBody {
    source: String,
}

/// `POST /v1/types:check`
pub(super) async fn check(JsonBody(body): JsonBody<CheckBody>) -> Json<proto::CheckDefinitionResponse> {
    Json(catalogue::check_definition(&proto::CheckDefinitionRequest { source: body.source }))
}

/// `GET /v1/shards`
pub(super) async fn shards(State(api): State<Api>) -> Answer<proto::ListShardsResponse> {
    Ok(Json(cluster::shards(&api.engine).await?))
}

/// `GET /v1/participants`
pub(super) async fn participants(State(api): State<Api>) -> Json<proto::ListParticipantsResponse> {
    Json(catalogue::participants(&api.engine))
}

/// `GET /v1/version`
pub(super) async fn version(State(api): State<Api>) -> Json<proto::GetVersionResponse> {
    Json(api.version())
}

/// `GET /readyz`
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    cluster::ready(&api.engine).await?;
    Ok("ready\n")
}

/// `GET /metrics`
pub(super) async fn metrics(State(api): State<Api>) -> Result<impl axum::response::IntoResponse, Problem> {
    Ok(([(axum::http::header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], api.engine.metrics()?))
}
