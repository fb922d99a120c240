//! Hand-made sagas for the tests of the output.

use amends_proto::Timestamp;
use amends_proto::amends::v1::{Cause, Saga, SagaStatus, SagaSummary, Step};
use chrono::{DateTime, TimeDelta, Utc};

use super::View;

const COMPENSATED_ID: &str = "0198c2f1-7f3a-7000-8000-00003f2a91bc";

fn now() -> DateTime<Utc> {
    "2026-01-31T12:00:00Z".parse().expect("a time")
}

/// Noon, in UTC, into a pipe.
pub(crate) fn view() -> View {
    let zone = chrono::FixedOffset::east_opt(0).expect("an offset");
    View { now: now(), zone, width: None, whole_ids: false, wide: false }
}

/// So many milliseconds from noon.
pub(crate) fn at(ms: i64) -> Option<Timestamp> {
    Some((now() + TimeDelta::milliseconds(ms)).into())
}

fn step(name: &str, command: &str, state: &str) -> Step {
    Step {
        name: name.to_owned(),
        command: command.to_owned(),
        participant: command.split('.').next().unwrap_or_default().to_owned(),
        kind: "compensatable".to_owned(),
        on: "forward".to_owned(),
        state: state.to_owned(),
        ..Step::default()
    }
}

fn took(step: Step, from: i64, ms: i64, attempts: u32) -> Step {
    Step { start_time: at(from), end_time: at(from + ms), attempts, ..step }
}

fn undone(step: Step, from: i64, ms: i64, attempts: u32) -> Step {
    Step {
        compensation_start_time: at(from),
        compensation_end_time: at(from + ms),
        compensation_attempts: attempts,
        ..step
    }
}

fn failed(step: Step, code: &str, message: &str) -> Step {
    Step { error_code: code.to_owned(), error_message: message.to_owned(), ..step }
}

fn saga(status: SagaStatus, steps: Vec<Step>) -> Saga {
    Saga {
        id: COMPENSATED_ID.to_owned(),
        r#type: "order".to_owned(),
        version: 1,
        idempotency_key: "cart-42".to_owned(),
        status: status.into(),
        steps,
        start_time: at(-125_000),
        update_time: at(-124_985),
        deadline: at(775_000),
        input: r#"{"total":129999}"#.to_owned(),
        journal_rows: 9,
        ..Saga::default()
    }
}

fn out_of_stock() -> Option<Cause> {
    Some(Cause {
        kind: "refused".to_owned(),
        step: "reserve_inventory".to_owned(),
        code: "OUT_OF_STOCK".to_owned(),
        message: "0 of LAPTOP001 left".to_owned(),
    })
}

fn tell_customer(state: &str) -> Step {
    Step {
        on: "compensated".to_owned(),
        kind: "retriable".to_owned(),
        ..step("tell_customer", "notification.send", state)
    }
}

fn refused() -> Step {
    let refused = took(step("reserve_inventory", "inventory.reserve", "refused"), -124_994, 3, 1);
    failed(refused, "OUT_OF_STOCK", "0 of LAPTOP001 left")
}

/// Ended: the payment was taken at the second attempt and given back at the second attempt.
pub(crate) fn compensated() -> Saga {
    let created = took(step("create_order", "order.create", "compensated"), -125_000, 2, 1);
    let charged = took(step("charge_payment", "payment.charge", "compensated"), -124_998, 4, 2);
    let charged = Step { output: r#"{"payment_id":"p-1"}"#.to_owned(), rank: 2, ..charged };
    let steps = vec![
        undone(Step { rank: 1, ..created }, -124_987, 1, 1),
        undone(charged, -124_990, 3, 2),
        refused(),
        step("send_notification", "notification.send", "pending"),
        took(tell_customer("succeeded"), -124_986, 1, 1),
    ];
    let why = "reserve_inventory was refused (OUT_OF_STOCK: 0 of LAPTOP001 left); all that was done is undone.";
    Saga { cause: out_of_stock(), why: why.to_owned(), ..saga(SagaStatus::Compensated, steps) }
}

/// On its way: one step waits for its next attempt, one is executing.
pub(crate) fn running() -> Saga {
    let waiting = Step {
        start_time: at(-7_000),
        attempts: 3,
        next_attempt_time: at(1_500),
        ..step("charge_payment", "payment.charge", "waiting")
    };
    let executing =
        Step { start_time: at(-4_200), attempts: 1, ..step("reserve_inventory", "inventory.reserve", "executing") };
    let steps = vec![
        took(step("create_order", "order.create", "succeeded"), -125_000, 2, 1),
        failed(waiting, "GATEWAY", "no connection"),
        executing,
        step("send_notification", "notification.send", "pending"),
        tell_customer("pending"),
    ];
    let waiting_for = "waiting for inventory's answer to inventory.reserve (attempt 1 of 5), times out in 800ms";
    Saga { waiting_for: waiting_for.to_owned(), ..saga(SagaStatus::Running, steps) }
}

/// Waits for an operator: the refund fails.
pub(crate) fn parked() -> Saga {
    let charged = took(step("charge_payment", "payment.charge", "parked"), -124_998, 4, 1);
    let charged = Step { compensation_start_time: at(-124_990), compensation_attempts: 5, ..charged };
    let steps = vec![
        step("create_order", "order.create", "pending"),
        failed(charged, "REFUND_FAILED", "the gateway refuses the refund"),
        refused(),
        step("send_notification", "notification.send", "pending"),
        tell_customer("pending"),
    ];
    Saga {
        cause: out_of_stock(),
        waiting_for: "parked: an operator must retry, skip or resolve it".to_owned(),
        why: "The compensation of charge_payment failed 5 times. Try: amends retry order/cart-42".to_owned(),
        ..saga(SagaStatus::Parked, steps)
    }
}

/// Two lines of a list.
pub(crate) fn summaries() -> Vec<SagaSummary> {
    vec![
        SagaSummary {
            id: COMPENSATED_ID.to_owned(),
            r#type: "order".to_owned(),
            idempotency_key: "cart-42".to_owned(),
            status: SagaStatus::Running.into(),
            step: "charge_payment".to_owned(),
            attempt: 3,
            start_time: at(-125_000),
            update_time: at(-2_000),
            next_attempt_time: at(1_500),
            error_code: "GATEWAY".to_owned(),
            error_message: "no connection".to_owned(),
            ..SagaSummary::default()
        },
        SagaSummary {
            id: "0198c2f1-8000-7000-8000-0000aa55c0de".to_owned(),
            r#type: "order".to_owned(),
            status: SagaStatus::Compensating.into(),
            paused: true,
            step: "create_order".to_owned(),
            attempt: 1,
            start_time: at(-7_300_000),
            update_time: at(-7_300_000),
            ..SagaSummary::default()
        },
    ]
}
