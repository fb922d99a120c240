//! What the sandbox's payment methods, users and quantities are there to show: every way in which an order can end.

mod operate;
mod repeat;
mod sandbox;

use serde_json::{Value, json};

use crate::http::Client;

/// An order for one product at 19.99 a piece.
fn order(user: &str, method: &str, product: &str, quantity: u64) -> Value {
    json!({
        "user_id": user,
        "payment_method": method,
        "items": [{ "product_id": product, "quantity": quantity, "price": 19.99 }],
    })
}

/// A text of an answer.
fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("{name} of {answer}"))
}

/// On hand, reserved and sold of a product.
async fn stock(http: &Client, product: &str) -> [i64; 3] {
    let row = http.get(&format!("/inventory/{product}")).await;
    ["on_hand", "reserved", "sold"].map(|name| row[name].as_i64().expect("a number"))
}

/// Kinds and amounts, in minor units, of an order's payments.
async fn payments(http: &Client, order_id: &str) -> Vec<(String, i64)> {
    let list = http.get(&format!("/payments?order_id={order_id}")).await;
    let payments = list["payments"].as_array().expect("a list").iter();
    payments.map(|row| (text(row, "kind").to_owned(), row["amount_minor"].as_i64().expect("a number"))).collect()
}

/// Templates of what a user was sent, the last first.
async fn messages(http: &Client, user: &str) -> Vec<String> {
    let list = http.get(&format!("/notifications?user_id={user}")).await;
    let messages = list["notifications"].as_array().expect("a list").iter();
    messages.map(|row| text(row, "template").to_owned()).collect()
}
