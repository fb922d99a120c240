//! The services as JSON over HTTP, and what every answer has in common: bounds, and failures that are JSON too.

mod body;
mod lookup;
mod operate;
mod params;
mod saga;
mod target;
mod watch;

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tonic::Code;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use super::errors::Problem;
use super::{Api, REQUEST_MAX, principal};
use crate::service::ServiceError;

pub use body::JsonBody;

/// How long a request may take until it is answered; a stream until its first byte.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// All routes, with those of others.
pub(super) fn router(api: Api, extra: Router) -> Router {
    let ours = Router::new()
        .route("/v1/sagas", get(saga::list).post(saga::start))
        .route("/v1/sagas/{id}", get(saga::get).post(operate::operate))
        .route("/v1/sagas/{id}/events", get(saga::events))
        .route("/v1/dead-letters", get(lookup::dead_letters))
        .route("/v1/types", get(lookup::types))
        .route("/v1/types:check", post(lookup::check))
        .route("/v1/types/{type}", get(lookup::one_type))
        .route("/v1/shards", get(lookup::shards))
        .route("/v1/participants", get(lookup::participants))
        .route("/v1/version", get(lookup::version))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(lookup::ready))
        .route("/metrics", get(lookup::metrics))
        .with_state(api);
    ours.merge(extra)
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(REQUEST_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, ANSWER_MAX))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(map_response(late_as_json))
}

async fn no_such_path(request: Request) -> Problem {
    let message = format!(
        "there is no {} {} here; GET /v1/sagas lists sagas, GET /v1/types what can be started",
        request.method(),
        request.uri().path()
    );
    Problem::new(Code::NotFound, StatusCode::NOT_FOUND, "NO_SUCH_PATH", message)
}

async fn wrong_method(request: Request) -> Problem {
    method_not_allowed(request.method(), request.uri().path())
}

fn method_not_allowed(method: &Method, path: &str) -> Problem {
    let message = format!("{path} does not take {method}");
    Problem::new(Code::Unimplemented, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!(panic = panic_message(&*panic), "an HTTP handler panicked");
    Problem::from(ServiceError::Internal).into_response()
}

/// What a panic said, for the log.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The time-out layer answers with a bare status.
async fn late_as_json(response: Response) -> Response {
    let bare = !response.headers().contains_key(header::CONTENT_TYPE);
    if response.status() != StatusCode::GATEWAY_TIMEOUT || !bare {
        return response;
    }
    let message = format!(
        "not answered within {} s; whether it was done is unknown, repeating it with the same key is safe",
        ANSWER_MAX.as_secs()
    );
    Problem::new(Code::DeadlineExceeded, StatusCode::GATEWAY_TIMEOUT, "TIMED_OUT", message).into_response()
}

/// Who asks.
struct Principal(String);

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(principal(&parts.headers)?))
    }
}
