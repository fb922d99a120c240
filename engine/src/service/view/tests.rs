use amends_core::{
    Action, Cause, CauseKind, Definition, Event, Exhaustion, Failure, IdempotencyKey, Millis, On, Operation, Payload,
    RetryPolicy, SagaId, SagaType, StepDefinition, StepIndex, StepKind, StepName, Timestamp, Transition,
};
use amends_proto::amends::v1::{Saga, SagaStatus};
use std::sync::Arc;
use uuid::Uuid;

use super::{plan_of_cancelled, view};

/// create → charge → reserve (pivot) → notify, as the order saga has it.
fn definition() -> Arc<Definition> {
    let retry = RetryPolicy { attempts: 5, initial: Millis(100), factor: 2.0, max: Millis(10_000) };
    let step = |index: usize, name: &str, command: &str, kind| StepDefinition {
        name: StepName::new(name).unwrap(),
        command: command.to_owned(),
        participant: command.split('.').next().unwrap().to_owned(),
        kind,
        on: On::Forward,
        after: index.checked_sub(1).map(StepIndex).into_iter().collect(),
        timeout: Millis(5_000),
        retry,
        compensation_retry: retry,
        exhausted: Exhaustion::Park,
        input: None,
    };
    Arc::new(Definition {
        saga_type: SagaType::new("order").unwrap(),
        version: 1,
        checksum: Uuid::nil(),
        source: "".into(),
        deadline: None,
        steps: vec![
            step(0, "create_order", "order.create", StepKind::Compensatable),
            step(1, "charge_payment", "payment.charge", StepKind::Compensatable),
            step(2, "reserve_inventory", "inventory.reserve", StepKind::Pivot),
            step(3, "send_notification", "notification.send", StepKind::Retriable),
        ],
        events: Vec::new(),
    })
}

fn name(step: &str) -> StepName {
    StepName::new(step).unwrap()
}

