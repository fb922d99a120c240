//! The inventory's books: what its table says, and what its reservations add up to (I17).

use serde_json::Value;

/// The products, with their five numbers.
pub const PRODUCTS: &str = "SELECT product_id, on_hand, reserved, sold, stocked FROM inventory";

/// The reservations: state and items.
pub const RESERVATIONS: &str = "SELECT state, items FROM reservations";

/// The stock of one product, and what the reservations say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Product {
    /// Its id, e.g. `MOUSE001`.
    pub id: String,
    /// Pieces that can be ordered.
    pub on_hand: i64,
    /// Pieces kept for orders that have not ended.
    pub reserved: i64,
    /// Pieces of completed orders.
    pub sold: i64,
    /// Pieces that ever came in.
    pub stocked: i64,
    /// The sum of the reservations that are held.
    pub reservations_held: i64,
    /// The sum of those that became sales.
    pub reservations_sold: i64,
}

/// Puts the rows of [`PRODUCTS`] and of [`RESERVATIONS`] side by side. Panics at what is no reservation of a product.
pub fn products(rows: Vec<(String, i64, i64, i64, i64)>, reservations: Vec<(String, String)>) -> Vec<Product> {
    let product =
        |(id, on_hand, reserved, sold, stocked)| Product { id, on_hand, reserved, sold, stocked, ..Product::default() };
    let mut products: Vec<Product> = rows.into_iter().map(product).collect();
    for (state, items) in reservations {
        let items: Vec<Value> = serde_json::from_str(&items).expect("items are JSON");
        for item in items {
            let found = products.iter_mut().find(|product| item["product_id"] == product.id.as_str());
            let product = found.expect("what is reserved is a product");
            let quantity = item["quantity"].as_i64().expect("a quantity");
            match state.as_str() {
                "reserved" => product.reservations_held += quantity,
                "sold" => product.reservations_sold += quantity,
                _ => {}
            }
        }
    }
    products
}
