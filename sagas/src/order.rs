//! The order saga: create the order, charge it, reserve the goods, tell the customer.
//!
//! `order/order.toml` says what happens; the rest of the folder is the front that clients see: a request is read and
//! checked field by field, money is turned into minor units without rounding, and the order's id is its saga's.

mod accepted;
mod amount;
pub mod front;
mod id;
mod json;
mod status;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use amends_core::Definition;

pub use amount::decimal;
pub use id::{InvalidOrderId, OrderId};
pub use status::OrderStatus;

/// The saga type of orders.
pub const SAGA_TYPE: &str = "order";

const SOURCE: &str = include_str!("order/order.toml");

/// The definition of the order saga, read once.
pub fn definition() -> Arc<Definition> {
    static DEFINITION: LazyLock<Arc<Definition>> = LazyLock::new(|| match Definition::parse(SOURCE) {
        Ok(definition) => Arc::new(definition),
        // Part of this program, and a test reads it: this cannot reach a user.
        Err(problems) => panic!("order.toml: {problems:?}"),
    });
    DEFINITION.clone()
}
