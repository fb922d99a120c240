//! An order whose every value is checked: the input of the order saga.

use amends_core::{Payload, PayloadError};
use serde::{Deserialize, Serialize};

/// A checked order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Who orders.
    pub user_id: String,
    /// ISO 4217.
    pub currency: String,
    /// What it is paid with.
    pub payment_method: String,
    /// What is ordered, in the client's order; a product may occur twice.
    pub items: Vec<Item>,
    /// Sum of price times quantity, in minor units.
    pub total: i64,
}

/// One item of an [`Order`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Which product.
    pub product_id: String,
    /// What to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_name: Option<String>,
    /// How many, at least 1.
    pub quantity: i64,
    /// Of one piece, in minor units.
    pub price: i64,
}

#[derive(Serialize)]
struct Input<'a> {
    order_id: &'a str,
    #[serde(flatten)]
    order: &'a Order,
}

impl Order {
    /// The saga's input: the order and its id as one JSON object. Equal orders give equal texts, however the client
    /// spelled them.
    pub fn input(&self, order_id: &str) -> Payload {
        Payload::encode(&Input { order_id, order: self }).expect("texts and whole numbers always have a JSON form")
    }

    /// Reads an order back from its saga's input; fails if the saga was started with something else.
    pub fn from_input(input: &Payload) -> Result<Self, PayloadError> {
        input.decode()
    }
}
