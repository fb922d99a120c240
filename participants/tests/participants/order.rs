use amends_participants::{OrderRow, OrderStatus, get_order, list_by_user};
use serde_json::json;

use crate::fixture::{Shop, attempt, compensate, done, execute, order, refused, try_again};

async fn stored(shop: &Shop, order_id: &str) -> OrderRow {
    get_order(&shop.db, order_id).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_order_is_pending_until_its_stock_is_reserved() {
    let shop = Shop::open().await;
    let command = execute(1, "order.create", order(1));
    let answer = done(shop.ask(command.clone()).await);
    assert_eq!(answer, json!({ "order_id": "o1" }));
    assert_eq!(done(shop.ask(attempt(&command, 2)).await), answer);
    let row = stored(&shop, "o1").await;
    assert_eq!((row.status, row.total, row.currency.as_str()), (OrderStatus::Pending, 129_999, "USD"));
    assert_eq!(row.saga_id, command.saga_id.to_string());
    assert!(row.items.contains(r#""price":"1299.99""#), "{}", row.items);

    for _ in 0..2 {
        shop.publish("inventory_updated", json!({ "order_id": "o1" })).await;
        assert_eq!(stored(&shop, "o1").await.status, OrderStatus::Confirmed);
    }
}

#[tokio::test]
async fn a_cancelled_order_says_why_and_stays_cancelled() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, "order.create", order(1))).await);
    done(shop.ask(compensate(1, "order.create", order(1))).await);
    shop.publish("inventory_updated", json!({ "order_id": "o1" })).await;
    let row = stored(&shop, "o1").await;
    assert_eq!(row.status, OrderStatus::Cancelled);
    assert_eq!((row.reason_code.as_deref(), row.reason.as_deref()), (Some("OUT_OF_STOCK"), Some("none left")));
}

#[tokio::test]
async fn a_confirmed_order_can_still_be_cancelled() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, "order.create", order(1))).await);
    shop.publish("inventory_updated", json!({ "order_id": "o1" })).await;
    done(shop.ask(compensate(1, "order.create", order(1))).await);
    assert_eq!(stored(&shop, "o1").await.status, OrderStatus::Cancelled);
}

#[tokio::test]
async fn an_order_that_was_never_created_never_will_be() {
    let shop = Shop::open().await;
    done(shop.ask(compensate(1, "order.create", order(1))).await);
    refused(shop.ask(execute(1, "order.create", order(1))).await);
    assert_eq!(get_order(&shop.db, "o1").await.unwrap(), None);
}

#[tokio::test]
async fn an_order_that_has_vanished_is_not_said_to_be_cancelled() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, "order.create", order(1))).await);
    shop.db.execute("DELETE FROM orders", &[]).await.unwrap();
    assert!(try_again(shop.ask(compensate(1, "order.create", order(1))).await).contains("no order o1"));
}

#[tokio::test]
async fn what_is_not_an_order_is_refused() {
    let shop = Shop::open().await;
    let cases = [
        ("total", json!(-1), "INVALID_AMOUNT"),
        ("total", json!(12.5), "INVALID_INPUT"),
        ("currency", json!("DOLLAR"), "UNKNOWN_CURRENCY"),
        ("items", json!([]), "NO_ITEMS"),
        ("items", json!({}), "NO_ITEMS"),
        ("user_id", json!(7), "INVALID_INPUT"),
    ];
    for (n, (member, value, code)) in (1..).zip(cases) {
        let mut bad = order(n);
        bad[member] = value;
        assert_eq!(refused(shop.ask(execute(n, "order.create", bad)).await).0, code);
    }
    assert_eq!(shop.count("SELECT count(*) FROM orders").await, 0);
}

#[tokio::test]
async fn two_sagas_cannot_make_one_order() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, "order.create", order(1))).await);
    assert_eq!(refused(shop.ask(execute(2, "order.create", order(1))).await).0, "ORDER_EXISTS");
    // The second saga is undone; the order is the first one's and must not notice.
    done(shop.ask(compensate(2, "order.create", order(1))).await);
    assert_eq!(stored(&shop, "o1").await.status, OrderStatus::Pending);
}

#[tokio::test]
async fn a_users_orders_come_newest_first() {
    let shop = Shop::open().await;
    for n in 1..=3 {
        done(shop.ask(execute(n, "order.create", order(n))).await);
    }
    let ids = |rows: Vec<OrderRow>| rows.into_iter().map(|row| row.order_id).collect::<Vec<_>>();
    assert_eq!(ids(list_by_user(&shop.db, "u1", 10).await.unwrap()), ["o3", "o2", "o1"]);
    assert_eq!(ids(list_by_user(&shop.db, "u1", 1).await.unwrap()), ["o3"]);
    assert!(list_by_user(&shop.db, "u2", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_event_that_names_no_order_is_passed_over() {
    let shop = Shop::open().await;
    for topic in ["inventory_updated", "order_completed"] {
        shop.publish(topic, json!({ "user_id": "u1" })).await;
        shop.publish(topic, json!({ "order_id": "unheard-of" })).await;
    }
}
