//! The built-in participants: order, payment, inventory, notification.
//!
//! Each has its own file or folder, its own tables and nothing of the others': they know one another only through the
//! saga and its domain events.
//!
//! ```text
//! order.rs         order.create                        orders                    GET /orders
//! payment.rs       payment.charge                      payments (a ledger)       GET /payments
//! inventory/       inventory.reserve                   inventory, reservations   GET, PUT /inventory
//! notification/    notification.send                   notifications             GET /notifications
//! ```
//!
//! They may share one database and one host, as they do inside the program, or have each its own; any number of workers
//! may run the same participant on one Postgres database. SQL is written once, for SQLite and Postgres alike, but for the
//! migrations and the few statements that save round trips to a server.

mod http;
mod inventory;
mod money;
mod notification;
mod order;
mod payment;
mod trivial;
mod worker;

use std::sync::Arc;

use amends_sdk::{Database, DatabaseError, DatabaseKind, DomainEvent, Host, HostBuilder, StepError, Subscriptions};
use axum::Router;
use serde::Deserialize;
use sqlx::migrate::Migrator;

pub use inventory::{
    CATALOGUE, CatalogueItem, InvalidStock, ON_HAND_MAX, Reservation, ReserveInventory, ReservedItem, Restock,
    SellReserved, StockRow, Wanted, WantedItem, get_stock, list_stock, restock, seed,
};
pub use notification::{
    Channel, LogChannel, Medium, Message, Notice, NotificationRow, SendNotification, Sent, Text, Undelivered,
};
pub use order::{
    ConfirmOrder, CreateOrder, NewOrder, OrderCreated, OrderRow, OrderStatus, UnknownStatus, get_order, list_by_user,
};
pub use payment::{Charge, ChargePayment, PaymentRow, Receipt};
pub use trivial::run_trivial;

pub use worker::{PARTICIPANTS, UnknownParticipant, host_for, routes_for, subscriptions_for};

/// The tables of the barrier and of all four participants.
pub fn migrations(kind: DatabaseKind) -> &'static Migrator {
    static SQLITE: Migrator = sqlx::migrate!("../migrations/participants/sqlite");
    #[cfg(feature = "postgres")]
    static POSTGRES: Migrator = sqlx::migrate!("../migrations/participants/postgres");
    match kind {
        DatabaseKind::Sqlite => &SQLITE,
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => &POSTGRES,
    }
}

/// Brings the tables of the barrier and of all four participants up to date; many workers may do so at once.
pub async fn migrate(database: &Database) -> Result<(), DatabaseError> {
    database.migrate(migrations(database.kind())).await
}

/// Opens a database (`postgres://…`, an SQLite file's path, `:memory:`) and brings its tables up to date. The shelves are
/// empty: see [`seed`].
pub async fn open(place: &str) -> Result<Database, DatabaseError> {
    let database = Database::open(place).await?;
    migrate(&database).await?;
    Ok(database)
}

/// Adds the steps of all four participants; notifications go to the log.
#[must_use]
pub fn steps(builder: HostBuilder) -> HostBuilder {
    PARTICIPANTS.into_iter().fold(builder, worker::add_steps)
}

/// Hosts all four participants on one database, which has been migrated.
pub fn host(database: Database) -> Host {
    steps(Host::builder(database.for_participants(&PARTICIPANTS))).build()
}

/// Keeps orders and stock up to date by domain events.
pub fn subscriptions(database: Database) -> Subscriptions {
    let database = database.for_participants(&PARTICIPANTS);
    Subscriptions::new(database, vec![Arc::new(ConfirmOrder), Arc::new(SellReserved)])
}

/// Serves what payment, inventory and notification know over HTTP.
pub fn routes(database: Database) -> Router {
    let inventory = database.for_participants(&["inventory"]);
    payment::routes(database.clone()).merge(inventory::routes(inventory)).merge(notification::routes(database))
}

/// Serves what order knows over HTTP; apart, because the gateway has its own `/orders`.
pub fn order_routes(database: Database) -> Router {
    order::routes(database)
}

/// The member that every domain event of an order carries.
#[derive(Deserialize)]
struct OrderEvent {
    order_id: String,
}

impl OrderEvent {
    /// Reads it; an event without it is passed over, since its next delivery would be no better.
    fn read(event: &DomainEvent) -> Result<Self, StepError> {
        event.payload.decode().map_err(|error| StepError::refused("INVALID_EVENT", error.to_string()))
    }
}
