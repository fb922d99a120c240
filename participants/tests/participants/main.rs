//! The built-in participants through their public face: commands and events in, replies, tables and HTTP out.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod faults;
mod fixture;
mod http;
mod inventory;
mod ledger;
mod notification;
mod order;
mod payment;
mod trivial;

/// Where the tests' databases are, and what differs there.
mod place {
    pub(crate) async fn fresh() -> String {
        ":memory:".to_owned()
    }

    /// How much of each product of a table's JSON is in which state.
    pub(crate) const ITEMS: &str = "\
        SELECT state, item.value ->> 'product_id' AS product_id, item.value ->> 'quantity' AS quantity \
        FROM reservations, json_each(items) item";
}
