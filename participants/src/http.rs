//! What the participants' HTTP reads share: errors as `google.rpc.Status`, page sizes.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

/// How many rows a list gives when the caller does not say.
const LIMIT_DEFAULT: u32 = 50;

/// The most rows that a list gives: its answer is built in memory.
const LIMIT_MAX: u32 = 500;

/// Why a request is not served; shown without internals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// The caller must change one field.
    Invalid { field: String, description: String },
    /// There is no such thing.
    NotFound { what: &'static str, id: String },
    /// The database does not answer; the cause went to the log.
    Unavailable,
}

impl ApiError {
    /// Names the field that the caller must change, and how.
    pub(crate) fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), description: description.into() }
    }

    /// Says that there is no such thing as `what` with this id.
    pub(crate) fn not_found(what: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound { what, id: id.into() }
    }

    /// Logs what the database said and keeps it from the caller.
    pub(crate) fn unavailable(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a read of a participant failed");
        Self::Unavailable
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (http, status, reason, message) = match &self {
            Self::Invalid { field, description } => {
                (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "INVALID_FIELD", format!("{field}: {description}"))
            }
            Self::NotFound { what, id } => {
                (StatusCode::NOT_FOUND, "NOT_FOUND", "NOT_FOUND", format!("there is no {what} {id:?}"))
            }
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "UNAVAILABLE",
                "DATABASE_UNAVAILABLE",
                "the database does not answer; try again".to_owned(),
            ),
        };
        let mut details = vec![json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "amends",
        })];
        if let Self::Invalid { field, description } = &self {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{ "field": field, "description": description }],
            }));
        }
        let error = json!({ "code": http.as_u16(), "status": status, "message": message, "details": details });
        (http, Json(json!({ "error": error }))).into_response()
    }
}

/// The query of a list: the one filter that it needs, and a page size.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ListQuery {
    user_id: Option<String>,
    order_id: Option<String>,
    limit: Option<u32>,
}

/// How a list's query arrives: read, or the reason why it cannot be.
pub(crate) type ListArguments = Result<Query<ListQuery>, QueryRejection>;

impl ListQuery {
    /// The user and the page size asked for.
    pub(crate) fn by_user(query: ListArguments) -> Result<(String, u32), ApiError> {
        let query = Self::read(query)?;
        let limit = query.limit()?;
        Ok((required("user_id", query.user_id)?, limit))
    }

    /// The order and the page size asked for.
    pub(crate) fn by_order(query: ListArguments) -> Result<(String, u32), ApiError> {
        let query = Self::read(query)?;
        let limit = query.limit()?;
        Ok((required("order_id", query.order_id)?, limit))
    }

    fn read(query: ListArguments) -> Result<Self, ApiError> {
        query.map(|Query(query)| query).map_err(|rejection| ApiError::invalid("query", rejection.body_text()))
    }

    fn limit(&self) -> Result<u32, ApiError> {
        match self.limit {
            None => Ok(LIMIT_DEFAULT),
            Some(limit @ 1..=LIMIT_MAX) => Ok(limit),
            Some(_) => Err(ApiError::invalid("limit", format!("must be from 1 to {LIMIT_MAX}"))),
        }
    }
}

fn required(field: &'static str, value: Option<String>) -> Result<String, ApiError> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| ApiError::invalid(field, "is required"))
}