fn started() -> Event {
    Event::SagaStarted {
        saga_type: SagaType::new("order").unwrap(),
        version: 1,
        key: Some(IdempotencyKey::new("k1").unwrap()),
        input: Payload::from_json(r#"{"total":129999}"#.into()).unwrap(),
        deadline_at: None,
    }
}

fn sent(step: &str, attempt: u32) -> Event {
    Event::StepStarted { step: name(step), attempt }
}

fn done(step: &str, output: &str) -> Event {
    Event::StepSucceeded { step: name(step), output: Payload::from_json(output.into()).unwrap() }
}

fn undo(step: &str, attempt: u32) -> Event {
    Event::StepCompensationStarted { step: name(step), attempt }
}

fn undone(step: &str) -> Event {
    Event::StepCompensated { step: name(step) }
}

fn acted(action: Action, reason: &str) -> Event {
    Event::OperatorActed { action, who: "ada".into(), reason: reason.into() }
}

fn turned(kind: CauseKind, step: Option<&str>, failure: Failure) -> Event {
    Event::CompensationStarted { cause: Cause { kind, step: step.map(name), failure } }
}

fn journal(rows: &[(i64, Vec<Event>)]) -> Vec<Transition> {
    let rows = rows.iter().enumerate();
    rows.map(|(n, (at, events))| Transition { seq: n as u64 + 1, at: Timestamp(*at), events: events.clone() }).collect()
}

fn seen(rows: &[(i64, Vec<Event>)], now: i64) -> Saga {
    view(SagaId::from_uuid(Uuid::from_u128(7)), &definition(), &journal(rows), Timestamp(now))
}

fn two_confirmed() -> Vec<(i64, Vec<Event>)> {
    vec![
        (0, vec![started(), sent("create_order", 1)]),
        (2, vec![done("create_order", r#"{"order_id":"o1"}"#), sent("charge_payment", 1)]),
        (6, vec![done("charge_payment", r#"{"amount":129999}"#), sent("reserve_inventory", 1)]),
    ]
}

fn out_of_stock() -> Failure {
    Failure::new("OUT_OF_STOCK", "2 wanted, 1 left")
}

#[test]
fn a_completed_saga_tells_how_long_it_took_and_each_step_when() {
    let mut rows = two_confirmed();
    rows.push((9, vec![done("reserve_inventory", "{}"), sent("send_notification", 1)]));
    rows.push((12, vec![done("send_notification", "{}"), Event::SagaCompleted]));
    let saga = seen(&rows, 50);
    assert_eq!(saga.status(), SagaStatus::Completed);
    assert_eq!((saga.why.as_str(), saga.waiting_for.as_str()), ("All 4 steps were confirmed in 12ms.", ""));
    let charge = &saga.steps[1];
    assert_eq!((charge.state.as_str(), charge.rank, charge.attempts), ("succeeded", 2, 1));
    assert_eq!(charge.start_time.as_ref().map(|at| at.nanos), Some(2_000_000));
    assert_eq!(charge.end_time.as_ref().map(|at| at.nanos), Some(6_000_000));
    assert_eq!((charge.output.as_str(), saga.journal_rows, saga.committed), (r#"{"amount":129999}"#, 5, true));
}

#[test]
fn a_saga_on_its_way_says_whose_answer_it_waits_for() {
    let failure = Failure::new("GATEWAY_BUSY", "try later");
    let mut rows = two_confirmed();
    rows.truncate(2);
    rows.push((
        10,
        vec![Event::RetryScheduled {
            step: name("charge_payment"),
            operation: Operation::Execute,
            attempt: 1,
            at: Timestamp(1_510),
            failure,
        }],
    ));
    let saga = seen(&rows, 10);
    assert_eq!(saga.waiting_for, "next attempt of payment.charge (2 of 5) in 1.5s, at 1970-01-01T00:00:01.510Z");
    assert_eq!(saga.steps[1].state, "waiting");
    assert!(saga.steps[1].next_attempt_time.is_some());
    assert_eq!(
        saga.why,
        "1 of 4 steps settled so far. charge_payment has failed before (GATEWAY_BUSY: try later) and is tried again by itself."
    );
    rows.push((1_510, vec![sent("charge_payment", 2)]));
    let saga = seen(&rows, 5_310);
    assert_eq!(saga.waiting_for, "waiting for payment's answer to payment.charge (attempt 2 of 5), times out in 1.2s");
    assert_eq!(saga.steps[1].attempts, 2);
}

#[test]
fn a_compensated_saga_names_the_refusal_and_what_was_undone() {
    let mut rows = two_confirmed();
    let refused = Event::StepRefused { step: name("reserve_inventory"), failure: out_of_stock() };
    let turned = turned(CauseKind::Refused, Some("reserve_inventory"), out_of_stock());
    rows.push((9, vec![refused, turned, undo("charge_payment", 1)]));
    let saga = seen(&rows, 9);
    assert_eq!(
        saga.why,
        "reserve_inventory was refused by inventory (OUT_OF_STOCK: 2 wanted, 1 left); 0 of 2 steps are undone so far."
    );
    rows.push((11, vec![undone("charge_payment"), undo("create_order", 1)]));
    rows.push((15, vec![undone("create_order"), Event::SagaCompensated]));
    let saga = seen(&rows, 50);
    assert_eq!(
        saga.why,
        "reserve_inventory was refused by inventory (OUT_OF_STOCK: 2 wanted, 1 left); \
         2 steps were undone in reverse order: charge_payment, create_order."
    );
    assert_eq!((saga.steps[1].state.as_str(), saga.steps[1].rank), ("compensated", 2));
    assert_eq!(saga.steps[1].compensation_end_time.as_ref().map(|at| at.nanos), Some(11_000_000));
    assert_eq!((saga.steps[2].state.as_str(), saga.steps[2].error_code.as_str()), ("refused", "OUT_OF_STOCK"));
    assert_eq!(saga.cause.map(|cause| cause.kind).as_deref(), Some("refused"));
}

#[test]
fn a_parked_compensation_says_what_to_try_and_who_settled_it_by_hand() {
    let failure = Failure::new("REFUND_FAILED", "the gateway says no");
    let mut rows = two_confirmed();
    let turned = turned(CauseKind::Cancelled, None, Failure::new("CANCELLED", "wrong size"));
    rows.push((9, vec![acted(Action::Cancel, "wrong size"), turned, undo("reserve_inventory", 1)]));
    rows.push((10, vec![undone("reserve_inventory"), undo("charge_payment", 1)]));
    rows.push((20, vec![undo("charge_payment", 5)]));
    let parked = Event::SagaParked { step: name("charge_payment"), operation: Operation::Compensate, failure };
    rows.push((30, vec![parked]));
    let saga = seen(&rows, 40);
    assert_eq!(
        saga.why,
        "The compensation of charge_payment failed 5 times (REFUND_FAILED: the gateway says no) and waits for an operator. \
         Try: amends retry order/k1, or, to pass over it: amends skip order/k1 --step charge_payment --reason TEXT"
    );
    assert_eq!(saga.waiting_for, "parked: an operator must retry, skip or resolve the compensation of charge_payment");
    assert_eq!((saga.steps[1].state.as_str(), saga.steps[1].compensation_attempts), ("parked", 5));

    rows.push((40, vec![acted(Action::Skip, "paid by cheque"), undone("charge_payment"), undo("create_order", 1)]));
    rows.push((41, vec![undone("create_order"), Event::SagaCompensated]));
    assert_eq!(
        seen(&rows, 50).why,
        "It was cancelled by ada (wrong size); 3 steps were undone in reverse order: \
         reserve_inventory, charge_payment (by hand, ada), create_order."
    );
}

#[test]
fn a_paused_saga_names_who_paused_it() {
    let mut rows = two_confirmed();
    rows.push((9, vec![acted(Action::Pause, "stock-taking"), Event::SagaPaused]));
    let waiting = seen(&rows, 10).waiting_for;
    assert!(
        waiting.starts_with(
            "paused by ada (stock-taking) since 1970-01-01T00:00:00.009Z; to go on: amends resume order/k1;"
        ),
        "{waiting}"
    );
}

#[test]
fn a_plan_undoes_the_unknown_first_and_then_against_the_order_of_confirmation() {
    let mut rows = two_confirmed();
    let turned = turned(CauseKind::Cancelled, None, Failure::new("CANCELLED", "wrong size"));
    let rows_before = rows.clone();
    rows.push((9, vec![acted(Action::Cancel, "wrong size"), turned, undo("reserve_inventory", 1)]));
    rows.push((10, vec![undone("reserve_inventory"), undo("charge_payment", 1)]));
    let planned = plan_of_cancelled(SagaId::from_uuid(Uuid::from_u128(7)), &definition(), &journal(&rows));
    let told: Vec<_> =
        planned.iter().map(|step| (step.step.as_str(), step.outcome.as_str(), step.output.as_str())).collect();
    let expected = [
        ("reserve_inventory", "unknown", ""),
        ("charge_payment", "confirmed", r#"{"amount":129999}"#),
        ("create_order", "confirmed", r#"{"order_id":"o1"}"#),
    ];
    assert_eq!(told, expected);

    let mut saga = amends_core::Saga::new(SagaId::from_uuid(Uuid::from_u128(7)), definition());
    journal(&rows_before).iter().for_each(|row| saga.apply(row));
    assert_eq!(super::plan(&saga), planned);
}

#[test]
fn a_saga_declared_ended_says_by_whom() {
    let mut rows = two_confirmed();
    rows.push((9, vec![acted(Action::Resolve, "shipped by hand"), Event::SagaCompleted]));
    assert_eq!(seen(&rows, 10).why, "ada declared it completed: shipped by hand.");
}
