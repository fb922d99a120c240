//! What a participant author writes: one type per step.

use std::fmt;
use std::time::Duration;

use amends_core::{Failure, Millis, Outcome};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::StepContext;
use crate::database::DatabaseError;

/// Does one thing for a saga, and can undo it.
///
/// Both functions run inside a database transaction that the host commits before it answers, at most once per saga:
/// copies of a command, late ones and those out of order never reach them. What they change must go through `cx`;
/// anything else (a call to another service) is not undone when the transaction is. They may be run more than once for one
/// command, in a transaction that is rolled back and again in the one that is committed. They hold the participant's only
/// write transaction while they run, so they must not wait for anything slow; after three seconds the host gives up.
pub trait Step: Send + Sync + 'static {
    /// What the saga's definition passes in, as JSON.
    type Input: DeserializeOwned + Send;
    /// What later steps may use, as JSON. It is stored, and handed to [`Step::compensate`]; later versions of the
    /// program must still be able to read it.
    type Output: Serialize + DeserializeOwned + Send;
    /// The command that the step answers to, e.g. `payment.charge`.
    const COMMAND: &'static str;

    /// Does the step. Whatever it has written is rolled back when it returns an error.
    fn execute(
        &self,
        cx: &mut StepContext<'_>,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, StepError>> + Send;

    /// Undoes the step, given what it answered; called only if it was done.
    ///
    /// There is no business refusal here: [`StepError::Refused`] changes nothing and parks the saga for an operator.
    fn compensate(
        &self,
        cx: &mut StepContext<'_>,
        input: Self::Input,
        done: Self::Output,
    ) -> impl Future<Output = Result<(), StepError>> + Send;
}

/// Why a step was not done. Either way nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A business no: never retried, the saga is undone.
    #[error("{code}: {message}")]
    Refused {
        /// Stable, upper-case, e.g. `OUT_OF_STOCK`.
        code: String,
        /// For people; no secrets.
        message: String,
    },
    /// Something transient: the same command comes again.
    #[error("{message}")]
    TryAgain {
        /// For people; no secrets.
        message: String,
        /// The least wait before the next attempt, if the participant knows one.
        after: Option<Duration>,
    },
}

/// The code of a failure that a later attempt may not see again.
const TRY_AGAIN: &str = "TRY_AGAIN";

impl StepError {
    /// Builds a business no.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused { code: code.into(), message: message.into() }
    }

    /// Builds a transient failure that leaves the wait to the saga's retry policy.
    pub fn try_again(message: impl fmt::Display) -> Self {
        Self::TryAgain { message: message.to_string(), after: None }
    }

    /// What is answered.
    pub(crate) fn into_outcome(self) -> Outcome {
        match self {
            Self::Refused { code, message } => Outcome::Refused(Failure { code, message }),
            Self::TryAgain { message, after } => Outcome::TryAgain {
                failure: Failure::new(TRY_AGAIN, message),
                after: after.map(|wait| Millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))),
            },
        }
    }
}

impl From<DatabaseError> for StepError {
    fn from(error: DatabaseError) -> Self {
        Self::try_again(error)
    }
}
