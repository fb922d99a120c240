//! The last part of a path like `/v1/sagas/{id}:cancel`.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use tonic::Code;

use crate::api::errors::Problem;

/// A saga in a path, and what is to be done with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Id, suffix or `TYPE/KEY`, its percent signs resolved.
    pub(super) id: String,
    /// What follows the colon, if it is a verb.
    pub(super) verb: Option<Verb>,
}

/// What can follow the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Cancel,
    Retry,
    Pause,
    Resume,
    Skip,
    Resolve,
    Watch,
}

impl Verb {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Cancel, ":cancel"),
        (Self::Retry, ":retry"),
        (Self::Pause, ":pause"),
        (Self::Resume, ":resume"),
        (Self::Skip, ":skip"),
        (Self::Resolve, ":resolve"),
        (Self::Watch, ":watch"),
    ];
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(|rejection| {
            Problem::new(Code::InvalidArgument, StatusCode::BAD_REQUEST, "INVALID_PATH", rejection.body_text())
        })?;
        Ok(Self::split(parts.uri.path(), id))
    }
}

impl Target {
    /// A verb counts only where its colon stands in the path as it was sent: a key that ends like one is sent with `%3A`.
    fn split(path: &str, id: String) -> Self {
        for (verb, suffix) in Verb::ALL {
            if path.ends_with(suffix)
                && let Some(id) = id.strip_suffix(suffix)
            {
                return Self { id: id.to_owned(), verb: Some(verb) };
            }
        }
        Self { id, verb: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_told_from_a_key_that_ends_like_one() {
        let split = |path: &str, id: &str| {
            let target = Target::split(path, id.to_owned());
            (target.id, target.verb)
        };
        assert_eq!(split("/v1/sagas/7f3a:cancel", "7f3a:cancel"), ("7f3a".into(), Some(Verb::Cancel)));
        assert_eq!(split("/v1/sagas/order%2Fa:b:watch", "order/a:b:watch"), ("order/a:b".into(), Some(Verb::Watch)));
        assert_eq!(split("/v1/sagas/order%2Fa%3Acancel", "order/a:cancel"), ("order/a:cancel".into(), None));
        assert_eq!(split("/v1/sagas/order%2Fa:explode", "order/a:explode"), ("order/a:explode".into(), None));
    }
}
