//! What can go wrong with a request, named by what the caller does next.

use amends_core::{Millis, Shard};

/// Why a request was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ServiceError {
    /// The request is wrong and will stay so.
    #[error("{field}: {message}")]
    Invalid {
        /// The field at fault, e.g. `items[0].quantity`.
        field: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The key is taken by another request.
    #[error("{0}")]
    AlreadyExists(String),
    /// The state does not allow it.
    #[error("{0}")]
    NotAllowed(String),
    /// Too much is under way; nothing was done.
    #[error("too many sagas are under way; try again in {}", .retry_after)]
    Overloaded {
        /// When to come back.
        retry_after: Millis,
    },
    /// It cannot be done now; whether it was done is unknown. Repeating it with the same key is safe.
    #[error("{0}")]
    Unavailable(String),
    /// Another engine owns the shard; nothing was done. Said between engines, never to clients.
    #[error("this engine does not own shard {shard}")]
    NotOwner {
        /// The saga's.
        shard: Shard,
    },
    /// A fault of the engine's; the log has more.
    #[error("internal error")]
    Internal,
}

impl ServiceError {
    /// Builds the commonest one.
    pub fn invalid(field: impl Into<String>, message: impl ToString) -> Self {
        Self::Invalid { field: field.into(), message: message.to_string() }
    }

    /// The stable word for programs, e.g. `INVALID_ARGUMENT`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "INVALID_FIELD",
            Self::NotFound(_) => "NOT_FOUND",
            Self::AlreadyExists(_) => "KEY_TAKEN",
            Self::NotAllowed(_) => "NOT_ALLOWED",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::Unavailable(_) => "UNAVAILABLE",
            Self::NotOwner { .. } => "NOT_OWNER",
            Self::Internal => "INTERNAL",
        }
    }
}

impl From<crate::store::StoreError> for ServiceError {
    fn from(error: crate::store::StoreError) -> Self {
        use crate::store::StoreError;
        match error {
            StoreError::Unavailable(_) | StoreError::Fenced(_) => Self::Unavailable(error.to_string()),
            StoreError::Conflict(message) => Self::NotAllowed(message),
            StoreError::Corrupt(_) => {
                tracing::error!(%error, "a stored saga cannot be read");
                Self::Internal
            }
        }
    }
}
