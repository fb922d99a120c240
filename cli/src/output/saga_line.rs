//! One line for one saga that has ended or parked: what it did, in the order in which it was done.

use amends_core::{Phase, Saga, Span, Status, StepDefinition, StepState};
use owo_colors::OwoColorize;

/// Width at which the total stands, when the line is shorter.
const TOTAL_AT: usize = 92;

/// Renders e.g. `✓  order 7f3a12bc  create 2ms → payment 4ms → inventory 3ms → notification 1ms    12ms`.
pub(crate) fn render(saga: &Saga) -> String {
    let id = saga.id.as_uuid().simple().to_string();
    let symbol = match saga.status {
        Status::Completed => format!("{} ", "✓".green()),
        Status::Compensated => format!("{}{}", "↩".yellow(), "✓".green()),
        Status::Parked => format!("{} ", "⏸".red()),
        Status::Running | Status::Compensating => "… ".to_owned(),
    };
    let text = format!("{} {}  {}", saga.definition.saga_type, &id[24..], steps(saga));
    let total = millis(Span { start: Some(saga.started_at), end: Some(saga.updated_at) });
    let gap = TOTAL_AT.saturating_sub(text.chars().count() + total.len()).max(2);
    format!("{symbol} {text}{}{total}", " ".repeat(gap))
}

fn steps(saga: &Saga) -> String {
    let mut forward: Vec<_> = saga.iter().filter(|(_, _, state)| state.executed.start.is_some()).collect();
    forward.sort_by_key(|(index, _, state)| (state.executed.start, *index));
    let way = forward.iter().filter(|(_, definition, _)| definition.on == amends_core::On::Forward);
    let mut text = way.map(|(_, definition, state)| step(saga, definition, state)).collect::<Vec<_>>().join(" → ");
    let mut back: Vec<_> = saga.iter().filter(|(_, _, state)| state.undone.start.is_some()).collect();
    back.sort_by_key(|(index, _, state)| (state.undone.start, std::cmp::Reverse(*index)));
    for (_, definition, state) in back {
        let mark = if matches!(state.phase, Phase::Parked(_)) { " ⏸" } else { "" };
        text.push_str(&format!(" ↩ {}{mark}", word(saga, definition)));
    }
    if saga.status == Status::Parked {
        text.push_str(&format!("  try: amends show {}", &saga.id.as_uuid().simple().to_string()[24..]));
    }
    text
}

fn step(saga: &Saga, definition: &StepDefinition, state: &StepState) -> String {
    let word = word(saga, definition);
    match (state.phase, &state.failure) {
        (Phase::Refused | Phase::Unknown, Some(failure)) => format!("{word} ✗ {}", failure.code),
        (Phase::Parked(_), Some(failure)) if state.undone.start.is_none() => format!("{word} ⏸ {}", failure.code),
        _ if state.executed.end.is_none() => format!("{word} …"),
        _ if state.undone.start.is_some() && state.output.is_none() => format!("{word} ?"),
        _ => format!("{word} {}", millis(state.executed)),
    }
}

/// The participant's name says most; for the saga's own participant it is the verb that does.
fn word<'a>(saga: &Saga, definition: &'a StepDefinition) -> &'a str {
    if definition.participant == saga.definition.saga_type.as_str() {
        definition.command.rsplit('.').next().unwrap_or(&definition.command)
    } else {
        &definition.participant
    }
}

fn millis(span: Span) -> String {
    match (span.start, span.end) {
        (Some(start), Some(end)) => match end.since(start).0 {
            short @ 0..10_000 => format!("{short}ms"),
            long => format!("{:.1}s", long as f64 / 1_000.0),
        },
        _ => String::new(),
    }
}
