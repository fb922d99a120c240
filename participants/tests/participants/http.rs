use amends_participants::{order_routes, routes};
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::fixture::{Shop, charge, compensate, done, execute, notice, order, wanted};

async fn call(shop: &Shop, method: Method, uri: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(uri).body(body.into()).unwrap();
    let router = routes(shop.db.clone()).merge(order_routes(shop.db.clone()));
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn get(shop: &Shop, uri: &str) -> (StatusCode, Value) {
    call(shop, Method::GET, uri, Body::empty()).await
}

async fn put(shop: &Shop, uri: &str, body: &str) -> (StatusCode, Value) {
    call(shop, Method::PUT, uri, body.to_owned()).await
}

#[tokio::test]
async fn an_order_shows_its_money_both_ways_and_its_reason() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, "order.create", order(1))).await);
    let (status, shown) = get(&shop, "/orders/o1").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&shown["total"], &shown["total_minor"]), (&json!("1299.99"), &json!(129_999)));
    assert_eq!((&shown["status"], shown.get("reason")), (&json!("pending"), None));
    assert_eq!(shown["items"][0], json!({ "product_id": "LAPTOP001", "quantity": 1, "price": "1299.99" }));
    assert_rfc_3339(&shown["created_at"]);

    done(shop.ask(compensate(1, "order.create", order(1))).await);
    let (_, list) = get(&shop, "/orders?user_id=u1").await;
    assert_eq!(list["orders"][0]["status"], "cancelled");
    assert_eq!(
        (&list["orders"][0]["reason_code"], &list["orders"][0]["reason"]),
        (&json!("OUT_OF_STOCK"), &json!("none left"))
    );
}

#[tokio::test]
async fn payments_list_captures_and_refunds() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, "payment.charge", charge(1, "pm_ok"))).await);
    done(shop.ask(compensate(1, "payment.charge", charge(1, "pm_ok"))).await);
    let (status, list) = get(&shop, "/payments?order_id=o1").await;
    assert_eq!(status, StatusCode::OK);
    let payments = list["payments"].as_array().unwrap();
    let kinds: Vec<_> = payments.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["capture", "refund"]);
    for row in payments {
        assert_eq!(
            (&row["amount"], &row["amount_minor"], &row["currency"]),
            (&json!("1299.99"), &json!(129_999), &json!("USD"))
        );
        assert_eq!(row["payment_id"], payments[0]["payment_id"]);
        assert_rfc_3339(&row["created_at"]);
    }
    assert_eq!(get(&shop, "/payments?order_id=o2").await.1, json!({ "payments": [] }));
}

#[tokio::test]
async fn notifications_list_what_a_user_was_told() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, "notification.send", notice(1, "u1", "order_confirmed"))).await);
    let (status, list) = get(&shop, "/notifications?user_id=u1&limit=10").await;
    assert_eq!((status, list["notifications"].as_array().unwrap().len()), (StatusCode::OK, 1));
    let row = &list["notifications"][0];
    assert_eq!((&row["template"], &row["channel"]), (&json!("order_confirmed"), &json!("email")));
    assert_rfc_3339(&row["created_at"]);
}

