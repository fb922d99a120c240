//! I3: a key names one order, whoever says it, how often, and at the same time.

use reqwest::StatusCode;
use tokio::task::JoinSet;

use super::{order, payments, stock, text};
use crate::http::Call;
use crate::program::Program;

const AT_ONCE: usize = 20;

#[tokio::test]
async fn the_same_key_again_gives_the_same_order() {
    let program = Program::start().await;
    let call = Call::post("/orders", &order("again", "pm_ok", "LAPTOP001", 1).to_string()).key("cart-1");
    let first = program.http.call(&call).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    program.http.saga_reaches("order/cart-1", "COMPLETED").await;
    let second = program.http.call(&call).await;
    assert_eq!(second.status, StatusCode::CREATED, "{}", second.text);
    for name in ["order_id", "saga_id", "total", "currency"] {
        assert_eq!(first.body[name], second.body[name], "{name}");
    }
    let all = program.http.get("/v1/sagas").await;
    assert_eq!(all["sagas"].as_array().map(Vec::len), Some(1), "{all}");
    assert_eq!(payments(&program.http, text(&first.body, "order_id")).await.len(), 1);
}

#[tokio::test]
async fn the_same_key_many_times_at_once_gives_one_order() {
    let program = Program::start().await;
    let [on_hand, ..] = stock(&program.http, "LAPTOP001").await;
    let call = Call::post("/orders", &order("at_once", "pm_ok", "LAPTOP001", 1).to_string()).key("cart-2");
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (http, call) = (program.http.clone(), call.clone());
        clients.spawn(async move { http.call(&call).await });
    }
    let answers = clients.join_all().await;
    let id = &answers[0].body["order_id"];
    for answer in &answers {
        assert_eq!((answer.status, &answer.body["order_id"]), (StatusCode::CREATED, id), "{}", answer.text);
    }
    program.http.saga_reaches("order/cart-2", "COMPLETED").await;
    let all = program.http.get("/v1/sagas").await;
    assert_eq!(all["sagas"].as_array().map(Vec::len), Some(1), "{all}");
    assert_eq!(payments(&program.http, id.as_str().expect("an id")).await.len(), 1);
    assert_eq!(stock(&program.http, "LAPTOP001").await[0], on_hand - 1);
}

#[tokio::test]
async fn the_same_key_with_another_order_is_a_conflict_that_changes_nothing() {
    let program = Program::start().await;
    let call = Call::post("/orders", &order("first", "pm_ok", "LAPTOP001", 1).to_string()).key("cart-3");
    program.http.call(&call).await;
    let before = program.http.saga_reaches("order/cart-3", "COMPLETED").await;
    let others = [
        order("first", "pm_ok", "LAPTOP001", 2),
        order("second", "pm_ok", "LAPTOP001", 1),
        order("first", "pm_declined", "LAPTOP001", 1),
    ];
    for other in others {
        let answer = program.http.call(&Call::post("/orders", &other.to_string()).key("cart-3")).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
        assert_eq!(answer.body["error"]["details"][0]["reason"], "KEY_TAKEN", "{}", answer.text);
        let cli = program.cli(&["order", "submit", "--key", "cart-3", "-d", &other.to_string()]).await;
        assert_eq!(cli.code, Some(4), "{cli:?}");
    }
    let after = program.http.saga_reaches("order/cart-3", "COMPLETED").await;
    assert_eq!(before["journalRows"], after["journalRows"]);
    let all = program.http.get("/v1/sagas").await;
    assert_eq!(all["sagas"].as_array().map(Vec::len), Some(1), "{all}");
}
