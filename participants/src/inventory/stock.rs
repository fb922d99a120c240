//! The stock itself: reading it, filling it up.

use amends_sdk::{Database, DatabaseError, DriverError, Row, RowRef, Value};

const GET: &str = "SELECT product_id, product_name, on_hand, reserved, sold FROM inventory WHERE product_id = $1";
const LIST: &str = "SELECT product_id, product_name, on_hand, reserved, sold FROM inventory ORDER BY product_id";
/// Whatever `on_hand` changes by has come in or gone out of the door, so `stocked` moves with it. An empty name keeps
/// the name there is; a new product without one is called by its id.
const RESTOCK: &str = "\
    INSERT INTO inventory (product_id, product_name, on_hand, reserved, sold, stocked) \
    VALUES ($1, COALESCE(NULLIF($2, ''), $1), $3, 0, 0, $3) \
    ON CONFLICT (product_id) DO UPDATE SET \
        product_name = COALESCE(NULLIF($2, ''), inventory.product_name), \
        stocked = inventory.stocked + $3 - inventory.on_hand, \
        on_hand = $3";
const SEED: &str = "\
    INSERT INTO inventory (product_id, product_name, on_hand, reserved, sold, stocked) \
    VALUES ($1, $2, $3, 0, 0, $3) ON CONFLICT (product_id) DO NOTHING";

/// The most of one product that may be on hand: sums over many restocks stay far from the end of an `i64`.
pub const ON_HAND_MAX: i64 = 1_000_000_000_000;

/// Longest accepted id or name of a product, in characters; orders may name no longer ones.
const TEXT_MAX: usize = 255;

/// A product of the demo catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogueItem {
    /// Names the product.
    pub product_id: &'static str,
    /// For people.
    pub product_name: &'static str,
    /// What is there on the first day.
    pub on_hand: i64,
}

/// What the demo's shop sells; the last is never there, so that one can see an order undone.
pub const CATALOGUE: [CatalogueItem; 6] = [
    CatalogueItem { product_id: "LAPTOP001", product_name: "Gaming Laptop", on_hand: 100 },
    CatalogueItem { product_id: "PHONE001", product_name: "Smartphone", on_hand: 500 },
    CatalogueItem { product_id: "MOUSE001", product_name: "Wireless Mouse", on_hand: 1000 },
    CatalogueItem { product_id: "KEYBOARD001", product_name: "Mechanical Keyboard", on_hand: 400 },
    CatalogueItem { product_id: "HEADSET001", product_name: "Headset", on_hand: 300 },
    CatalogueItem { product_id: "CONSOLE001", product_name: "Sold-out Game Console", on_hand: 0 },
];

/// The stock of one product.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StockRow {
    /// Names the product.
    pub product_id: String,
    /// For people.
    pub product_name: String,
    /// Free to be reserved.
    pub on_hand: i64,
    /// Held for orders under way.
    pub reserved: i64,
    /// Gone with completed orders.
    pub sold: i64,
}

impl Row for StockRow {
    fn read(row: &RowRef<'_>) -> Result<Self, DriverError> {
        let (product_id, product_name, on_hand, reserved, sold) = Row::read(row)?;
        Ok(Self { product_id, product_name, on_hand, reserved, sold })
    }
}

/// Says which part of a restock is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct InvalidStock {
    /// `product_id`, `product_name` or `on_hand`.
    pub field: &'static str,
    /// What it must be.
    pub rule: String,
}

/// A restock that was checked.
#[derive(Debug, Clone, Copy)]
pub struct Restock<'a> {
    product_id: &'a str,
    product_name: &'a str,
    on_hand: i64,
}

impl<'a> Restock<'a> {
    /// Checks a restock; without a name a product keeps the one it has, and a new one is called by its id.
    pub fn new(product_id: &'a str, product_name: Option<&'a str>, on_hand: i64) -> Result<Self, InvalidStock> {
        check_text("product_id", product_id)?;
        if let Some(name) = product_name {
            check_text("product_name", name)?;
        }
        if !(0..=ON_HAND_MAX).contains(&on_hand) {
            return Err(InvalidStock { field: "on_hand", rule: format!("must be from 0 to {ON_HAND_MAX}") });
        }
        Ok(Self { product_id, product_name: product_name.unwrap_or_default(), on_hand })
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), InvalidStock> {
    if text.trim().is_empty() || text.chars().count() > TEXT_MAX || text.chars().any(char::is_control) {
        return Err(InvalidStock {
            field,
            rule: format!("must be 1 to {TEXT_MAX} characters, none of them control characters"),
        });
    }
    Ok(())
}

/// Sets what is on hand of a product, whatever is reserved or sold; makes the product if there is none.
pub async fn restock(db: &Database, restock: Restock<'_>) -> Result<(), DatabaseError> {
    let row = [Value::Text(restock.product_id), Value::Text(restock.product_name), Value::Int(restock.on_hand)];
    db.execute(RESTOCK, &row).await?;
    Ok(())
}

/// Adds what the demo catalogue has and the table has not; many workers may do so at once.
pub async fn seed(db: &Database) -> Result<(), DatabaseError> {
    for CatalogueItem { product_id, product_name, on_hand } in CATALOGUE {
        db.execute(SEED, &[Value::Text(product_id), Value::Text(product_name), Value::Int(on_hand)]).await?;
    }
    Ok(())
}

/// Finds the stock of one product.
pub async fn get_stock(db: &Database, product_id: &str) -> Result<Option<StockRow>, DatabaseError> {
    db.fetch_optional(GET, &[Value::Text(product_id)]).await
}

/// Lists the stock of all products by id.
pub async fn list_stock(db: &Database) -> Result<Vec<StockRow>, DatabaseError> {
    db.fetch_all(LIST, &[]).await
}
