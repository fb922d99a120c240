//! Steps of different types side by side: JSON in, JSON out.

use amends_core::{Payload, PayloadError};
use futures::future::BoxFuture;

use crate::context::StepContext;
use crate::step::{Step, StepError};

/// The command's payload is not what the step takes.
pub const INVALID_INPUT: &str = "INVALID_INPUT";
/// What the step once answered is not what it now takes to compensate.
pub const INVALID_OUTPUT: &str = "INVALID_OUTPUT";

/// A [`Step`] whose types are hidden.
pub(super) trait AnyStep: Send + Sync {
    fn execute<'f>(
        &'f self,
        cx: &'f mut StepContext<'_>,
        input: &'f Payload,
    ) -> BoxFuture<'f, Result<Payload, StepError>>;

    fn compensate<'f>(
        &'f self,
        cx: &'f mut StepContext<'_>,
        input: &'f Payload,
        done: &'f Payload,
    ) -> BoxFuture<'f, Result<(), StepError>>;
}

impl<S: Step> AnyStep for S {
    fn execute<'f>(
        &'f self,
        cx: &'f mut StepContext<'_>,
        input: &'f Payload,
    ) -> BoxFuture<'f, Result<Payload, StepError>> {
        Box::pin(async move {
            let input = input.decode().map_err(|error| invalid(INVALID_INPUT, &error))?;
            let output = Step::execute(self, cx, input).await?;
            Payload::encode(&output).map_err(|error| StepError::try_again(format!("cannot write the output: {error}")))
        })
    }

    fn compensate<'f>(
        &'f self,
        cx: &'f mut StepContext<'_>,
        input: &'f Payload,
        done: &'f Payload,
    ) -> BoxFuture<'f, Result<(), StepError>> {
        Box::pin(async move {
            let input = input.decode().map_err(|error| invalid(INVALID_INPUT, &error))?;
            let done = done.decode().map_err(|error| invalid(INVALID_OUTPUT, &error))?;
            Step::compensate(self, cx, input, done).await
        })
    }
}

fn invalid(code: &str, error: &PayloadError) -> StepError {
    StepError::refused(code, error.to_string())
}
