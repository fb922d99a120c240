//! How long a caller waits.

use std::time::Duration;

use axum::http::HeaderMap;
use tokio::time::Instant;

use crate::service::wait::WAIT_MAX;

/// gRPC's own header for it.
const HEADER: &str = "grpc-timeout";

/// What an answer needs to be written and to travel, at the least.
const MARGIN: Duration = Duration::from_millis(50);

/// How long an answer may be held back for a caller who has said how long it waits. An answer in time says more than
/// none, so a tenth of it is left for the way.
pub fn wait_max(headers: &HeaderMap) -> Duration {
    said(headers).map_or(WAIT_MAX, |said| said.min(WAIT_MAX))
}

/// The same as a moment; `None` if the caller has not said how long it waits.
pub(super) fn give_up(headers: &HeaderMap) -> Option<Instant> {
    // What no clock can hold is as good as nothing.
    Instant::now().checked_add(said(headers)?)
}

fn said(headers: &HeaderMap) -> Option<Duration> {
    let given = headers.get(HEADER).and_then(|value| value.to_str().ok()).and_then(read)?;
    Some(given.saturating_sub((given / 10).max(MARGIN)))
}

/// Up to eight digits and a unit.
fn read(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u32 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(u64::from(number) * 3_600),
        "M" => Duration::from_secs(u64::from(number) * 60),
        "S" => Duration::from_secs(number.into()),
        "m" => Duration::from_millis(number.into()),
        "u" => Duration::from_micros(number.into()),
        "n" => Duration::from_nanos(number.into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_comes_before_the_caller_gives_up() {
        let wait = |text: &str| wait_max(&HeaderMap::from_iter([(HEADER.parse().unwrap(), text.parse().unwrap())]));
        assert_eq!(wait("10S"), Duration::from_secs(9));
        assert_eq!(wait("100m"), Duration::from_millis(50));
        assert_eq!(wait("20m"), Duration::ZERO);
        assert_eq!(wait("2H"), WAIT_MAX);
        for text in ["", "S", "1", "1x", "é"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(wait_max(&HeaderMap::new()), WAIT_MAX);
    }
}
