//! `/v1/sagas`: list, start, show, events.

use amends_core::Millis;
use amends_proto::amends::v1 as proto;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::{JsonBody, json_text};
use super::params::Params;
use super::target::{Target, Verb};
use super::{Method, method_not_allowed, watch};
use crate::api::errors::Problem;
use crate::api::{Api, start as starting};
use crate::service::view::status_to_proto;
use crate::service::wait::WAIT_MAX;
use crate::service::{ServiceError, query};

/// Where a client may also put its key.
const KEY_HEADER: &str = "idempotency-key";

/// `GET /v1/sagas`
pub(super) async fn list(
    State(api): State<Api>,
    mut params: Params,
) -> Result<Json<proto::ListSagasResponse>, Problem> {
    let mut statuses = statuses("status", params.all("status"))?;
    statuses.extend(self::statuses("statuses", params.all("statuses"))?);
    let request = proto::ListSagasRequest {
        page_size: params.number("page_size")?,
        page_token: params.text("page_token")?,
        r#type: params.text("type")?,
        statuses,
        step: params.text("step")?,
        idempotency_key: params.text("idempotency_key")?,
        error: params.text("error")?,
        start_time_from: params.time("start_time_from")?,
        start_time_until: params.time("start_time_until")?,
        retrying: params.switch("retrying")?,
        stuck: params.switch("stuck")?,
    };
    params.finish(&[
        "page_size",
        "page_token",
        "type",
        "status",
        "step",
        "idempotency_key",
        "error",
        "start_time_from",
        "start_time_until",
        "retrying",
        "stuck",
    ])?;
    Ok(Json(query::list(&api.engine, &request).await?))
}

/// Reads words like `running` or `PARKED`, each parameter one or several between commas.
fn statuses(name: &str, values: Vec<String>) -> Result<Vec<i32>, ServiceError> {
    let words = values.iter().flat_map(|value| value.split(','));
    words.map(|word| status(name, word).map(i32::from)).collect()
}

/// Reads one status.
pub(super) fn status(field: &str, word: &str) -> Result<proto::SagaStatus, ServiceError> {
    word.to_ascii_lowercase().parse().map(status_to_proto).map_err(|()| {
        let words = "running, compensating, completed, compensated, parked";
        ServiceError::invalid(field, format!("{word:?} is not a status; there are: {words}"))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBody {
    #[serde(default)]
    r#type: String,
    #[serde(default, alias = "idempotencyKey")]
    idempotency_key: String,
    input: Option<Box<RawValue>>,
    #[serde(default)]
    deadline: String,
    #[serde(default)]
    wait: bool,
}

/// `POST /v1/sagas`
pub(super) async fn start(
    State(api): State<Api>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<StartBody>,
) -> Result<Response, Problem> {
    let request = proto::StartSagaRequest {
        r#type: body.r#type,
        idempotency_key: key(&headers, body.idempotency_key)?,
        input: json_text("input", body.input)?,
        deadline: span("deadline", &body.deadline)?,
        wait: body.wait,
    };
    let started = starting::start(&api.engine, &request, WAIT_MAX).await?;
    let status = if started.existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(started)).into_response())
}

fn key(headers: &HeaderMap, in_body: String) -> Result<String, ServiceError> {
    let Some(header) = headers.get(KEY_HEADER) else { return Ok(in_body) };
    let header = std::str::from_utf8(header.as_bytes())
        .map_err(|_| ServiceError::invalid("idempotency_key", "the header Idempotency-Key is not UTF-8"))?;
    if !in_body.is_empty() && in_body != header {
        return Err(ServiceError::invalid("idempotency_key", "the header Idempotency-Key says something else"));
    }
    Ok(header.to_owned())
}

/// Reads a span of time, as proto JSON has it (`900s`, `0.5s`) or as definitions do (`15m`).
fn span(field: &str, text: &str) -> Result<Option<amends_proto::Duration>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(span) = serde_json::from_value(text.into()) {
        return Ok(Some(span));
    }
    let span: Millis = text.parse().map_err(|error| ServiceError::invalid(field, error))?;
    let seconds = i64::try_from(span.0 / 1_000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(span.0 % 1_000 * 1_000_000).unwrap_or(0);
    Ok(Some(amends_proto::Duration { seconds, nanos }))
}

/// `GET /v1/sagas/{id}` and `GET /v1/sagas/{id}:watch`
pub(super) async fn get(State(api): State<Api>, target: Target, params: Params, uri: Uri) -> Result<Response, Problem> {
    params.finish(&[])?;
    match target.verb {
        None => Ok(Json(query::get(&api.engine, &target.id).await?).into_response()),
        Some(Verb::Watch) => watch::stream(&api, &target.id).await,
        Some(_) => Err(method_not_allowed(&Method::GET, uri.path())),
    }
}

/// `GET /v1/sagas/{id}/events`
pub(super) async fn events(
    State(api): State<Api>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<proto::ListEventsResponse>, Problem> {
    let request =
        proto::ListEventsRequest { id, after_seq: params.number("after_seq")?, page_size: params.number("page_size")? };
    params.finish(&["after_seq", "page_size"])?;
    Ok(Json(query::events(&api.engine, &request).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_words_of_either_case() {
        let read = statuses("status", vec!["running,PARKED".into(), "completed".into()]).unwrap();
        assert_eq!(read, [1, 5, 3]);
        assert!(statuses("status", vec!["".into()]).is_err());
    }

    #[test]
    fn deadlines_come_in_both_spellings() {
        let read = |text| span("deadline", text).unwrap().map(|span| (span.seconds, span.nanos));
        assert_eq!([read(""), read("900s"), read("0.5s")], [None, Some((900, 0)), Some((0, 500_000_000))]);
        assert_eq!(read("15m"), Some((900, 0)));
        assert!(span("deadline", "soon").is_err());
    }

    #[test]
    fn the_key_may_stand_in_the_header() {
        let headers = HeaderMap::from_iter([(KEY_HEADER.parse().unwrap(), "k1".parse().unwrap())]);
        assert_eq!(key(&headers, String::new()).unwrap(), "k1");
        assert_eq!(key(&headers, "k1".into()).unwrap(), "k1");
        assert!(key(&headers, "k2".into()).is_err());
    }
}
