//! Query parameters, named as in the protos; `camelCase` is understood too.

use std::str::FromStr;

use amends_core::Timestamp;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use tonic::Code;

use crate::api::errors::Problem;
use crate::service::ServiceError;
use crate::service::view::timestamp;

/// The parameters of a request. Each is taken once; what is left over at the end is unknown.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: Result<Query<Vec<(String, String)>>, QueryRejection> = Query::from_request_parts(parts, state).await;
        let Query(pairs) = read.map_err(|rejection| {
            Problem::new(Code::InvalidArgument, StatusCode::BAD_REQUEST, "INVALID_QUERY", rejection.body_text())
        })?;
        Ok(Self(pairs.into_iter().map(|(name, value)| (snake(&name), value)).collect()))
    }
}

impl Params {
    /// A text; empty if it is not given.
    pub(super) fn text(&mut self, name: &str) -> Result<String, ServiceError> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(ServiceError::invalid(name, "is given more than once"));
        }
        Ok(values.pop().unwrap_or_default())
    }

    /// Every value of a parameter that may be given more than once.
    pub(super) fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(known, _)| known == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// A whole number; 0 if it is not given.
    pub(super) fn number<N: FromStr + Default>(&mut self, name: &str) -> Result<N, ServiceError> {
        match self.text(name)?.as_str() {
            "" => Ok(N::default()),
            text => text.parse().map_err(|_| ServiceError::invalid(name, format!("{text:?} is not a number in range"))),
        }
    }

    /// A switch: off if it is not given, on if it is given without a value.
    pub(super) fn switch(&mut self, name: &str) -> Result<bool, ServiceError> {
        match self.all(name).as_slice() {
            [] => Ok(false),
            [value] => match value.as_str() {
                "" | "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                text => Err(ServiceError::invalid(name, format!("{text:?} is neither true nor false"))),
            },
            _ => Err(ServiceError::invalid(name, "is given more than once")),
        }
    }

    /// A point in time, RFC 3339.
    pub(super) fn time(&mut self, name: &str) -> Result<Option<amends_proto::Timestamp>, ServiceError> {
        let text = self.text(name)?;
        if text.is_empty() {
            return Ok(None);
        }
        let at = chrono::DateTime::parse_from_rfc3339(&text)
            .map_err(|_| ServiceError::invalid(name, format!("{text:?} is not a time like 2026-01-31T12:00:00Z")))?;
        Ok(Some(timestamp(Timestamp(at.timestamp_millis()))))
    }

    /// Refuses whatever was not taken: a misspelt filter must not list everything.
    pub(super) fn finish(self, known: &[&str]) -> Result<(), ServiceError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) if known.is_empty() => Err(ServiceError::invalid(name, "there are no parameters here")),
            Some((name, _)) => {
                Err(ServiceError::invalid(name, format!("is not a parameter here; there are: {}", known.join(", "))))
            }
        }
    }
}

/// `pageSize` → `page_size`.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn params(query: &str) -> Params {
        let (mut parts, ()) = Request::builder().uri(format!("/v1/sagas?{query}")).body(()).unwrap().into_parts();
        Params::from_request_parts(&mut parts, &()).await.unwrap()
    }

    #[tokio::test]
    async fn parameters_are_read_by_kind() {
        let mut params =
            params("pageSize=7&status=running&status=parked&stuck&type=a%2Fb&start_time_from=1970-01-01T00:00:01Z")
                .await;
        assert_eq!(params.number::<i32>("page_size").unwrap(), 7);
        assert_eq!(params.all("status"), ["running", "parked"]);
        assert!(params.switch("stuck").unwrap() && !params.switch("retrying").unwrap());
        assert_eq!(params.text("type").unwrap(), "a/b");
        assert_eq!(params.time("start_time_from").unwrap().map(|at| at.seconds), Some(1));
        assert!(params.finish(&["page_size"]).is_ok());
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let mut params = params("page_size=many&step=a&step=b&retrying=perhaps&start_time_until=noon&colour=red").await;
        let wrong = [
            params.number::<i32>("page_size").map(drop),
            params.text("step").map(drop),
            params.switch("retrying").map(drop),
            params.time("start_time_until").map(drop),
            params.finish(&["page_size"]),
        ];
        let fields: Vec<_> = wrong
            .into_iter()
            .map(|wrong| match wrong {
                Err(ServiceError::Invalid { field, .. }) => field,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(fields, ["page_size", "step", "retrying", "start_time_until", "colour"]);
    }
}
