//! Waiting at start for what is not up yet: databases and brokers are often started at the same moment.

use std::fmt::Display;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

/// The first and the longest wait between two tries, and how long all of them may take.
const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(250))
    .with_max_delay(Duration::from_secs(3))
    .with_total_delay(Some(Duration::from_secs(30)))
    .without_max_times();

/// Tries until it succeeds, until it fails for another reason than that the other side is not up, or for half a minute.
pub(crate) async fn until_up<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &'static str,
    connect: impl FnMut() -> F,
    is_down: impl FnMut(&E) -> bool,
) -> Result<T, E> {
    let tell = |error: &E, wait: Duration| {
        let again_in = humantime::format_duration(wait).to_string();
        tracing::warn!(%error, again_in, "{what} is not up yet");
    };
    connect.retry(RETRY).when(is_down).notify(tell).await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_down_is_waited_for_and_what_is_wrong_is_not() {
        let tries = Cell::new(0);
        let comes_up = || async {
            tries.set(tries.get() + 1);
            if tries.get() < 4 { Err("down") } else { Ok("up") }
        };
        assert_eq!(until_up("it", comes_up, |error| *error == "down").await, Ok("up"));
        let wrong = || async { Err::<(), _>("wrong") };
        assert_eq!(until_up("it", wrong, |error| *error == "down").await, Err("wrong"));
        let began = tokio::time::Instant::now();
        let stays_down = || async { Err::<(), _>("down") };
        assert_eq!(until_up("it", stays_down, |error| *error == "down").await, Err("down"));
        let took = began.elapsed();
        assert!((Duration::from_secs(20)..Duration::from_secs(35)).contains(&took), "{took:?}");
    }
}
