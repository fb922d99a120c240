use serde_json::json;

use crate::fixture::{Shop, attempt, compensate, done, execute, refused, try_again, wanted};

const RESERVE: &str = "inventory.reserve";

async fn state(shop: &Shop, order_id: &str) -> Option<String> {
    let rows = shop.rows("SELECT state FROM reservations WHERE order_id = $1", &[order_id.into()]).await;
    rows.into_iter().next().map(|(state,)| state)
}

#[tokio::test]
async fn units_move_from_on_hand_to_reserved_to_sold() {
    let shop = Shop::open().await;
    let command = execute(1, RESERVE, wanted(1, &[("PHONE001", 2), ("LAPTOP001", 1)]));
    let answer = done(shop.ask(command.clone()).await);
    assert_eq!(
        answer,
        json!({
            "reservation_id": format!("res_{}", command.id),
            "items": [{ "product_id": "LAPTOP001", "quantity": 1 }, { "product_id": "PHONE001", "quantity": 2 }],
        })
    );
    assert_eq!(done(shop.ask(attempt(&command, 2)).await), answer);
    assert_eq!((shop.stock("LAPTOP001").await, shop.stock("PHONE001").await), ((99, 1, 0), (498, 2, 0)));
    for _ in 0..2 {
        shop.publish("order_completed", json!({ "order_id": "o1" })).await;
        assert_eq!((shop.stock("LAPTOP001").await, shop.stock("PHONE001").await), ((99, 0, 1), (498, 0, 2)));
        assert_eq!(state(&shop, "o1").await.as_deref(), Some("sold"));
    }
}

#[tokio::test]
async fn a_compensation_puts_everything_back_once() {
    let shop = Shop::open().await;
    let payload = wanted(1, &[("PHONE001", 2), ("LAPTOP001", 1)]);
    done(shop.ask(execute(1, RESERVE, payload.clone())).await);
    for n in 1..=2 {
        done(shop.ask(attempt(&compensate(1, RESERVE, payload.clone()), n)).await);
        assert_eq!((shop.stock("LAPTOP001").await, shop.stock("PHONE001").await), ((100, 0, 0), (500, 0, 0)));
        assert_eq!(state(&shop, "o1").await.as_deref(), Some("released"));
    }
    shop.publish("order_completed", json!({ "order_id": "o1" })).await;
    assert_eq!(shop.stock("LAPTOP001").await, (100, 0, 0));
}

#[tokio::test]
async fn what_is_sold_is_not_put_back() {
    let shop = Shop::open().await;
    let payload = wanted(1, &[("LAPTOP001", 1)]);
    done(shop.ask(execute(1, RESERVE, payload.clone())).await);
    shop.publish("order_completed", json!({ "order_id": "o1" })).await;
    assert!(try_again(shop.ask(compensate(1, RESERVE, payload)).await).contains("not held any more"));
    assert_eq!(shop.stock("LAPTOP001").await, (99, 0, 1));
}

#[tokio::test]
async fn an_order_gets_all_of_its_items_or_none() {
    let shop = Shop::open().await;
    let (code, message) =
        refused(shop.ask(execute(1, RESERVE, wanted(1, &[("LAPTOP001", 1), ("PHONE001", 501)]))).await);
    assert_eq!((code.as_str(), message.as_str()), ("OUT_OF_STOCK", "PHONE001: 501 wanted, 500 on hand"));
    let (code, message) = refused(shop.ask(execute(2, RESERVE, wanted(2, &[("LAPTOP001", 1), ("TOASTER", 1)]))).await);
    assert_eq!((code.as_str(), message.as_str()), ("UNKNOWN_PRODUCT", "there is no product TOASTER"));
    assert_eq!((shop.stock("LAPTOP001").await, shop.stock("PHONE001").await), ((100, 0, 0), (500, 0, 0)));
    assert_eq!(state(&shop, "o1").await, None);
    done(shop.ask(compensate(1, RESERVE, wanted(1, &[("LAPTOP001", 1), ("PHONE001", 501)]))).await);
    assert_eq!(shop.stock("LAPTOP001").await, (100, 0, 0));
}

