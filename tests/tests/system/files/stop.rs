//! Stopping in good order, starting again, and beginning anew.

use serde_json::json;

use crate::program::Program;

#[tokio::test]
async fn unfinished_orders_carry_on_after_a_stop() {
    let mut program = Program::start().await;
    let items = json!([{ "product_id": "LAPTOP001", "quantity": 1, "price": 1299.99 }]);
    let order = json!({ "user_id": "u", "payment_method": "pm_slow", "items": items });
    let accepted = program.http.order(&order).await;
    let status = program.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", program.stderr());
    assert!(program.stderr().contains("unfinished orders carry on at the next start"), "{}", program.stderr());
    program.restart(&[]).await;
    program.http.saga_reaches(accepted["saga_id"].as_str().expect("an id"), "COMPLETED").await;
    let payments = format!("/payments?order_id={}", accepted["order_id"].as_str().expect("an id"));
    let payments = program.http.get(&payments).await;
    assert_eq!(payments["payments"].as_array().map(Vec::len), Some(1), "{payments}");
}

#[tokio::test]
async fn reset_begins_anew() {
    let mut program = Program::start().await;
    let items = json!([{ "product_id": "LAPTOP001", "quantity": 1, "price": 1299.99 }]);
    let accepted = program.http.order(&json!({ "user_id": "u", "items": items })).await;
    program.http.saga_reaches(accepted["saga_id"].as_str().expect("an id"), "COMPLETED").await;
    program.terminate().await;
    program.restart(&["--reset"]).await;
    let list = program.http.get("/v1/sagas").await;
    assert!(list["sagas"].as_array().is_none_or(Vec::is_empty), "{list}");
    let stock = program.http.get("/inventory/LAPTOP001").await;
    assert_eq!([&stock["on_hand"], &stock["sold"]], [100, 0], "{stock}");
}

#[tokio::test]
async fn memory_keeps_nothing() {
    let mut program = Program::start_on(std::path::Path::new(":memory:")).await;
    let items = json!([{ "product_id": "LAPTOP001", "quantity": 1, "price": 1299.99 }]);
    let accepted = program.http.order(&json!({ "user_id": "u", "items": items })).await;
    program.http.saga_reaches(accepted["saga_id"].as_str().expect("an id"), "COMPLETED").await;
    program.terminate().await;
    program.restart(&[]).await;
    let list = program.http.get("/v1/sagas").await;
    assert!(list["sagas"].as_array().is_none_or(Vec::is_empty), "{list}");
}
