//! Between the core's types and the wire's, and how spans and names are written for people.

use amends_core::{Millis, Saga, Status, Timestamp};
use amends_proto::amends::v1::SagaStatus;

/// Characters of an id that name it in a suggested command: unique among millions of sagas, still readable.
const SHORT_ID: usize = 8;

/// A point in time on the wire.
pub fn timestamp(at: Timestamp) -> amends_proto::Timestamp {
    let nanos = at.0.rem_euclid(1_000) * 1_000_000;
    amends_proto::Timestamp { seconds: at.0.div_euclid(1_000), nanos: i32::try_from(nanos).unwrap_or(0) }
}

/// A status on the wire.
pub const fn status_to_proto(status: Status) -> SagaStatus {
    match status {
        Status::Running => SagaStatus::Running,
        Status::Compensating => SagaStatus::Compensating,
        Status::Completed => SagaStatus::Completed,
        Status::Compensated => SagaStatus::Compensated,
        Status::Parked => SagaStatus::Parked,
    }
}

/// A status from the wire; `None` if it was left unspecified.
pub const fn status_from_proto(status: SagaStatus) -> Option<Status> {
    match status {
        SagaStatus::Unspecified => None,
        SagaStatus::Running => Some(Status::Running),
        SagaStatus::Compensating => Some(Status::Compensating),
        SagaStatus::Completed => Some(Status::Completed),
        SagaStatus::Compensated => Some(Status::Compensated),
        SagaStatus::Parked => Some(Status::Parked),
    }
}

/// A span of time as people read it: `12ms`, `1.2s`, `2m 5s`, `3h 20m`, `4d 6h`.
pub fn span(span: Millis) -> String {
    let (ms, s) = (span.0, span.0 / 1_000);
    let (whole, unit, rest, rest_unit) = match s {
        0 => return format!("{ms}ms"),
        1..60 => {
            let tenths = ms % 1_000 / 100;
            return if tenths == 0 { format!("{s}s") } else { format!("{s}.{tenths}s") };
        }
        60..3_600 => (s / 60, "m", s % 60, "s"),
        3_600..86_400 => (s / 3_600, "h", s % 3_600 / 60, "m"),
        _ => (s / 86_400, "d", s % 86_400 / 3_600, "h"),
    };
    if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit} {rest}{rest_unit}") }
}

/// What to call a saga in a suggested command: `TYPE/KEY` where a shell passes the key on as it is, else the end of its id.
pub fn handle(saga: &Saga) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '@' | '/');
    match &saga.key {
        Some(key) if key.as_str().chars().all(plain) => format!("{}/{key}", saga.definition.saga_type),
        _ => {
            let id = saga.id.as_uuid().simple().to_string();
            id[id.len() - SHORT_ID..].to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (ms, text) in [
            (0, "0ms"),
            (12, "12ms"),
            (1_250, "1.2s"),
            (5_000, "5s"),
            (59_999, "59.9s"),
            (900_000, "15m"),
            (125_000, "2m 5s"),
            (12_000_000, "3h 20m"),
            (367_200_000, "4d 6h"),
        ] {
            assert_eq!(span(Millis(ms)), text);
        }
    }

    #[test]
    fn times_before_the_epoch_keep_their_order() {
        let before = timestamp(Timestamp(-1));
        assert_eq!((before.seconds, before.nanos), (-1, 999_000_000));
    }
}
