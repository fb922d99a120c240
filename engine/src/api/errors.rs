//! What a client sees of a failure: one table for gRPC and HTTP, `google.rpc` details in both.

use std::time::Duration;

use amends_core::{Millis, Shard};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::service::ServiceError;

/// Whose words the stable reasons are.
const DOMAIN: &str = "amends";

/// When to come back after a failure that says nothing about it.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A failure on its way to a client.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    http: StatusCode,
    reason: &'static str,
    message: String,
    /// Field at fault, and what is wrong with it.
    violation: Option<(String, String)>,
    retry_after: Option<Duration>,
}

/// The failure as a gRPC status.
pub fn status(error: ServiceError) -> Status {
    Problem::from(error).into_status()
}

/// The failure that a status of another engine stands for; `None` if no engine of ours has made it.
pub(crate) fn error(status: &Status, shard: Shard) -> Option<ServiceError> {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
    let message = || status.message().to_owned();
    let error = match info.reason.as_str() {
        "INVALID_FIELD" => {
            let violation = details.bad_request().and_then(|request| request.field_violations.first())?;
            ServiceError::invalid(&violation.field, &violation.description)
        }
        "NOT_FOUND" => ServiceError::NotFound(message()),
        "KEY_TAKEN" => ServiceError::AlreadyExists(message()),
        "NOT_ALLOWED" => ServiceError::NotAllowed(message()),
        "OVERLOADED" => {
            let after = details.retry_info().and_then(|info| info.retry_delay).unwrap_or(RETRY_AFTER);
            ServiceError::Overloaded { retry_after: Millis(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)) }
        }
        "UNAVAILABLE" => ServiceError::Unavailable(message()),
        "NOT_OWNER" => ServiceError::NotOwner { shard },
        "INTERNAL" => ServiceError::Internal,
        _ => return None,
    };
    Some(error)
}

/// The failure as an HTTP response.
pub fn http_error(error: ServiceError) -> Response {
    Problem::from(error).into_response()
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let (code, http) = match &error {
            ServiceError::Invalid { .. } => (Code::InvalidArgument, StatusCode::BAD_REQUEST),
            ServiceError::NotFound(_) => (Code::NotFound, StatusCode::NOT_FOUND),
            ServiceError::AlreadyExists(_) => (Code::AlreadyExists, StatusCode::CONFLICT),
            ServiceError::NotAllowed(_) => (Code::FailedPrecondition, StatusCode::CONFLICT),
            ServiceError::Overloaded { .. } => (Code::ResourceExhausted, StatusCode::TOO_MANY_REQUESTS),
            ServiceError::Unavailable(_) | ServiceError::NotOwner { .. } => {
                (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE)
            }
            ServiceError::Internal => (Code::Internal, StatusCode::INTERNAL_SERVER_ERROR),
        };
        let mut problem = Self::new(code, http, error.reason(), error.to_string());
        match error {
            ServiceError::Invalid { field, message } => problem.violation = Some((field, message)),
            ServiceError::Overloaded { retry_after } => problem.retry_after = Some(retry_after.into()),
            ServiceError::Unavailable(_) | ServiceError::NotOwner { .. } => problem.retry_after = Some(RETRY_AFTER),
            _ => {}
        }
        problem
    }
}

