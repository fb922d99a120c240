//! The inventory participant: what is on hand, held for orders, and sold.
//!
//! Every unit is in exactly one of the three (I17), and a table check keeps it so. A reservation moves units from on
//! hand to reserved; a compensation moves them back; the domain event `order_completed` moves them on to sold.

mod http;
mod reserve;
mod shelf;
mod stock;

pub(crate) use http::routes;
pub use reserve::{Reservation, ReserveInventory, ReservedItem, SellReserved, Wanted, WantedItem};
pub use stock::{
    CATALOGUE, CatalogueItem, InvalidStock, ON_HAND_MAX, Restock, StockRow, get_stock, list_stock, restock, seed,
};
