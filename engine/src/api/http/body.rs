//! JSON bodies, with every way to get one wrong answered in JSON.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::api::REQUEST_MAX;
use crate::api::errors::Problem;
use crate::service::{ServiceError, field};

/// Reads a JSON body, bounded in size and depth. No body at all is read as `{}`.
#[derive(Debug, Clone, Copy)]
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = content_type(request.headers());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| unread(rejection.status()))?;
        if bytes.is_empty() {
            return parse("{}").map(Self);
        }
        if !kind.as_deref().is_some_and(is_json) {
            let given = kind.unwrap_or_else(|| "no Content-Type".to_owned());
            let message = format!("must come as Content-Type: application/json, not as {given}");
            return Err(Problem::body(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_JSON", &message));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Problem::body(StatusCode::BAD_REQUEST, "NOT_JSON", "is not UTF-8"))?;
        field::json_depth("body", text)?;
        parse(text).map(Self)
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| {
        let reason = if error.is_data() { "INVALID_FIELD" } else { "NOT_JSON" };
        Problem::body(StatusCode::BAD_REQUEST, reason, &error.to_string())
    })
}

fn unread(status: StatusCode) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("is larger than {REQUEST_MAX} bytes");
            Problem::body(status, "BODY_TOO_LARGE", &message)
        }
        _ => Problem::body(StatusCode::BAD_REQUEST, "BODY_INCOMPLETE", "could not be read to its end"),
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// `application/json` and its kin, e.g. `application/problem+json; charset=utf-8`.
fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// A field that is JSON within JSON: given as it is, or as a text that holds it. Empty if it is not given.
pub(super) fn json_text(field: &str, value: Option<Box<RawValue>>) -> Result<String, ServiceError> {
    let Some(value) = value else { return Ok(String::new()) };
    match value.get() {
        text if text.starts_with('"') => {
            serde_json::from_str(text).map_err(|error| ServiceError::invalid(field, format!("is not a text: {error}")))
        }
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;
    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    async fn read(kind: Option<&str>, body: impl Into<Body>) -> Result<Value, u16> {
        let mut request = Request::builder().method("POST").uri("/");
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let read = JsonBody::<Value>::from_request(request.body(body.into()).unwrap(), &()).await;
        read.map(|JsonBody(value)| value).map_err(|problem| problem.into_response().status().as_u16())
    }

    #[rstest]
    #[case(Some("application/json"), r#"{"a":1}"#.into(), Ok(()))]
    #[case(Some("application/json; charset=utf-8"), "{}".into(), Ok(()))]
    #[case(None, "".into(), Ok(()))]
    #[case(None, "{}".into(), Err(415))]
    #[case(Some("application/x-www-form-urlencoded"), "{}".into(), Err(415))]
    #[case(Some("application/json"), "{".into(), Err(400))]
    #[case(Some("application/json"), "[".repeat(300) + &"]".repeat(300), Err(400))]
    #[tokio::test]
    async fn bodies_are_checked(#[case] kind: Option<&str>, #[case] body: String, #[case] expected: Result<(), u16>) {
        assert_eq!(read(kind, body).await.map(|_| ()), expected);
    }

    #[tokio::test]
    async fn what_is_not_utf8_is_refused() {
        assert_eq!(read(Some("application/json"), vec![b'"', 0xff, b'"']).await, Err(400));
    }

    #[test]
    fn json_within_json_may_be_given_either_way() {
        let raw = |text: &str| Some(RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(json_text("input", raw(r#"{"n":1e400}"#)).unwrap(), r#"{"n":1e400}"#);
        assert_eq!(json_text("input", raw(r#""{\"n\":1}""#)).unwrap(), r#"{"n":1}"#);
        assert_eq!(json_text("input", None).unwrap(), "");
    }
}
