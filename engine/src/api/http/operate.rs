//! `POST /v1/sagas/{id}:VERB`.

use amends_proto::amends::v1 as proto;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tonic::Code;

use super::Principal;
use super::body::{JsonBody, json_text};
use super::saga::status;
use super::target::{Target, Verb};
use crate::api::Api;
use crate::api::errors::Problem;
use crate::service::operate as service;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    #[serde(default)]
    reason: String,
    #[serde(default, alias = "planOnly")]
    plan_only: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonBody {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryBody {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    step: String,
    input: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SkipBody {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    step: String,
    result: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveBody {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    status: String,
}

/// Does what the path says.
pub(super) async fn operate(
    State(api): State<Api>,
    target: Target,
    Principal(who): Principal,
    request: Request,
) -> Result<Response, Problem> {
    let (engine, id) = (&api.engine, target.id);
    let saga = match target.verb {
        Some(Verb::Cancel) => {
            let CancelBody { reason, plan_only } = body(request).await?;
            let request = proto::CancelSagaRequest { id, reason, plan_only };
            return Ok(Json(service::cancel(engine, &request, &who).await?).into_response());
        }
        Some(Verb::Retry) => {
            let RetryBody { reason, step, input } = body(request).await?;
            let request = proto::RetrySagaRequest { id, reason, step, input: json_text("input", input)? };
            service::retry(engine, &request, &who).await?
        }
        Some(Verb::Pause) => {
            let ReasonBody { reason } = body(request).await?;
            service::pause(engine, &proto::PauseSagaRequest { id, reason }, &who).await?
        }
        Some(Verb::Resume) => {
            let ReasonBody { reason } = body(request).await?;
            service::resume(engine, &proto::ResumeSagaRequest { id, reason }, &who).await?
        }
        Some(Verb::Skip) => {
            let SkipBody { reason, step, result } = body(request).await?;
            let request = proto::SkipStepRequest { id, reason, step, result: json_text("result", result)? };
            service::skip(engine, &request, &who).await?
        }
        Some(Verb::Resolve) => {
            let ResolveBody { reason, status: word } = body(request).await?;
            let request = proto::ResolveSagaRequest { id, reason, status: status("status", &word)?.into() };
            service::resolve(engine, &request, &who).await?
        }
        Some(Verb::Watch) | None => return Err(no_such_verb(request.uri().path())),
    };
    Ok(Json(saga).into_response())
}

async fn body<T>(request: Request) -> Result<T, Problem>
where
    JsonBody<T>: FromRequest<(), Rejection = Problem>,
    T: 'static,
{
    let JsonBody(body) = request.extract::<JsonBody<T>, _>().await?;
    Ok(body)
}

fn no_such_verb(path: &str) -> Problem {
    let message =
        format!("{path} does not take POST; end the path with :cancel, :retry, :pause, :resume, :skip or :resolve");
    Problem::new(Code::Unimplemented, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
}
