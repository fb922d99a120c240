use std::sync::Arc;

use amends_participants::{Channel, Message, SendNotification, Undelivered};
use amends_sdk::Host;
use async_trait::async_trait;
use serde_json::json;

use crate::fixture::{Shop, attempt, compensate, done, execute, notice, refused, revised, try_again};

const SEND: &str = "notification.send";

#[tokio::test]
async fn a_user_hears_of_an_order_once_per_template() {
    let shop = Shop::open().await;
    let command = execute(1, SEND, notice(1, "u1", "order_confirmed"));
    let answer = done(shop.ask(command.clone()).await);
    assert_eq!(answer, json!({ "notification_id": format!("ntf_{}", command.id) }));
    assert_eq!(done(shop.ask(attempt(&command, 2)).await), answer);
    // An operator has had it run again under a new identity, which the barrier does not know.
    assert_eq!(done(shop.ask(revised(&command)).await), answer);
    let sql = "SELECT order_id, channel, subject, body FROM notifications";
    let rows = shop.rows::<(String, String, String, String)>(sql, &[]).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].0.as_str(), rows[0].1.as_str()), ("o1", "email"));
    assert_eq!(rows[0].2, "Your order o1 is confirmed");
    assert!(rows[0].3.contains("You have paid 1299.99 USD."), "{}", rows[0].3);

    done(shop.ask(execute(2, SEND, notice(1, "u1", "order_cancelled"))).await);
    assert_eq!(shop.count("SELECT count(*) FROM notifications").await, 2);
}

#[tokio::test]
async fn an_unreachable_user_is_to_be_tried_again() {
    let shop = Shop::open().await;
    let command = execute(1, SEND, notice(1, "unreachable-7", "order_confirmed"));
    for n in 1..=3 {
        assert_eq!(try_again(shop.ask(attempt(&command, n)).await), "user cannot be reached");
    }
    assert_eq!(shop.count("SELECT count(*) FROM notifications").await, 0);
}

#[tokio::test]
async fn a_message_that_cannot_be_written_is_refused() {
    let shop = Shop::open().await;
    let mut wrong = notice(2, "u1", "order_confirmed");
    wrong["currency"] = json!("DOLLAR");
    for (n, payload) in (1..).zip([notice(1, "u1", "welcome"), wrong]) {
        assert_eq!(refused(shop.ask(execute(n, SEND, payload)).await).0, "TEMPLATE_ERROR");
    }
    let mut pigeon = notice(3, "u1", "order_confirmed");
    pigeon["channel"] = json!("pigeon");
    assert_eq!(refused(shop.ask(execute(3, SEND, pigeon)).await).0, "INVALID_INPUT");
    assert_eq!(shop.count("SELECT count(*) FROM notifications").await, 0);
}

#[tokio::test]
async fn a_message_sent_stays_sent() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, SEND, notice(1, "u1", "order_confirmed"))).await);
    done(shop.ask(compensate(1, SEND, notice(1, "u1", "order_confirmed"))).await);
    assert_eq!(shop.count("SELECT count(*) FROM notifications").await, 1);
}

struct Jammed;

#[async_trait]
impl Channel for Jammed {
    async fn deliver(&self, message: &Message) -> Result<(), Undelivered> {
        Err(Undelivered(format!("no line for {}", message.medium.as_str())))
    }
}

#[tokio::test]
async fn what_a_channel_cannot_take_is_not_recorded_as_sent() {
    let shop = Shop::open().await;
    let host = Host::builder(shop.db.clone()).step(SendNotification::new(Arc::new(Jammed))).build();
    let shop = shop.with_host(host);
    let mut payload = notice(1, "u1", "order_confirmed");
    payload["channel"] = json!("sms");
    assert_eq!(try_again(shop.ask(execute(1, SEND, payload)).await), "no line for sms");
    assert_eq!(shop.count("SELECT count(*) FROM notifications").await, 0);
}
