//! One order of each kind, from the shell, and what is left of it in the participants.

use std::slice;

use serde_json::Value;

use super::{messages, order, payments, stock, text};
use crate::program::{Program, Run, eventually};

const BEYOND_STOCK: u64 = 5_000;

/// Submits an order as the README does, and waits for its end.
async fn submit_and_wait(program: &Program, order: &Value) -> Run {
    program.cli(&["order", "submit", "--wait", "-d", &order.to_string()]).await
}

/// The user's one order.
async fn only_order(program: &Program, user: &str) -> Value {
    let list = program.http.get(&format!("/orders?user_id={user}")).await;
    match list["orders"].as_array().map(Vec::as_slice) {
        Some([order]) => order.clone(),
        _ => panic!("{user} should have one order: {list}"),
    }
}

/// Stock moves on from reserved to sold shortly after the order ends.
async fn stock_becomes(program: &Program, product: &str, expected: [i64; 3]) {
    eventually(&format!("{product} becomes {expected:?}"), || async {
        (stock(&program.http, product).await == expected).then_some(())
    })
    .await;
}

fn capture() -> (String, i64) {
    ("capture".to_owned(), 1_999)
}

fn refund_of(amount: i64) -> [(String, i64); 2] {
    [("capture".to_owned(), amount), ("refund".to_owned(), amount)]
}

#[tokio::test]
async fn a_good_order_is_confirmed_paid_sold_and_told_once() {
    let program = Program::start().await;
    let [on_hand, reserved, sold] = stock(&program.http, "LAPTOP001").await;
    let run = submit_and_wait(&program, &order("user_123", "pm_ok", "LAPTOP001", 1)).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let order = only_order(&program, "user_123").await;
    assert_eq!((text(&order, "status"), &order["reason"]), ("confirmed", &Value::Null));
    assert_eq!(payments(&program.http, text(&order, "order_id")).await, [capture()]);
    assert_eq!(messages(&program.http, "user_123").await, ["order_confirmed"]);
    stock_becomes(&program, "LAPTOP001", [on_hand - 1, reserved, sold + 1]).await;
}

#[tokio::test]
async fn a_refused_payment_cancels_the_order_with_its_reason() {
    let program = Program::start().await;
    let before = stock(&program.http, "LAPTOP001").await;
    for (method, reason) in [("pm_declined", "PAYMENT_DECLINED"), ("pm_insufficient_funds", "INSUFFICIENT_FUNDS")] {
        let run = submit_and_wait(&program, &order(method, method, "LAPTOP001", 1)).await;
        assert_eq!(run.code, Some(7), "{run:?}");
        assert!(run.stderr.contains(reason), "{run:?}");
        let order = only_order(&program, method).await;
        assert_eq!((text(&order, "status"), text(&order["reason"], "code")), ("cancelled", reason));
        assert_eq!(payments(&program.http, text(&order, "order_id")).await, []);
        assert_eq!(messages(&program.http, method).await, ["order_cancelled"]);
    }
    assert_eq!(stock(&program.http, "LAPTOP001").await, before);
}

#[tokio::test]
async fn a_quantity_beyond_stock_is_paid_back() {
    let program = Program::start().await;
    let before = stock(&program.http, "LAPTOP001").await;
    let run = submit_and_wait(&program, &order("greedy", "pm_ok", "LAPTOP001", BEYOND_STOCK)).await;
    assert_eq!(run.code, Some(7), "{run:?}");
    let order = only_order(&program, "greedy").await;
    assert_eq!((text(&order, "status"), text(&order["reason"], "code")), ("cancelled", "OUT_OF_STOCK"));
    assert_eq!(payments(&program.http, text(&order, "order_id")).await, refund_of(5_000 * 1_999));
    assert_eq!(messages(&program.http, "greedy").await, ["order_cancelled"]);
    assert_eq!(stock(&program.http, "LAPTOP001").await, before);
}

