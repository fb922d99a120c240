//! The two sentences of a saga: what it waits for, and why it is where it is.

use amends_core::{
    Action, Cause, CauseKind, Flight, On, Operation, Phase, Saga, Status, StepDefinition, StepIndex, StepState,
    Timestamp,
};

use super::convert::{handle, span};
use super::detail::said;
use super::history::History;

/// What the saga waits for at `now`; empty once it has ended.
pub(super) fn waiting_for(history: &History, now: Timestamp) -> String {
    let saga = &history.saga;
    if saga.status.is_terminal() {
        return String::new();
    }
    let mut parts = Vec::new();
    if saga.paused {
        parts.push(paused(history));
    }
    if saga.status == Status::Parked {
        parts.push(parked(saga));
    }
    parts.extend(saga.iter().filter_map(|(_, definition, state)| in_flight(saga, definition, state, now)));
    if parts.is_empty() {
        return "waiting for an engine to carry it on".to_owned();
    }
    parts.join("; ")
}

fn paused(history: &History) -> String {
    let Some(act) = history.act(Action::Pause) else { return "paused".to_owned() };
    let reason = if act.reason.is_empty() { String::new() } else { format!(" ({})", act.reason) };
    format!("paused by {}{reason} since {}; to go on: amends resume {}", act.who, act.at, handle(&history.saga))
}

fn parked(saga: &Saga) -> String {
    let steps: Vec<_> = saga
        .iter()
        .filter_map(|(_, definition, state)| match state.phase {
            Phase::Parked(Operation::Execute) => Some(definition.name.to_string()),
            Phase::Parked(Operation::Compensate) => Some(format!("the compensation of {}", definition.name)),
            _ => None,
        })
        .collect();
    if steps.is_empty() {
        return "parked: an operator must resolve it".to_owned();
    }
    format!("parked: an operator must retry, skip or resolve {}", steps.join(" and "))
}

fn in_flight(saga: &Saga, definition: &StepDefinition, state: &StepState, now: Timestamp) -> Option<String> {
    let (operation, flight) = state.flight()?;
    let (what, attempts) = match operation {
        Operation::Execute => (definition.command.clone(), definition.retry.attempts),
        Operation::Compensate => {
            (format!("the compensation of {}", definition.command), definition.compensation_retry.attempts)
        }
    };
    let used = state.attempts_used();
    Some(match flight {
        Flight::Sent { until } => {
            let left = if until > now {
                format!("times out in {}", span(until.since(now)))
            } else {
                "just timed out".to_owned()
            };
            let participant = &definition.participant;
            format!("waiting for {participant}'s answer to {what} (attempt {used} of {attempts}), {left}")
        }
        Flight::Waiting { .. } if saga.is_held() => format!("the next attempt of {what} is held back"),
        Flight::Waiting { at } => {
            let due = if at > now { format!("in {}, at {at}", span(at.since(now))) } else { "now".to_owned() };
            format!("next attempt of {what} ({} of {attempts}) {due}", used + 1)
        }
    })
}

/// Why the saga ended as it did or is where it is, with what to do if something is to be done.
pub(super) fn why(history: &History) -> String {
    match history.saga.status {
        Status::Completed => completed(history),
        Status::Compensated => compensated(history),
        Status::Parked => why_parked(history),
        Status::Compensating => compensating(history),
        Status::Running => running(history),
    }
}

fn completed(history: &History) -> String {
    let saga = &history.saga;
    let took = span(saga.updated_at.since(saga.started_at));
    if let Some(by_hand) = resolved(history) {
        return by_hand;
    }
    let forward: Vec<_> = saga.definition.steps_on(On::Forward).collect();
    let confirmed = forward.iter().filter(|index| history.steps[index.0].rank > 0).count();
    let mut text = match (confirmed, forward.len()) {
        (1, 1) => format!("Its only step was confirmed in {took}."),
        (confirmed, all) if confirmed == all => format!("All {all} steps were confirmed in {took}."),
        (confirmed, all) => format!("{confirmed} of {all} steps were confirmed in {took}."),
    };
    for index in forward.into_iter().filter(|index| saga.steps[index.0].phase == Phase::Skipped) {
        text.push(' ');
        text.push_str(&skipped(history, index));
    }
    if saga.overdue {
        text.push_str(" It missed its deadline.");
    }
    text
}

fn skipped(history: &History, index: StepIndex) -> String {
    let (name, past) = (&history.saga.definition.step(index).name, &history.steps[index.0]);
    let by = past.settled_by.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
    match past.failure() {
        Some(failure) => format!("{name} was passed over{by} ({}).", said(failure)),
        None => format!("{name} was passed over{by}."),
    }
}

