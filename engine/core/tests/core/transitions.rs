//! The published table of `docs/transitions.md`, cell by cell.
//!
//! Each cell puts a step into the row's phase, brings the column's input, and compares the phase that follows.

use amends_core::{
    Cause, CauseKind, Failure, Flight, Input, Operation, Operator, Outcome, Payload, Phase, Reply, Saga, SagaId,
    Status, StepIndex, StepName, Timer, Timestamp, decide, evolve,
};

use crate::world::definition;

const NOW: Timestamp = Timestamp(1_000_000);

/// A step under test between two neighbours: `before` is confirmed, `after` follows.
const COMPENSATABLE: &str = r#"
saga = "table"
version = 1
[[step]]
name = "probe"
command = "a.probe"
kind = "compensatable"
retry = { attempts = 2 }
[[step]]
name = "next"
command = "b.next"
kind = "pivot"
"#;

const RETRIABLE: &str = r#"
saga = "table"
version = 1
[[step]]
name = "next"
command = "b.next"
kind = "pivot"
[[step]]
name = "probe"
command = "a.probe"
kind = "retriable"
on_exhausted = "park"
retry = { attempts = 2 }
"#;

fn sent() -> Flight {
    Flight::Sent { until: NOW }
}

fn waiting() -> Flight {
    Flight::Waiting { at: NOW }
}

fn phase(row: &str) -> Phase {
    match row {
        "pending" => Phase::Pending,
        "sent" => Phase::Executing(sent()),
        "waiting" => Phase::Executing(waiting()),
        "succeeded" => Phase::Succeeded { rank: 1 },
        "refused" => Phase::Refused,
        "unknown" => Phase::Unknown,
        "skipped" => Phase::Skipped,
        "undo sent" => Phase::Compensating(sent()),
        "undo waiting" => Phase::Compensating(waiting()),
        "undone" => Phase::Compensated,
        "parked" => Phase::Parked(Operation::Execute),
        "undo parked" => Phase::Parked(Operation::Compensate),
        _ => panic!("no such phase: {row}"),
    }
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "pending",
        Phase::Executing(Flight::Sent { .. }) => "sent",
        Phase::Executing(Flight::Waiting { .. }) => "waiting",
        Phase::Succeeded { .. } => "succeeded",
        Phase::Refused => "refused",
        Phase::Unknown => "unknown",
        Phase::Skipped => "skipped",
        Phase::Compensating(Flight::Sent { .. }) => "undo sent",
        Phase::Compensating(Flight::Waiting { .. }) => "undo waiting",
        Phase::Compensated => "undone",
        Phase::Parked(Operation::Execute) => "parked",
        Phase::Parked(Operation::Compensate) => "undo parked",
    }
}

/// A saga whose step `probe` is in a phase, and whose other parts are as they would be then. It is paused where it
/// would not stay in that phase otherwise.
fn saga(source: &str, row: &str, last_attempt: bool) -> (Saga, StepIndex) {
    let mut saga = Saga::new(SagaId::from_uuid(uuid::Uuid::from_u128(5)), definition(source));
    let probe = saga.definition.step_index(&StepName::new("probe").unwrap()).unwrap();
    let next = StepIndex(1 - probe.0);
    let phase = phase(row);
    let back = matches!(row, "refused" | "unknown" | "undo sent" | "undo waiting" | "undone" | "undo parked");
    (saga.seq, saga.input, saga.updated_at) = (3, Payload::null(), NOW);
    saga.steps[probe.0].phase = phase;
    saga.steps[probe.0].attempt = if row == "pending" { 0 } else { 1 + u32::from(last_attempt) };
    saga.paused = matches!(row, "refused" | "unknown" | "undone" | "pending");
    saga.status = match row {
        "parked" | "undo parked" => Status::Parked,
        _ if back => Status::Compensating,
        _ => Status::Running,
    };
    if back {
        let failure = Failure::new("NO", "no");
        saga.cause = Some(Cause { kind: CauseKind::Refused, step: None, failure });
        saga.steps[next.0].phase = Phase::Refused;
    } else if next.0 < probe.0 {
        saga.steps[next.0].phase = Phase::Succeeded { rank: 1 };
    } else if matches!(row, "succeeded" | "skipped") {
        saga.steps[next.0].phase = Phase::Executing(Flight::Sent { until: Timestamp(NOW.0 + 1) });
    }
    (saga, probe)
}