#[tokio::test]
async fn stock_is_shown_and_set() {
    let shop = Shop::open().await;
    done(shop.ask(execute(1, "inventory.reserve", wanted(1, &[("LAPTOP001", 4)]))).await);
    let laptop = |on_hand: i64, name: &str| json!({ "product_id": "LAPTOP001", "product_name": name, "on_hand": on_hand, "reserved": 4, "sold": 0 });
    assert_eq!(get(&shop, "/inventory/LAPTOP001").await, (StatusCode::OK, laptop(96, "Gaming Laptop")));
    assert_eq!(
        put(&shop, "/inventory/LAPTOP001", r#"{"on_hand":7}"#).await,
        (StatusCode::OK, laptop(7, "Gaming Laptop"))
    );
    let renamed = put(&shop, "/inventory/LAPTOP001", r#"{"on_hand":0,"product_name":"Laptop"}"#).await;
    assert_eq!(renamed, (StatusCode::OK, laptop(0, "Laptop")));
    assert_eq!(shop.count("SELECT stocked FROM inventory WHERE product_id = 'LAPTOP001'").await, 4);

    let (status, toaster) = put(&shop, "/inventory/TOASTER", r#"{"on_hand":1000000000000}"#).await;
    assert_eq!(
        (status, &toaster["product_name"], &toaster["on_hand"]),
        (StatusCode::OK, &json!("TOASTER"), &json!(1_000_000_000_000_i64))
    );
    let (_, list) = get(&shop, "/inventory").await;
    assert_eq!(list["products"].as_array().unwrap().len(), amends_participants::CATALOGUE.len() + 1);
}

#[tokio::test]
async fn a_bad_put_names_its_field_and_changes_nothing() {
    let shop = Shop::open().await;
    let long = format!("/inventory/{}", "x".repeat(256));
    let cases = [
        ("/inventory/LAPTOP001", r#"{"on_hand":-1}"#, "on_hand"),
        ("/inventory/LAPTOP001", r#"{"on_hand":1000000000001}"#, "on_hand"),
        ("/inventory/LAPTOP001", r#"{"on_hand":18446744073709551615}"#, "on_hand"),
        ("/inventory/LAPTOP001", r#"{"on_hand":1e400}"#, "on_hand"),
        ("/inventory/LAPTOP001", r#"{"on_hand":1.5}"#, "on_hand"),
        ("/inventory/LAPTOP001", r#"{"on_hand":"5"}"#, "on_hand"),
        ("/inventory/LAPTOP001", r#"{"on_hand":null}"#, "on_hand"),
        ("/inventory/LAPTOP001", "{}", "on_hand"),
        ("/inventory/LAPTOP001", r#"{"on_hand":1,"sold":5}"#, "sold"),
        ("/inventory/LAPTOP001", r#"{"on_hand":1,"product_name":7}"#, "product_name"),
        ("/inventory/LAPTOP001", r#"{"on_hand":1,"product_name":" "}"#, "product_name"),
        ("/inventory/LAPTOP001", "[]", "body"),
        ("/inventory/LAPTOP001", "", "body"),
        ("/inventory/a%0Ab", r#"{"on_hand":1}"#, "product_id"),
        (long.as_str(), r#"{"on_hand":1}"#, "product_id"),
    ];
    for (uri, body, field) in cases {
        let (status, answer) = put(&shop, uri, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{uri} {body}");
        let error = &answer["error"];
        assert_eq!((&error["code"], &error["status"]), (&json!(400), &json!("INVALID_ARGUMENT")), "{body}");
        assert_eq!(
            error["details"][0],
            json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "INVALID_FIELD", "domain": "amends" })
        );
        assert_eq!(error["details"][1]["@type"], "type.googleapis.com/google.rpc.BadRequest");
        assert_eq!(error["details"][1]["fieldViolations"][0]["field"], field, "{body}");
    }
    assert_eq!(shop.stock("LAPTOP001").await, (100, 0, 0));
}

#[tokio::test]
async fn a_bad_read_says_what_is_wrong() {
    let shop = Shop::open().await;
    for (uri, field) in [
        ("/orders", "user_id"),
        ("/orders?user_id=", "user_id"),
        ("/notifications", "user_id"),
        ("/payments", "order_id"),
        ("/payments?order_id=o1&limit=0", "limit"),
        ("/orders?user_id=u1&limit=501", "limit"),
        ("/orders?user_id=u1&limit=x", "query"),
    ] {
        let (status, answer) = get(&shop, uri).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{uri}");
        assert_eq!(answer["error"]["details"][1]["fieldViolations"][0]["field"], field, "{uri}");
    }
    for uri in ["/orders/o9", "/inventory/TOASTER"] {
        let (status, answer) = get(&shop, uri).await;
        assert_eq!((status, &answer["error"]["status"]), (StatusCode::NOT_FOUND, &json!("NOT_FOUND")), "{uri}");
    }
}

#[tokio::test]
async fn a_broken_database_is_unavailable_and_not_described() {
    let shop = Shop::open().await;
    shop.db.execute("DROP TABLE payments", &[]).await.unwrap();
    let (status, answer) = get(&shop, "/payments?order_id=o1").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.to_string().contains("table"), "{answer}");
}

fn assert_rfc_3339(time: &Value) {
    let text = time.as_str().unwrap();
    assert!(text.len() == 24 && text.starts_with("20") && text.ends_with('Z') && text.as_bytes()[10] == b'T', "{text}");
}
