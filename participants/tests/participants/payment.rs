use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amends_sdk::{Command, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Shop, Sink, attempt, charge, compensate, done, execute, refused, try_again};

const CHARGE: &str = "payment.charge";

async fn ledger(shop: &Shop) -> Vec<(String, String, i64)> {
    shop.rows("SELECT order_id, kind, amount FROM payments ORDER BY order_id, kind", &[]).await
}

fn capture() -> (String, String, i64) {
    ("o1".into(), "capture".into(), 129_999)
}

fn refund() -> (String, String, i64) {
    ("o1".into(), "refund".into(), 129_999)
}

#[tokio::test]
async fn pm_ok_is_charged_once_and_refunded_once() {
    let shop = Shop::open().await;
    let command = execute(1, CHARGE, charge(1, "pm_ok"));
    let receipt = done(shop.ask(command.clone()).await);
    let payment_id = format!("pay_{}", command.id);
    assert_eq!(receipt, json!({ "payment_id": payment_id, "amount": 129_999, "currency": "USD" }));
    assert_eq!(done(shop.ask(attempt(&command, 2)).await), receipt);
    assert_eq!(ledger(&shop).await, [capture()]);
    for n in 1..=2 {
        done(shop.ask(attempt(&compensate(1, CHARGE, charge(1, "pm_ok")), n)).await);
        assert_eq!(ledger(&shop).await, [capture(), refund()]);
    }
}

#[tokio::test]
async fn a_charge_without_a_method_is_pm_ok_in_dollars() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, CHARGE, json!({ "order_id": "o1", "user_id": "u1", "amount": 0 }))).await);
    let methods = shop.rows::<(String, String)>("SELECT method, currency FROM payments", &[]).await;
    assert_eq!(methods, [("pm_ok".into(), "USD".into())]);
}

#[tokio::test]
async fn a_refusal_leaves_no_trace_and_needs_no_refund() {
    let shop = Shop::open().await;
    let bad = |member: &str, value: Value| {
        let mut charge = charge(1, "pm_ok");
        charge[member] = value;
        charge
    };
    let cases = [
        (charge(1, "pm_declined"), "PAYMENT_DECLINED"),
        (charge(1, "pm_insufficient_funds"), "INSUFFICIENT_FUNDS"),
        (charge(1, "pm_gold"), "UNKNOWN_PAYMENT_METHOD"),
        (bad("amount", json!(-1)), "INVALID_AMOUNT"),
        (bad("amount", json!("12.50")), "INVALID_INPUT"),
        (bad("currency", json!("XXX")), "UNKNOWN_CURRENCY"),
    ];
    for (n, (payload, code)) in (1..).zip(cases) {
        let command = execute(n, CHARGE, payload.clone());
        assert_eq!(refused(shop.ask(command.clone()).await).0, code);
        assert_eq!(refused(shop.ask(attempt(&command, 2)).await).0, code);
        done(shop.ask(compensate(n, CHARGE, payload)).await);
    }
    assert!(ledger(&shop).await.is_empty());
}

#[tokio::test]
async fn pm_flaky_works_the_third_time() {
    let shop = Shop::open().await;
    let command = execute(1, CHARGE, charge(1, "pm_flaky"));
    for n in 1..=2 {
        try_again(shop.ask(attempt(&command, n)).await);
        assert!(ledger(&shop).await.is_empty());
    }
    done(shop.ask(attempt(&command, 3)).await);
    assert_eq!(ledger(&shop).await, [capture()]);
}

#[tokio::test]
async fn pm_refund_fails_until_an_operator_steps_in() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, CHARGE, charge(1, "pm_refund_fails"))).await);
    let command = compensate(1, CHARGE, charge(1, "pm_refund_fails"));
    for n in [1, 9] {
        let message = try_again(shop.ask(attempt(&command, n)).await);
        assert_eq!(message, "refund rejected by the sandbox until an operator retries");
    }
    assert_eq!(ledger(&shop).await, [capture()]);
    done(shop.ask(Command { redrive: 1, attempt: 10, ..command }).await);
    assert_eq!(ledger(&shop).await, [capture(), refund()]);
}

#[tokio::test]
async fn pm_slow_captures_at_once_and_answers_after_the_deadline() {
    let shop = Shop::open().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let deadline = Timestamp(i64::try_from(now).unwrap() + 300);
    let command = Command { deadline, ..execute(1, CHARGE, charge(1, "pm_slow")) };
    let (sender, receiver) = mpsc::channel(4);
    let sink = Arc::new(Sink::default());
    let host = amends_participants::host(shop.db.clone());
    let (replies, cancel) = (sink.clone(), CancellationToken::new());
    let running = tokio::spawn(async move { host.run(receiver, replies, cancel).await });
    let attempts = || sink.0.lock().unwrap().iter().map(|reply| reply.attempt).collect::<Vec<_>>();

    sender.send(command.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(ledger(&shop).await, [capture()]);
    assert!(attempts().is_empty());

    sender.send(attempt(&command, 2)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(attempts(), [2], "the copy gets the stored answer at once");

    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(attempts(), [2, 1], "and the first attempt's comes late");
    assert_eq!(ledger(&shop).await, [capture()]);

    let lost = Command { deadline: Timestamp(i64::MAX), ..execute(2, CHARGE, charge(2, "pm_slow")) };
    sender.send(attempt(&lost, 2)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(attempts(), [2, 1, 2], "only a first attempt is slow");
    drop(sender);
    running.await.unwrap();
}

#[tokio::test]
async fn an_order_is_paid_for_by_one_saga() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, CHARGE, charge(1, "pm_ok"))).await);
    assert_eq!(refused(shop.ask(execute(2, CHARGE, charge(1, "pm_ok"))).await).0, "ALREADY_PAID");
    done(shop.ask(compensate(2, CHARGE, charge(1, "pm_ok"))).await);
    assert_eq!(ledger(&shop).await, [capture()]);
}

#[tokio::test]
async fn a_refund_of_what_is_not_in_the_ledger_is_not_said_to_be_done() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, CHARGE, charge(1, "pm_ok"))).await);
    shop.db.execute("DELETE FROM payments", &[]).await.unwrap();
    assert!(try_again(shop.ask(compensate(1, CHARGE, charge(1, "pm_ok"))).await).contains("no capture"));
    assert!(ledger(&shop).await.is_empty());
}

#[tokio::test]
async fn the_ledger_itself_forbids_a_second_refund_and_negative_amounts() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, CHARGE, charge(1, "pm_ok"))).await);
    done(shop.ask(compensate(1, CHARGE, charge(1, "pm_ok"))).await);
    let second =
        "INSERT INTO payments SELECT order_id, kind, 'p', saga_id, user_id, 1, currency, method, 1 FROM payments";
    assert!(shop.db.execute(second, &[]).await.is_err());
    assert!(shop.db.execute("UPDATE payments SET amount = -1", &[]).await.is_err());
}
