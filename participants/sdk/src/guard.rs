//! Keeps an author's code that panics or hangs from taking others with it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use amends_core::{SagaId, Timestamp};
use futures::FutureExt;

use crate::step::StepError;

/// Longest time that one step or subscriber may take: it holds the only write transaction meanwhile. Postgres takes a
/// session that is idle for five seconds for a stopped one, and ends it: a step that hangs must be given up before.
const RUN_MAX: Duration = Duration::from_secs(3);

/// Runs an author's code; `name` and `saga_id` are for the log.
pub(crate) async fn guard<T>(
    name: &str,
    saga_id: SagaId,
    code: impl Future<Output = Result<T, StepError>> + Send,
) -> Result<T, StepError> {
    match tokio::time::timeout(RUN_MAX, AssertUnwindSafe(code).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            tracing::error!(%saga_id, name, message = panic_message(panic.as_ref()), "a participant's code panicked");
            Err(StepError::try_again(format!("{name} panicked; see the participant's log")))
        }
        Err(_) => {
            tracing::error!(%saga_id, name, "a participant's code took too long");
            Err(StepError::try_again(format!("{name} took longer than {} s", RUN_MAX.as_secs())))
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The wall clock; nothing is decided by it, it is only written into tables.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