#[tokio::test]
async fn a_gateway_that_stumbles_or_dawdles_is_charged_once() {
    let program = Program::start().await;
    for (method, attempts) in [("pm_flaky", 3), ("pm_slow", 2)] {
        let run = submit_and_wait(&program, &order(method, method, "MOUSE001", 1)).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains(&format!("×{attempts}")), "{run:?}");
        let order = only_order(&program, method).await;
        assert_eq!(text(&order, "status"), "confirmed");
        assert_eq!(payments(&program.http, text(&order, "order_id")).await, [capture()]);
        assert_eq!(messages(&program.http, method).await, ["order_confirmed"]);
    }
}

#[tokio::test]
async fn a_refund_that_fails_waits_for_an_operator() {
    let program = Program::start().await;
    let before = stock(&program.http, "LAPTOP001").await;
    let run = submit_and_wait(&program, &order("stuck", "pm_refund_fails", "LAPTOP001", BEYOND_STOCK)).await;
    assert_eq!(run.code, Some(8), "{run:?}");
    let order = only_order(&program, "stuck").await;
    let (order_id, saga) = (text(&order, "order_id"), text(&order, "saga_id"));
    assert_eq!(payments(&program.http, order_id).await, slice::from_ref(&refund_of(5_000 * 1_999)[0]));

    let show = program.cli(&["show", saga]).await;
    assert_eq!(show.code, Some(0), "{show:?}");
    let said = ["parked", "Why: ", "refund rejected by the sandbox", "Try: amends retry", "amends skip"];
    assert!(said.iter().all(|words| show.stdout.contains(words)), "{show:?}");

    let retry = program.cli(&["retry", saga, "--reason", "the gateway is back"]).await;
    assert_eq!(retry.code, Some(0), "{retry:?}");
    let wait = program.cli(&["wait", saga]).await;
    assert_eq!(wait.code, Some(7), "{wait:?}");
    assert_eq!(payments(&program.http, order_id).await, refund_of(5_000 * 1_999));
    assert_eq!(messages(&program.http, "stuck").await, ["order_cancelled"]);
    assert_eq!(stock(&program.http, "LAPTOP001").await, before);
}

#[tokio::test]
async fn a_confirmed_order_whose_user_cannot_be_told_is_not_undone() {
    let program = Program::start().await;
    let [on_hand, _, _] = stock(&program.http, "LAPTOP001").await;
    let run = submit_and_wait(&program, &order("unreachable_1", "pm_ok", "LAPTOP001", 1)).await;
    assert_eq!(run.code, Some(8), "{run:?}");
    let order = only_order(&program, "unreachable_1").await;
    let (order_id, saga) = (text(&order, "order_id"), text(&order, "saga_id"));
    assert_eq!((text(&order, "status"), text(&order, "saga_status")), ("confirmed", "parked"));
    assert_eq!(payments(&program.http, order_id).await, [capture()]);
    assert_eq!(stock(&program.http, "LAPTOP001").await, [on_hand - 1, 1, 0]);

    let nameless = program.cli(&["skip", saga, "--step", "send_confirmation", "--yes"]).await;
    assert_eq!(nameless.code, Some(2), "a reason is required: {nameless:?}");
    let skip = program.cli(&["skip", saga, "--step", "send_confirmation", "--reason", "told by phone", "--yes"]).await;
    assert_eq!(skip.code, Some(0), "{skip:?}");
    program.http.saga_reaches(saga, "COMPLETED").await;
    stock_becomes(&program, "LAPTOP001", [on_hand - 1, 0, 1]).await;
    assert_eq!(payments(&program.http, order_id).await, [capture()]);
    assert_eq!(messages(&program.http, "unreachable_1").await, [""; 0]);
}

#[tokio::test]
async fn a_cancelled_order_whose_user_cannot_be_told_is_cancelled_all_the_same() {
    let program = Program::start().await;
    let run = submit_and_wait(&program, &order("unreachable_2", "pm_ok", "LAPTOP001", BEYOND_STOCK)).await;
    assert_eq!(run.code, Some(8), "{run:?}");
    let order = only_order(&program, "unreachable_2").await;
    assert_eq!(payments(&program.http, text(&order, "order_id")).await, refund_of(5_000 * 1_999));
    assert_eq!(text(&order, "status"), "cancelled", "all of it is undone, only the notice is missing: {order}");
    assert_eq!(text(&order["reason"], "code"), "OUT_OF_STOCK");
}