/// The input of a column; its header ends in `last` where no attempt is left.
fn input(column: &str, saga: &Saga, probe: StepIndex) -> Input {
    let step = StepName::new("probe").unwrap();
    let state = &saga.steps[probe.0];
    let operator = Operator { who: "eve".into(), reason: String::new() };
    let operation = state.flight().map_or(Operation::Execute, |(operation, _)| operation);
    let reply = |operation, outcome| {
        let command_id = saga.command_id(probe, operation);
        Input::Reply(Reply {
            command_id,
            saga_id: saga.id,
            step: step.clone(),
            operation,
            attempt: state.attempt,
            outcome,
        })
    };
    let failure = Failure::new("X", "x");
    match column.trim_end_matches(" last") {
        "done" => reply(Operation::Execute, Outcome::Done(Payload::null())),
        "refused" => reply(Operation::Execute, Outcome::Refused(failure)),
        "try again" => reply(Operation::Execute, Outcome::TryAgain { failure, after: None }),
        "undo done" => reply(Operation::Compensate, Outcome::Done(Payload::null())),
        "undo refused" => reply(Operation::Compensate, Outcome::Refused(failure)),
        "undo try again" => reply(Operation::Compensate, Outcome::TryAgain { failure, after: None }),
        "time-out" => Input::TimerFired(Timer::StepTimeout { step, operation, attempt: state.attempt }),
        "due" => Input::TimerFired(Timer::Retry { step, operation, attempt: state.attempt }),
        "retry" => Input::Retry { operator, step: Some(step), input: None },
        "skip" => Input::Skip { operator, step, result: None },
        _ => panic!("no such column: {column}"),
    }
}

fn cell(source: &str, row: &str, column: &str) -> &'static str {
    let (mut saga, probe) = saga(source, row, column.ends_with(" last"));
    match decide(&saga, &input(column, &saga, probe), NOW) {
        Err(_) => "–",
        Ok(events) => {
            // The step's own next phase: what the transition goes on to do with it afterwards is another cell's.
            let mut steps = Vec::new();
            for event in &events {
                evolve(&mut saga, event, NOW);
                steps.push(saga.steps[probe.0].phase);
            }
            let changed = steps.into_iter().find(|after| *after != phase(row));
            changed.map_or(row_word(row), word)
        }
    }
}

fn row_word(row: &str) -> &'static str {
    word(phase(row))
}

#[test]
fn the_published_table_is_what_happens() {
    let page = include_str!("../../../../docs/transitions.md");
    let mut wrong = Vec::new();
    let mut cells = 0;
    for (title, source) in [("## Compensatable steps", COMPENSATABLE), ("## Retriable steps", RETRIABLE)] {
        let section = page.split_once(title).unwrap_or_else(|| panic!("no section {title}")).1;
        let mut lines = section.lines().filter(|line| line.starts_with('|'));
        let split =
            |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let header = split(lines.next().unwrap());
        for line in lines.skip(1).take_while(|line| !line.starts_with("| phase")).take(12) {
            let row = split(line);
            for (column, published) in header.iter().zip(&row).skip(1) {
                cells += 1;
                let actual = cell(source, &row[0], column);
                if actual != published {
                    wrong.push(format!("{title}: {} × {column}: published {published}, happens {actual}", row[0]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cells, 2 * 12 * 13, "the whole table was read");
}

#[test]
fn no_timer_acts_early_or_for_another_attempt() {
    for (row, column) in [("sent", "time-out"), ("waiting", "due"), ("undo sent", "time-out"), ("undo waiting", "due")]
    {
        let (saga, probe) = saga(COMPENSATABLE, row, false);
        let timer = input(column, &saga, probe);
        assert!(decide(&saga, &timer, NOW).is_ok(), "{row}");
        assert_eq!(decide(&saga, &timer, Timestamp(NOW.0 - 1)), Err(amends_core::Rejected::Void), "early (I31): {row}");
        let mut moved_on = saga.clone();
        moved_on.steps[probe.0].attempt += 1;
        assert_eq!(decide(&moved_on, &timer, NOW), Err(amends_core::Rejected::Void), "moved on (I31): {row}");
    }
}
