//! Words, symbols and colours of the states that sagas and steps can be in.

use amends_proto::amends::v1::{Saga, SagaStatus};

use super::tone::Tone;
use crate::filter::shell_word;

/// The word for a saga's status.
pub(crate) const fn word(status: SagaStatus) -> &'static str {
    match status {
        SagaStatus::Unspecified => "unknown",
        SagaStatus::Running => "running",
        SagaStatus::Compensating => "compensating",
        SagaStatus::Completed => "completed",
        SagaStatus::Compensated => "compensated",
        SagaStatus::Parked => "parked",
    }
}

/// Symbol, word and colour of a saga's status.
pub(crate) fn of_saga(status: SagaStatus, paused: bool) -> (String, Tone) {
    let (symbol, tone) = match status {
        SagaStatus::Unspecified => ("?", Tone::Plain),
        SagaStatus::Running => ("▸", Tone::Busy),
        SagaStatus::Compensating => ("↩", Tone::Undone),
        SagaStatus::Completed => ("✓", Tone::Good),
        SagaStatus::Compensated => ("↩✓", Tone::Undone),
        SagaStatus::Parked => ("⚠", Tone::Bad),
    };
    if paused {
        return (format!("⏸ {}, paused", word(status)), Tone::Warn);
    }
    (format!("{symbol} {}", word(status)), tone)
}

/// The same from the word that the order domain's messages carry.
pub(crate) fn of_word(status: &str) -> (String, Tone) {
    let known = [
        SagaStatus::Running,
        SagaStatus::Compensating,
        SagaStatus::Completed,
        SagaStatus::Compensated,
        SagaStatus::Parked,
    ];
    match known.into_iter().find(|known| word(*known) == status) {
        Some(known) => of_saga(known, false),
        None => (super::format::clean(status), Tone::Plain),
    }
}

/// Symbol and colour of a step's state.
pub(crate) fn of_step(state: &str) -> (&'static str, Tone) {
    match state {
        "executing" => ("▸", Tone::Busy),
        "waiting" => ("↻", Tone::Warn),
        "succeeded" => ("✓", Tone::Good),
        "refused" => ("✗", Tone::Bad),
        "unknown" => ("?", Tone::Warn),
        "skipped" => ("»", Tone::Faint),
        "compensating" | "compensated" => ("↩", Tone::Undone),
        "parked" => ("⚠", Tone::Bad),
        _ => ("·", Tone::Faint),
    }
}

/// The sentence that says why, and the command to try that the engine may have put after it.
pub(crate) fn why(saga: &Saga) -> (&str, Option<&str>) {
    match saga.why.split_once("Try: ") {
        Some((why, next)) => (why.trim_end(), Some(next)),
        None => (&saga.why, None),
    }
}

/// The command that an operator would try next on a saga that waits for one.
pub(crate) fn next_command(saga: &Saga) -> String {
    if let (_, Some(next)) = why(saga) {
        return super::format::clean(next);
    }
    let id = shell_word(&super::format::short_id(&saga.id));
    if saga.paused {
        return format!("amends resume {id}");
    }
    match saga.steps.iter().find(|step| step.state == "parked") {
        Some(step) => format!("amends retry {id} --step {}", shell_word(&step.name)),
        None => format!("amends show {id} --history"),
    }
}
