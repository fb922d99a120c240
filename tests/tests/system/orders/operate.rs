//! What operators and customers do to an order under way. An order of `pm_slow` stays with the payment for two seconds,
//! which is when these tests act.

use serde_json::Value;

use super::{messages, order, payments, stock, text};
use crate::program::{Program, eventually};

/// Submits an order and waits until its payment is under way. Gives order id and saga id.
async fn charging(program: &Program, user: &str) -> (String, String) {
    let answer = program.http.order(&order(user, "pm_slow", "LAPTOP001", 1)).await;
    let (order_id, saga) = (text(&answer, "order_id").to_owned(), text(&answer, "saga_id").to_owned());
    eventually("the payment is captured", || async {
        (!payments(&program.http, &order_id).await.is_empty()).then_some(())
    })
    .await;
    (order_id, saga)
}

#[tokio::test]
async fn a_cancel_before_the_pivot_gives_the_money_back() {
    let program = Program::start().await;
    let before = stock(&program.http, "LAPTOP001").await;
    let (order_id, saga) = charging(&program, "hesitant").await;
    let cancel = program.cli(&["cancel", &saga, "--reason", "changed my mind", "--yes"]).await;
    assert_eq!(cancel.code, Some(0), "{cancel:?}");
    let wait = program.cli(&["wait", &saga]).await;
    assert_eq!(wait.code, Some(7), "{wait:?}");
    let order = program.http.get(&format!("/orders/{order_id}")).await;
    assert_eq!((text(&order, "status"), text(&order["reason"], "code")), ("cancelled", "CANCELLED"));
    let ledger = [("capture".to_owned(), 1_999), ("refund".to_owned(), 1_999)];
    assert_eq!(payments(&program.http, &order_id).await, ledger);
    assert_eq!(stock(&program.http, "LAPTOP001").await, before);
    assert_eq!(messages(&program.http, "hesitant").await, ["order_cancelled"]);
}

#[tokio::test]
async fn a_cancel_after_the_pivot_is_refused() {
    let program = Program::start().await;
    for (user, status) in [("too_late", "COMPLETED"), ("unreachable_late", "PARKED")] {
        let answer = program.http.order(&order(user, "pm_ok", "LAPTOP001", 1)).await;
        let saga = text(&answer, "saga_id");
        let before = program.http.saga_reaches(saga, status).await;
        for arguments in [&["cancel", saga, "--yes"][..], &["cancel", saga, "--plan"]] {
            let cancel = program.cli(arguments).await;
            assert_eq!(cancel.code, Some(4), "{cancel:?}");
        }
        let after = program.http.saga_reaches(saga, status).await;
        assert_eq!(after["journalRows"], before["journalRows"], "I12: {after}");
        assert_eq!(payments(&program.http, text(&answer, "order_id")).await, [("capture".to_owned(), 1_999)]);
    }
}

#[tokio::test]
async fn a_plan_lists_the_compensations_in_order_and_does_nothing() {
    let program = Program::start().await;
    let (order_id, saga) = charging(&program, "curious").await;
    let plan = program.cli(&["cancel", &saga, "--plan"]).await;
    assert_eq!(plan.code, Some(0), "{plan:?}");
    let place = |step: &str| plan.stdout.find(step).unwrap_or_else(|| panic!("{step} is missing: {plan:?}"));
    assert!(place("charge_payment") < place("create_order"), "{plan:?}");
    assert!(!plan.stdout.contains("reserve_inventory"), "{plan:?}");

    let plan = program.cli(&["cancel", &saga, "--plan", "-o", "json"]).await;
    let answers: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let steps: Vec<&str> = answers[0]["plan"].as_array().expect("a plan").iter().map(|at| text(at, "step")).collect();
    assert_eq!(steps, ["charge_payment", "create_order"]);

    program.http.saga_reaches(&saga, "COMPLETED").await;
    assert_eq!(payments(&program.http, &order_id).await, [("capture".to_owned(), 1_999)]);
}

#[tokio::test]
async fn a_paused_order_waits_until_it_is_resumed() {
    let program = Program::start().await;
    let before = stock(&program.http, "LAPTOP001").await;
    let (_, saga) = charging(&program, "patient").await;
    let pause = program.cli(&["pause", &saga, "--reason", "stocktaking"]).await;
    assert_eq!(pause.code, Some(0), "{pause:?}");
    let show = program.cli(&["show", &saga]).await;
    assert!(show.stdout.contains("paused") && show.stdout.contains("stocktaking"), "{show:?}");
    // The payment's late answer is taken, and the step after it does not begin.
    eventually("the payment is confirmed", || async {
        let shown = program.http.get(&format!("/v1/sagas/{saga}")).await;
        (shown["steps"][1]["state"] == "succeeded").then_some(())
    })
    .await;
    assert_eq!(stock(&program.http, "LAPTOP001").await, before);
    let resume = program.cli(&["resume", &saga]).await;
    assert_eq!(resume.code, Some(0), "{resume:?}");
    program.http.saga_reaches(&saga, "COMPLETED").await;
    assert_eq!(messages(&program.http, "patient").await, ["order_confirmed"]);
}
