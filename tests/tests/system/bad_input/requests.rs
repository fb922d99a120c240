//! Everything else that can be asked wrongly.

use serde_json::json;

use super::{Bad, good_order, refuse_all};
use crate::http::Call;

fn sagas() -> Vec<Bad> {
    let start = |what: &str, body: &str, field| Bad::new(what, Call::post("/v1/sagas", body), 400, field);
    let deep = format!(r#"{{"type":"order","input":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    let key = json!({ "type": "order", "input": {}, "idempotency_key": "k".repeat(1_001) }).to_string();
    vec![
        start("unknown saga type", r#"{"type":"nope","input":{}}"#, "type"),
        start("type missing", r#"{"input":{}}"#, "type"),
        start("NUL in the type", r#"{"type":"a\u0000b","input":{}}"#, "type"),
        start("input missing", r#"{"type":"order"}"#, "input"),
        start("input nested 1,000 deep", &deep, "body"),
        start("unknown field", r#"{"type":"order","input":{},"colour":"red"}"#, "body"),
        start("NUL in the key", r#"{"type":"order","input":{},"idempotency_key":"a\u0000b"}"#, "idempotency_key"),
        start("key of 1,001 characters", &key, "idempotency_key"),
        start("deadline of words", r#"{"type":"order","input":{},"deadline":"soon"}"#, "deadline"),
        start("deadline 0", r#"{"type":"order","input":{},"deadline":"0s"}"#, "deadline"),
        start("no JSON", "type=order", "body"),
    ]
}

fn reads() -> Vec<Bad> {
    let get = |what: &str, path: &str, status, field| Bad::new(what, Call::get(path), status, field);
    let long = "x".repeat(1_001);
    vec![
        get("unknown path", "/nope", 404, ""),
        get("unknown path of the API", "/v1/nope", 404, ""),
        get("unknown order", "/orders/ord_00000000000000000000000000000000", 404, ""),
        get("NUL in an order's id", "/orders/a%00b", 404, ""),
        get("order id of 1,001 characters", &format!("/orders/{long}"), 404, ""),
        get("unknown product", "/inventory/NOPE", 404, ""),
        get("NUL in a product's id", "/inventory/a%00b", 404, ""),
        get("no saga's id", "/v1/sagas/nope", 400, "id"),
        get("saga id of 1,001 characters", &format!("/v1/sagas/{long}"), 400, "id"),
        get("unknown saga", "/v1/sagas/01a1fde1-562b-75de-9ca0-759c5bef2870", 404, ""),
        get("NUL in a saga's id", "/v1/sagas/a%00b", 400, "id"),
        get("unknown filter", "/v1/sagas?colour=red", 400, "colour"),
        get("unknown status", "/v1/sagas?status=lost", 400, "status"),
        get("page of -1", "/v1/sagas?page_size=-1", 400, "page_size"),
        get("page of words", "/v1/sagas?page_size=many", 400, "page_size"),
        get("token of nobody", "/v1/sagas?page_token=nope", 400, "page_token"),
        get("orders of nobody", "/orders", 400, "user_id"),
        get("limit of words", "/orders?user_id=u&limit=many", 400, "limit"),
        get("notifications of nobody", "/notifications", 400, "user_id"),
        get("payments of nothing", "/payments", 400, "order_id"),
        Bad::new("wrong method", Call { method: reqwest::Method::DELETE, ..Call::get("/orders") }, 405, ""),
    ]
}

fn headers() -> Vec<Bad> {
    let plain = |path: &str, body: &str| {
        let mut call = Call::post(path, body);
        call.headers = vec![("content-type", "text/plain".to_owned())];
        call
    };
    let order = good_order().to_string();
    let key = |key: &str| Call::post("/orders", &order).key(key);
    vec![
        Bad::new("order as plain text", plain("/orders", &order), 415, "body"),
        Bad::new("saga as plain text", plain("/v1/sagas", r#"{"type":"order","input":{}}"#), 415, "body"),
        Bad::new("key of 1,001 characters", key(&"k".repeat(1_001)), 400, "idempotency_key"),
        Bad::new("key with a tab", key("a\tb"), 400, "idempotency_key"),
    ]
}

fn stock() -> Vec<Bad> {
    let put = |what: &str, body: &str, field| Bad::new(what, Call::put("/inventory/MOUSE001", body), 400, field);
    let long = format!("/inventory/{}", "x".repeat(1_001));
    vec![
        put("-1 on hand", r#"{"on_hand":-1}"#, "on_hand"),
        put("1.5 on hand", r#"{"on_hand":1.5}"#, "on_hand"),
        put("2^63 on hand", r#"{"on_hand":9223372036854775808}"#, "on_hand"),
        put("1e400 on hand", r#"{"on_hand":1e400}"#, "on_hand"),
        put("more than counts", r#"{"on_hand":10000000000000}"#, "on_hand"),
        put("words on hand", r#"{"on_hand":"many"}"#, "on_hand"),
        put("nothing said", "{}", "on_hand"),
        put("what is sold", r#"{"on_hand":1,"sold":0}"#, "sold"),
        put("no JSON", "on_hand=1", "body"),
        put("a list", "[1]", "body"),
        put("name with NUL", r#"{"on_hand":1,"product_name":"a\u0000b"}"#, "product_name"),
        Bad::new("NUL in the product", Call::put("/inventory/a%00b", r#"{"on_hand":1}"#), 400, "product_id"),
        Bad::new("product of 1,001 characters", Call::put(&long, r#"{"on_hand":1}"#), 400, "product_id"),
    ]
}

#[tokio::test]
async fn a_wrong_request_about_sagas_is_refused_by_field() {
    refuse_all(sagas()).await;
}

#[tokio::test]
async fn a_wrong_question_is_refused_by_field() {
    refuse_all(reads()).await;
}

#[tokio::test]
async fn a_wrong_header_is_refused() {
    refuse_all(headers()).await;
}

#[tokio::test]
async fn a_wrong_restock_is_refused_by_field() {
    refuse_all(stock()).await;
}
