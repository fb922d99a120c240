//! How long the caller waits of whose request this task is part: known where the request comes in, and used where it may
//! have to wait for an owner. A task's own, like its span, so that nothing in between has to hand it on.

use tokio::time::Instant;

tokio::task_local! {
    static GIVE_UP: Instant;
}

/// Runs a request whose caller waits until a moment, if it has said so.
pub(crate) async fn until<F: Future>(give_up: Option<Instant>, request: F) -> F::Output {
    match give_up {
        Some(give_up) => GIVE_UP.scope(give_up, request).await,
        None => request.await,
    }
}

/// The moment to give up: `latest`, or before that the caller's.
pub(super) fn give_up(latest: Instant) -> Instant {
    GIVE_UP.try_with(|caller| latest.min(*caller)).unwrap_or(latest)
}