#[tokio::test]
async fn a_product_listed_twice_counts_twice() {
    let shop = Shop::open().await;
    shop.set_stock("LAPTOP001", 3).await;
    let twice = |n| wanted(n, &[("LAPTOP001", 2), ("LAPTOP001", 2)]);
    let (code, message) = refused(shop.ask(execute(1, RESERVE, twice(1))).await);
    assert_eq!((code.as_str(), message.as_str()), ("OUT_OF_STOCK", "LAPTOP001: 4 wanted, 3 on hand"));
    shop.set_stock("LAPTOP001", 5).await;
    done(shop.ask(execute(2, RESERVE, twice(2))).await);
    assert_eq!(shop.stock("LAPTOP001").await, (1, 4, 0));
    done(shop.ask(compensate(2, RESERVE, twice(2))).await);
    assert_eq!(shop.stock("LAPTOP001").await, (5, 0, 0));
}

#[tokio::test]
async fn of_a_batch_that_wants_more_than_there_is_some_get_it() {
    let shop = Shop::open().await;
    shop.set_stock("LAPTOP001", 3).await;
    let commands = (1..=5).map(|n| execute(n, RESERVE, wanted(n, &[("LAPTOP001", 1), ("MOUSE001", 1)]))).collect();
    let replies = shop.ask_all(commands).await;
    let outcomes: Vec<_> = replies.iter().map(|reply| reply.outcome.as_str()).collect();
    assert_eq!(outcomes, ["done", "done", "done", "refused", "refused"]);
    assert_eq!((shop.stock("LAPTOP001").await, shop.stock("MOUSE001").await), ((0, 3, 0), (997, 3, 0)));
}

#[tokio::test]
async fn what_is_not_a_wish_is_refused() {
    let shop = Shop::open().await;
    let cases = [
        (wanted(1, &[]), "NO_ITEMS"),
        (wanted(1, &[("LAPTOP001", 0)]), "INVALID_QUANTITY"),
        (wanted(1, &[("LAPTOP001", -5)]), "INVALID_QUANTITY"),
        (wanted(1, &[("LAPTOP001", i64::MAX)]), "OUT_OF_STOCK"),
        (json!({ "order_id": "o1", "items": [{ "product_id": "LAPTOP001", "quantity": 1.5 }] }), "INVALID_INPUT"),
    ];
    for (n, (payload, code)) in (1..).zip(cases) {
        assert_eq!(refused(shop.ask(execute(n, RESERVE, payload)).await).0, code);
    }
    assert_eq!(shop.stock("LAPTOP001").await, (100, 0, 0));
}

#[tokio::test]
async fn two_sagas_cannot_reserve_for_one_order() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, RESERVE, wanted(1, &[("LAPTOP001", 1)]))).await);
    assert_eq!(refused(shop.ask(execute(2, RESERVE, wanted(1, &[("LAPTOP001", 1)]))).await).0, "ALREADY_RESERVED");
    assert_eq!(shop.stock("LAPTOP001").await, (99, 1, 0));
}

#[tokio::test]
async fn a_reservation_that_cannot_be_read_does_not_hold_up_the_others() {
    let shop = Shop::open().await;
    for n in 1..=3 {
        done(shop.ask(execute(n, RESERVE, wanted(n, &[("LAPTOP001", 1)]))).await);
    }
    shop.db.execute("UPDATE reservations SET items = '?' WHERE order_id = 'o2'", &[]).await.unwrap();
    let orders = ["o1", "o2", "o3"];
    shop.publish_all("order_completed", orders.map(|id| json!({ "order_id": id })).into()).await;
    let mut states = Vec::new();
    for id in orders {
        states.push(state(&shop, id).await.unwrap());
    }
    assert_eq!(states, ["sold", "reserved", "sold"]);
    assert_eq!(shop.stock("LAPTOP001").await, (97, 1, 2));
}

#[tokio::test]
async fn seeding_again_changes_nothing() {
    let shop = Shop::open().await;
    shop.set_stock("LAPTOP001", 7).await;
    amends_participants::seed(&shop.db).await.unwrap();
    assert_eq!(shop.stock("LAPTOP001").await, (7, 0, 0));
}