impl Problem {
    /// A failure that only one protocol knows, e.g. a path that does not exist.
    pub(super) fn new(code: Code, http: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, http, reason, message: message.into(), violation: None, retry_after: None }
    }

    /// The same, about the request's body as a whole.
    pub(super) fn body(http: StatusCode, reason: &'static str, message: &str) -> Self {
        let mut problem = Self::new(Code::InvalidArgument, http, reason, format!("body: {message}"));
        problem.violation = Some(("body".to_owned(), message.to_owned()));
        problem
    }

    pub(super) fn into_status(self) -> Status {
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, []);
        if let Some((field, message)) = self.violation {
            details.add_bad_request_violation(field, message);
        }
        if self.retry_after.is_some() {
            details.set_retry_info(self.retry_after);
        }
        Status::with_error_details(self.code, self.message, details)
    }

    /// `google.rpc.Status` as JSON, as AIP-193 has it over HTTP.
    pub(super) fn json(&self) -> impl Serialize + use<> {
        let mut details = vec![json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": self.reason, "domain": DOMAIN,
        })];
        if let Some((field, description)) = &self.violation {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": field, "description": description}],
            }));
        }
        if let Some(after) = self.retry_after {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}.{:03}s", after.as_secs(), after.subsec_millis()),
            }));
        }
        let (code, status, message) = (self.http.as_u16(), word(self.code), self.message.clone());
        ErrorBody { error: ErrorStatus { code, status, message, details } }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.http, Json(self.json())).into_response();
        if let Some(after) = self.retry_after {
            // The header knows whole seconds only.
            let seconds = after.as_millis().div_ceil(1_000).max(1);
            let value = HeaderValue::from_str(&seconds.to_string()).unwrap_or(HeaderValue::from_static("1"));
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

#[derive(Serialize)]
struct ErrorBody {
    error: ErrorStatus,
}

#[derive(Serialize)]
struct ErrorStatus {
    code: u16,
    status: &'static str,
    message: String,
    details: Vec<Value>,
}

/// The name of a code in `google.rpc.Code`.
const fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named_over_both_protocols() {
        let error = ServiceError::invalid("items[0].quantity", "must be at least 1");
        let expected = json!({"error": {
            "code": 400, "status": "INVALID_ARGUMENT", "message": "items[0].quantity: must be at least 1",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "INVALID_FIELD", "domain": "amends"},
                {"@type": "type.googleapis.com/google.rpc.BadRequest",
                 "fieldViolations": [{"field": "items[0].quantity", "description": "must be at least 1"}]},
            ],
        }});
        assert_eq!(serde_json::to_value(Problem::from(error.clone()).json()).unwrap(), expected);
        let status = status(error);
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELD");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "items[0].quantity");
    }

    #[test]
    fn an_overload_says_when_to_come_back() {
        let error = ServiceError::Overloaded { retry_after: Millis(1_200) };
        let response = http_error(error.clone());
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::RETRY_AFTER]),
            (429, &"2".parse().unwrap())
        );
        let body = serde_json::to_value(Problem::from(error.clone()).json()).unwrap();
        assert_eq!(body["error"]["details"][1]["retryDelay"], "1.200s");
        let delay = status(error).get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(delay, Some(Duration::from_millis(1_200)));
    }

    #[test]
    fn every_error_has_one_code_on_each_side() {
        let table = [
            (ServiceError::NotFound("x".into()), Code::NotFound, 404),
            (ServiceError::AlreadyExists("x".into()), Code::AlreadyExists, 409),
            (ServiceError::NotAllowed("x".into()), Code::FailedPrecondition, 409),
            (ServiceError::Unavailable("x".into()), Code::Unavailable, 503),
            (ServiceError::NotOwner { shard: Shard(3) }, Code::Unavailable, 503),
            (ServiceError::Internal, Code::Internal, 500),
        ];
        for (error, code, http) in table {
            assert_eq!((status(error.clone()).code(), http_error(error).status().as_u16()), (code, http));
        }
    }

    #[test]
    fn every_error_comes_back_from_another_engine_as_it_was() {
        for given in [
            ServiceError::invalid("step", "says which: it is missing"),
            ServiceError::NotFound("x".into()),
            ServiceError::AlreadyExists("x".into()),
            ServiceError::NotAllowed("x".into()),
            ServiceError::Overloaded { retry_after: Millis(1_234) },
            ServiceError::Unavailable("x".into()),
            ServiceError::NotOwner { shard: Shard(3) },
            ServiceError::Internal,
        ] {
            let back = error(&status(given.clone()), Shard(3));
            assert_eq!(format!("{back:?}"), format!("{:?}", Some(given)));
        }
        assert!(error(&Status::unavailable("some proxy"), Shard(3)).is_none());
    }
}