fn compensated(history: &History) -> String {
    if let Some(by_hand) = resolved(history) {
        return by_hand;
    }
    let undone: Vec<_> = history
        .undone
        .iter()
        .map(|index| {
            let name = &history.saga.definition.step(*index).name;
            match &history.steps[index.0].settled_by {
                Some(who) => format!("{name} (by hand, {who})"),
                None => name.to_string(),
            }
        })
        .collect();
    let undone = match undone.as_slice() {
        [] => "nothing had to be undone".to_owned(),
        [one] => format!("1 step was undone: {one}"),
        more => format!("{} steps were undone in reverse order: {}", more.len(), more.join(", ")),
    };
    let mut text = format!("{}; {undone}.", cause(history));
    for index in history.saga.definition.steps_on(On::Compensated) {
        let name = &history.saga.definition.step(index).name;
        text.push(' ');
        match history.saga.steps[index.0].phase {
            Phase::Skipped => text.push_str(&skipped(history, index)),
            _ => text.push_str(&format!("Afterwards {name} was confirmed.")),
        }
    }
    text
}

/// The sentence for a saga that an operator declared ended.
fn resolved(history: &History) -> Option<String> {
    let act = history.act(Action::Resolve)?;
    let reason = if act.reason.is_empty() { String::new() } else { format!(": {}", act.reason) };
    Some(format!("{} declared it {}{reason}.", act.who, history.saga.status.as_str()))
}

fn compensating(history: &History) -> String {
    let saga = &history.saga;
    let left = super::plan::plan(saga).len() + saga.steps.iter().filter(|step| is_being_undone(step)).count();
    let (done, all) = (history.undone.len(), history.undone.len() + left);
    if left == 0 {
        return format!("{}; everything is undone, the steps after that are under way.", cause(history));
    }
    format!("{}; {done} of {all} {} undone so far.", cause(history), if all == 1 { "step is" } else { "steps are" })
}

const fn is_being_undone(step: &StepState) -> bool {
    matches!(step.phase, Phase::Compensating(_) | Phase::Parked(Operation::Compensate))
}

/// What ended the way forward, without a full stop.
fn cause(history: &History) -> String {
    let saga = &history.saga;
    let Some(Cause { kind, step, failure }) = &saga.cause else { return "It turned back".to_owned() };
    let index = step.as_ref().and_then(|name| saga.definition.step_index(name));
    let step = step.as_ref().map_or("a step", |name| name.as_str());
    match (kind, index) {
        (CauseKind::Refused, Some(index)) => {
            format!("{step} was refused by {} ({})", saga.definition.step(index).participant, said(failure))
        }
        (CauseKind::Refused, None) => format!("{step} was refused ({})", said(failure)),
        (CauseKind::Exhausted, Some(index)) => {
            let sent = history.steps[index.0].attempts;
            format!("{step} was given up after {} ({})", counted(sent as usize, "attempt"), said(failure))
        }
        (CauseKind::Exhausted, None) => format!("{step} was given up ({})", said(failure)),
        (CauseKind::Deadline, _) => "Its deadline passed before the point of no return".to_owned(),
        (CauseKind::Cancelled, _) => match history.act(Action::Cancel) {
            Some(act) if act.reason.is_empty() => format!("It was cancelled by {}", act.who),
            Some(act) => format!("It was cancelled by {} ({})", act.who, act.reason),
            None => format!("It was cancelled ({})", failure.message),
        },
    }
}

fn why_parked(history: &History) -> String {
    let saga = &history.saga;
    let handle = handle(saga);
    let parked: Vec<_> = saga.iter().filter(|(_, _, state)| matches!(state.phase, Phase::Parked(_))).collect();
    let mut parts = Vec::new();
    for (_, definition, state) in &parked {
        let name = &definition.name;
        let problem = state.failure.as_ref().map(said).unwrap_or_default();
        let failed = if state.attempt > 1 { format!("failed {} times", state.attempt) } else { "failed".to_owned() };
        parts.push(match state.phase {
            Phase::Parked(Operation::Compensate) => {
                format!("The compensation of {name} {failed} ({problem}) and waits for an operator.")
            }
            _ if state.refused => {
                format!(
                    "{name} was refused by {} ({problem}), cannot be undone, and waits for an operator.",
                    definition.participant
                )
            }
            _ => format!("{name} {failed} ({problem}), cannot be undone, and waits for an operator."),
        });
    }
    match parked.as_slice() {
        [] => parts.push(format!(
            "Its journal holds a step that its definition does not have. Try: amends resolve {handle} --as compensated --reason TEXT"
        )),
        [(_, definition, _)] => parts.push(format!(
            "Try: amends retry {handle}, or, to pass over it: amends skip {handle} --step {} --reason TEXT",
            definition.name
        )),
        _ => parts.push(format!("Try: amends retry {handle}")),
    }
    parts.join(" ")
}

fn running(history: &History) -> String {
    let saga = &history.saga;
    let forward: Vec<_> = saga.definition.steps_on(On::Forward).collect();
    let settled = forward.iter().filter(|index| saga.steps[index.0].is_settled()).count();
    let mut parts = vec![format!("{settled} of {} settled so far.", counted(forward.len(), "step"))];
    for (_, definition, state) in saga.iter() {
        if let (Some(_), Some(failure)) = (state.flight(), &state.failure) {
            parts.push(format!(
                "{} has failed before ({}) and is tried again by itself.",
                definition.name,
                said(failure)
            ));
        }
    }
    if saga.overdue {
        parts.push("Its deadline passed after the point of no return: it can only go forward.".to_owned());
    }
    parts.join(" ")
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
