//! The order saga, told command by command.

use amends_core::testkit::SagaTest;
use amends_sagas::order::OrderStatus;
use serde_json::{Value, json};

fn input() -> Value {
    json!({
        "order_id": "ord_1", "user_id": "user_123", "currency": "USD", "payment_method": "pm_ok", "total": 129_999,
        "items": [{"product_id": "LAPTOP001", "product_name": null, "quantity": 1, "price": 129_999}],
    })
}

/// A saga whose order is created and charged.
fn charged() -> SagaTest {
    SagaTest::given(amends_sagas::order::definition(), input())
        .expect_command("order.create")
        .reply_done(json!({"order_id": "ord_1"}))
        .expect_published("order_created")
        .expect_command("payment.charge")
        .with_input(json!({
            "order_id": "ord_1", "user_id": "user_123", "amount": 129_999, "currency": "USD", "method": "pm_ok",
        }))
        .reply_done(json!({"payment_id": "pay_1"}))
        .expect_published("payment_successful")
        .expect_command("inventory.reserve")
}

/// Refunds, cancels and tells the customer, in this order, and so ends.
fn undone(story: SagaTest) {
    story
        .expect_compensation("payment.charge")
        .reply_done(json!(null))
        .expect_compensation("order.create")
        .reply_done(json!(null))
        .expect_command("notification.send")
        .reply_done(json!(null))
        .expect_compensated();
}

fn cancelled_for(code: &str) -> Value {
    json!({
        "order_id": "ord_1", "user_id": "user_123", "template": "order_cancelled", "code": code,
        "reason": "refused by the test",
    })
}

#[test]
fn a_good_order_is_confirmed_and_the_customer_told() {
    charged()
        .reply_done(json!({"reservation_id": "res_1"}))
        .expect_published("inventory_updated")
        .expect_command("notification.send")
        .with_input(json!({
            "order_id": "ord_1", "user_id": "user_123", "template": "order_confirmed", "total": 129_999,
            "currency": "USD",
        }))
        .reply_done(json!({"notification_id": "ntf_1"}))
        .expect_published("notification_sent")
        .expect_published("order_completed")
        .expect_completed();
}

#[test]
fn a_declined_payment_cancels_the_order_and_refunds_nothing() {
    SagaTest::given(amends_sagas::order::definition(), input())
        .expect_command("order.create")
        .reply_done(json!({"order_id": "ord_1"}))
        .expect_command("payment.charge")
        .reply_refused("PAYMENT_DECLINED")
        .expect_published("payment_failed")
        .expect_compensation("order.create")
        .reply_done(json!(null))
        .expect_command("notification.send")
        .with_input(cancelled_for("PAYMENT_DECLINED"))
        .reply_done(json!(null))
        .expect_published("order_cancelled")
        .expect_compensated();
}

#[test]
fn out_of_stock_refunds_before_it_cancels() {
    charged()
        .reply_refused("OUT_OF_STOCK")
        .expect_compensation("payment.charge")
        .reply_done(json!(null))
        .expect_compensation("order.create")
        .reply_done(json!(null))
        .expect_command("notification.send")
        .with_input(cancelled_for("OUT_OF_STOCK"))
        .reply_done(json!(null))
        .expect_compensated();
}

#[test]
fn a_reservation_of_unknown_outcome_is_released_first() {
    let mut story = charged();
    for _ in 0..4 {
        story = story.timeout().expect_command("inventory.reserve");
    }
    undone(story.timeout().expect_compensation("inventory.reserve").reply_done(json!(null)));
}

#[test]
fn a_refund_that_fails_parks_until_somebody_steps_in() {
    let mut story = charged().reply_refused("OUT_OF_STOCK");
    for _ in 0..5 {
        story = story.expect_compensation("payment.charge").reply_try_again();
    }
    undone(story.expect_parked().retry());
}

#[test]
fn an_unreachable_customer_undoes_nothing() {
    let mut story = charged().reply_done(json!(null));
    for _ in 0..5 {
        story = story.expect_command("notification.send").reply_try_again();
    }
    story.expect_parked();
}

#[test]
fn a_cancelled_order_is_undone_with_its_payment_on_the_way() {
    let charging = SagaTest::given(amends_sagas::order::definition(), input())
        .expect_command("order.create")
        .reply_done(json!({"order_id": "ord_1"}))
        .expect_command("payment.charge");
    undone(charging.cancel());
}

#[test]
fn the_deadline_before_the_pivot_undoes() {
    undone(charged().deadline_passes().expect_compensation("inventory.reserve").reply_done(json!(null)));
}

fn status(story: &SagaTest) -> OrderStatus {
    OrderStatus::from(story.saga())
}

#[test]
fn an_order_is_confirmed_from_the_pivot_on() {
    let story = charged();
    assert_eq!(status(&story), OrderStatus::Pending);
    let story = story.reply_done(json!(null)).expect_command("notification.send");
    assert_eq!(status(&story), OrderStatus::Confirmed);
    let story = story.reply_done(json!(null)).expect_completed();
    assert_eq!(status(&story), OrderStatus::Confirmed);
}

#[test]
fn an_order_is_cancelled_when_all_is_undone_though_the_customer_does_not_know() {
    let story = charged().reply_refused("OUT_OF_STOCK").expect_compensation("payment.charge");
    assert_eq!(status(&story), OrderStatus::Pending);
    let story = story.reply_done(json!(null)).expect_compensation("order.create");
    assert_eq!(status(&story), OrderStatus::Pending);
    let mut story = story.reply_done(json!(null));
    for _ in 0..5 {
        story = story.expect_command("notification.send").reply_try_again();
    }
    assert_eq!(status(&story.expect_parked()), OrderStatus::Cancelled);
}
