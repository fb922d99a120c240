//! The same on Postgres, and what several workers on one database do to each other.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod faults;
mod fixture;
mod http;
mod inventory;
mod ledger;
mod notification;
mod order;
mod payment;
mod workers;

/// Where the tests' databases are, and what differs there.
mod place {
    pub(crate) async fn fresh() -> String {
        amends_sdk::testkit::scratch_postgres().await
    }

    /// How much of each product of a table's JSON is in which state.
    pub(crate) const ITEMS: &str = "\
        SELECT state, item.product_id, item.quantity FROM reservations, \
        LATERAL json_to_recordset(items::json) AS item (product_id text, quantity bigint)";
}
