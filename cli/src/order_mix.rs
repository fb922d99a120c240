//! Made-up orders, good ones and such as fail, for the demo and the bench.

use amends_engine::Engine;
use amends_engine::service::start::StartSaga;
use amends_participants::Restock;
use amends_proto::orders::v1::{OrderItem, SubmitOrderRequest};
use amends_sagas::order::front::{ItemRequest, Order, OrderRequest};
use amends_sagas::order::{OrderId, decimal};
use amends_sdk::{Database, DatabaseError};

/// The products of the demo catalogue, with prices in cents.
const PRODUCTS: [(&str, &str, &str); 3] = [
    ("LAPTOP001", "Gaming Laptop", "1299.99"),
    ("PHONE001", "Smartphone", "699.00"),
    ("MOUSE001", "Wireless Mouse", "24.95"),
];

/// More than any shelf of the demo holds.
const TOO_MANY: i64 = 999_999;

/// Makes the request that starts the saga of the `number`th order.
pub(crate) fn start(engine: &Engine, number: u64, fail_rate: f64) -> StartSaga {
    let id = engine.new_saga_id();
    let input = order(number, fail_rate).input(&OrderId::from(id).to_string());
    StartSaga { saga_type: "order".to_owned(), key: None, id, input, deadline: None }
}

/// Makes the request that submits the `number`th order.
pub(crate) fn request(number: u64, fail_rate: f64) -> SubmitOrderRequest {
    let order = order(number, fail_rate);
    let items = order.items.into_iter().map(|item| OrderItem {
        product_id: item.product_id,
        product_name: item.product_name.unwrap_or_default(),
        quantity: item.quantity,
        price: decimal(item.price, &order.currency),
        currency: String::new(),
    });
    SubmitOrderRequest {
        user_id: order.user_id,
        payment_method: order.payment_method,
        items: items.collect(),
        ..SubmitOrderRequest::default()
    }
}

/// Fills the shelves of every product that the mix orders.
pub(crate) async fn stock_up(participants: &Database, on_hand: i64) -> Result<(), DatabaseError> {
    for (product_id, product_name, _) in PRODUCTS {
        if let Ok(restock) = Restock::new(product_id, Some(product_name), on_hand) {
            amends_participants::restock(participants, restock).await?;
        }
    }
    Ok(())
}

/// The products that the mix orders.
pub(crate) fn product_ids() -> impl Iterator<Item = &'static str> {
    PRODUCTS.into_iter().map(|(product_id, _, _)| product_id)
}

/// Makes the `number`th order. `fail_rate` of them fail: most are declined or out of stock, each in its turn.
pub(crate) fn order(number: u64, fail_rate: f64) -> Order {
    let chance = spread(number);
    let fails = (chance >> 11) as f64 / ((1u64 << 53) as f64) < fail_rate;
    let (product_id, product_name, price) = PRODUCTS[(chance % 3) as usize];
    let (method, quantity) = match (fails, chance % 5) {
        (false, _) => ("pm_ok", 1),
        (true, 0 | 1) => ("pm_declined", 1),
        (true, 2) => ("pm_insufficient_funds", 1),
        (true, _) => ("pm_ok", TOO_MANY),
    };
    let request = OrderRequest::new(
        format!("user_{}", chance % 1_000),
        Some(method.to_owned()),
        vec![ItemRequest::new(product_id, Some(product_name), quantity, price)],
    );
    request.check().unwrap_or_else(|error| unreachable!("the catalogue's orders are good: {error:?}"))
}

/// Spreads a counter over all 64 bits (the finalizer of splitmix64): repeatable, and good enough for a mix of orders.
const fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fail_rate_is_kept_and_the_mix_repeats() {
        let fails = |order: &Order| order.payment_method != "pm_ok" || order.items[0].quantity == TOO_MANY;
        let count = (0..2_000).filter(|number| fails(&order(*number, 0.25))).count();
        assert!((400..600).contains(&count), "{count}");
        assert_eq!((0..500).filter(|number| fails(&order(*number, 0.0))).count(), 0);
        assert_eq!((0..500).filter(|number| fails(&order(*number, 1.0))).count(), 500);
        assert_eq!(order(7, 0.5).user_id, order(7, 0.5).user_id);
    }
}
