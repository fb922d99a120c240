//! Checks of single fields that several use cases share. Every failure names its field.

use amends_core::{IdempotencyKey, Millis, Payload, SagaType, StepName, Timestamp};
use amends_proto::{Duration, Timestamp as ProtoTimestamp};

use super::ServiceError;
use crate::store::Page;

/// Longest accepted free text, in characters: a reason stands in the journal, the audit and every list.
const TEXT_MAX: usize = 1_000;

/// Longest accepted name of a principal, in characters.
const WHO_MAX: usize = 128;

/// Deepest accepted nesting of JSON: well below the 128 levels at which common readers of participants give up.
const JSON_DEPTH_MAX: usize = 100;

/// Entries on a page where the request does not say, and at most.
const PAGE_SIZE: u32 = 50;
const PAGE_SIZE_MAX: u32 = 1_000;

/// Longest accepted page token, in bytes: far more than stores make.
const TOKEN_MAX: usize = 512;

/// Longest accepted deadline: ten years, so that every point in time stays printable.
const DEADLINE_MAX: Millis = Millis(10 * 366 * 24 * 60 * 60 * 1_000);

/// Reads a saga type.
pub(crate) fn saga_type(field: &str, text: &str) -> Result<SagaType, ServiceError> {
    SagaType::new(text).map_err(|error| ServiceError::invalid(field, error))
}

/// Reads the name of a step.
pub(crate) fn step(field: &str, text: &str) -> Result<StepName, ServiceError> {
    StepName::new(text).map_err(|error| ServiceError::invalid(field, error))
}

/// Reads an idempotency key.
pub(crate) fn key(field: &str, text: &str) -> Result<IdempotencyKey, ServiceError> {
    IdempotencyKey::new(text).map_err(|error| ServiceError::invalid(field, error))
}

/// Checks free text: bounded, one line. Empty is fine.
pub(crate) fn text(field: &str, text: &str) -> Result<String, ServiceError> {
    bounded(field, text, TEXT_MAX)
}

/// Checks the name of a principal.
pub(crate) fn who(field: &str, text: &str) -> Result<String, ServiceError> {
    bounded(field, text, WHO_MAX)
}

fn bounded(field: &str, text: &str, max: usize) -> Result<String, ServiceError> {
    if text.chars().count() > max {
        return Err(ServiceError::invalid(field, format!("is longer than {max} characters")));
    }
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return Err(ServiceError::invalid(field, format!("holds the control character {c:?}; write it on one line")));
    }
    Ok(text.to_owned())
}

/// Reads one JSON value of bounded depth; keeps its text as it is.
pub(crate) fn json(field: &str, text: &str) -> Result<Payload, ServiceError> {
    if text.trim().is_empty() {
        return Err(ServiceError::invalid(field, "is missing; give a JSON value, e.g. {}"));
    }
    json_depth(field, text)?;
    Payload::from_json(text.to_owned()).map_err(|error| ServiceError::invalid(field, format!("is not JSON: {error}")))
}

/// Checks that a JSON text is not nested too deep.
pub(crate) fn json_depth(field: &str, text: &str) -> Result<(), ServiceError> {
    if depth(text.as_bytes()) > JSON_DEPTH_MAX {
        return Err(ServiceError::invalid(field, format!("is nested deeper than {JSON_DEPTH_MAX} levels")));
    }
    Ok(())
}

/// How deep the brackets of a JSON text are nested; those within strings do not count.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads size and token of a page; a size beyond the largest is the largest.
pub(crate) fn page(size: i32, token: &str) -> Result<Page, ServiceError> {
    let size = page_size(size)?.unwrap_or(PAGE_SIZE).min(PAGE_SIZE_MAX);
    if token.len() > TOKEN_MAX {
        return Err(ServiceError::invalid("page_token", "is not one that a page before this one gave"));
    }
    Ok(Page { size, token: token.to_owned() })
}

/// Reads the size of a page; `None` where the request does not say.
pub(crate) fn page_size(size: i32) -> Result<Option<u32>, ServiceError> {
    match u32::try_from(size) {
        Ok(0) => Ok(None),
        Ok(size) => Ok(Some(size)),
        Err(_) => Err(ServiceError::invalid("page_size", "is negative")),
    }
}

/// Reads a point in time.
pub(crate) fn time(field: &str, at: &ProtoTimestamp) -> Result<Timestamp, ServiceError> {
    let ms = at.seconds.checked_mul(1_000).and_then(|ms| ms.checked_add(i64::from(at.nanos / 1_000_000)));
    match ms {
        Some(ms) if (0..1_000_000_000).contains(&at.nanos) => Ok(Timestamp(ms)),
        _ => Err(ServiceError::invalid(field, "is not a point in time")),
    }
}

/// Reads how long a saga may take.
pub(crate) fn deadline(field: &str, span: &Duration) -> Result<Millis, ServiceError> {
    let ms = span.seconds.checked_mul(1_000).and_then(|ms| ms.checked_add(i64::from(span.nanos / 1_000_000)));
    match ms.and_then(|ms| u64::try_from(ms).ok()) {
        Some(ms) if (1..=DEADLINE_MAX.0).contains(&ms) => Ok(Millis(ms)),
        _ => Err(ServiceError::invalid(field, "must be more than nothing and at most ten years, e.g. \"900s\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_digits_and_is_bounded_in_depth() {
        assert_eq!(json("input", r#"{"n":1e400}"#).unwrap().as_str(), r#"{"n":1e400}"#);
        let brackets_in_text = format!(r#"{{"s":"{}\"{}"}}"#, "[".repeat(200), "{".repeat(200));
        assert!(json("input", &brackets_in_text).is_ok());
        let deep = "[".repeat(101) + &"]".repeat(101);
        assert!(json("input", &deep).is_err_and(|error| error.to_string().contains("nested deeper")));
        assert!(json("input", "{").is_err());
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(page(0, "").unwrap().size, 50);
        assert_eq!(page(5_000, "").unwrap().size, 1_000);
        assert!(page(-1, "").is_err());
    }

    #[test]
    fn text_is_one_bounded_line() {
        assert!(text("reason", "wrong size").is_ok() && text("reason", "").is_ok());
        assert!(text("reason", "a\nb").is_err() && text("reason", &"x".repeat(1_001)).is_err());
    }

    #[test]
    fn deadlines_are_spans_that_pass() {
        let seconds = |seconds| Duration { seconds, nanos: 0 };
        assert_eq!(deadline("deadline", &seconds(900)).unwrap(), Millis(900_000));
        assert!([0, -5, i64::MAX, 400 * 31_622_400].iter().all(|s| deadline("deadline", &seconds(*s)).is_err()));
    }
}
