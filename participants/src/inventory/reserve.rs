//! Reserving, releasing and selling.

use std::collections::BTreeMap;

use amends_sdk::{DomainEvent, EventContext, Step, StepContext, StepError, Subscriber, Value};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::OrderEvent;

const HOLD: &str = "\
    UPDATE inventory SET on_hand = on_hand - $2, reserved = reserved + $2 WHERE product_id = $1 AND on_hand >= $2";
const ON_HAND: &str = "SELECT on_hand FROM inventory WHERE product_id = $1";
const RESERVE: &str = "\
    INSERT INTO reservations (order_id, reservation_id, saga_id, items, state, created_at) \
    VALUES ($1, $2, $3, $4, 'reserved', $5) ON CONFLICT (order_id) DO NOTHING";
const RELEASE: &str = "UPDATE reservations SET state = 'released' WHERE order_id = $1 AND state = 'reserved'";
const PUT_BACK: &str = "\
    UPDATE inventory SET on_hand = on_hand + $2, reserved = reserved - $2 WHERE product_id = $1";
/// Apart from [`SELL`]: `RETURNING` makes SQLite build a table for its one row.
const HELD: &str = "SELECT items FROM reservations WHERE order_id = $1 AND state = 'reserved'";
const SELL: &str = "UPDATE reservations SET state = 'sold' WHERE order_id = $1 AND state = 'reserved'";
const MOVE_ON: &str = "UPDATE inventory SET reserved = reserved - $2, sold = sold + $2 WHERE product_id = $1";

/// `inventory.reserve`: holds all items of an order or none; undone by putting them back.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReserveInventory;

/// What `inventory.reserve` is asked.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    order_id: String,
    items: Vec<WantedItem>,
}

/// One line of an order; what else the line says is not inventory's business.
#[derive(Debug, Deserialize)]
pub struct WantedItem {
    product_id: String,
    quantity: i64,
}

/// What `inventory.reserve` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reservation {
    reservation_id: String,
    items: Vec<ReservedItem>,
}

/// How many of one product are held.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedItem {
    product_id: String,
    quantity: i64,
}

/// Adds up the lines of an order by product.
///
/// Sorted, so that orders which hold several rows take them in one sequence and cannot wait for each other in a circle.
fn by_product(items: Vec<WantedItem>) -> Result<Vec<ReservedItem>, StepError> {
    let mut quantities = BTreeMap::<String, i64>::new();
    for WantedItem { product_id, quantity } in items {
        let sum = quantities.get(&product_id).copied().unwrap_or(0).checked_add(quantity);
        let Some(sum) = sum.filter(|_| quantity > 0) else {
            let message = format!("{quantity} is not a quantity of {product_id}");
            return Err(StepError::refused("INVALID_QUANTITY", message));
        };
        quantities.insert(product_id, sum);
    }
    if quantities.is_empty() {
        return Err(StepError::refused("NO_ITEMS", "there is nothing to reserve"));
    }
    Ok(quantities.into_iter().map(|(product_id, quantity)| ReservedItem { product_id, quantity }).collect())
}

impl Step for ReserveInventory {
    type Input = Wanted;
    type Output = Reservation;
    const COMMAND: &'static str = "inventory.reserve";

    async fn execute(&self, cx: &mut StepContext<'_>, wanted: Wanted) -> Result<Reservation, StepError> {
        let items = by_product(wanted.items)?;
        for item in &items {
            // A refusal takes back what the products before this one have held: the host undoes all of a refused step.
            if cx.execute(HOLD, &row(item)).await? == 0 {
                return Err(shortage(cx, item).await);
            }
        }
        let reservation_id = format!("res_{}", cx.command_id());
        let saga = cx.saga_id().to_string();
        let now = cx.now().0;
        let text = serde_json::to_string(&items).map_err(StepError::try_again)?;
        let values = [
            Value::Text(&wanted.order_id),
            Value::Text(&reservation_id),
            Value::Text(&saga),
            Value::Text(&text),
            Value::Int(now),
        ];
        if cx.execute(RESERVE, &values).await? == 0 {
            let message = format!("order {} has its reservation already", wanted.order_id);
            return Err(StepError::refused("ALREADY_RESERVED", message));
        }
        Ok(Reservation { reservation_id, items })
    }

    async fn compensate(&self, cx: &mut StepContext<'_>, wanted: Wanted, done: Reservation) -> Result<(), StepError> {
        if cx.execute(RELEASE, &[Value::Text(&wanted.order_id)]).await? == 0 {
            let message = format!("the reservation {} is not held any more", done.reservation_id);
            return Err(StepError::try_again(message));
        }
        for item in &done.items {
            cx.execute(PUT_BACK, &row(item)).await?;
        }
        Ok(())
    }
}

fn row(item: &ReservedItem) -> [Value<'_>; 2] {
    [Value::Text(&item.product_id), Value::Int(item.quantity)]
}

/// Says why an item could not be held; read only then, so that a success costs nothing for it.
async fn shortage(cx: &mut StepContext<'_>, item: &ReservedItem) -> StepError {
    let ReservedItem { product_id, quantity } = item;
    match cx.fetch_optional::<(i64,)>(ON_HAND, &[Value::Text(product_id)]).await {
        Ok(Some((on_hand,))) => {
            StepError::refused("OUT_OF_STOCK", format!("{product_id}: {quantity} wanted, {on_hand} on hand"))
        }
        Ok(None) => StepError::refused("UNKNOWN_PRODUCT", format!("there is no product {product_id}")),
        Err(error) => error,
    }
}

/// Moves what a completed order holds on to sold. A second delivery finds it sold and changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct SellReserved;

#[async_trait]
impl Subscriber for SellReserved {
    fn topics(&self) -> &'static [&'static str] {
        &["order_completed"]
    }

    async fn on_event(&self, cx: &mut EventContext<'_>, event: &DomainEvent) -> Result<(), StepError> {
        let OrderEvent { order_id } = OrderEvent::read(event)?;
        let Some((items,)) = cx.fetch_optional::<(String,)>(HELD, &[Value::Text(&order_id)]).await? else {
            return Ok(());
        };
        if cx.execute(SELL, &[Value::Text(&order_id)]).await? == 0 {
            return Ok(());
        }
        // Trying again would not make it readable, and would hold up everyone else's events.
        let items: Vec<ReservedItem> = serde_json::from_str(&items)
            .map_err(|error| StepError::refused("UNREADABLE_RESERVATION", format!("{order_id}: {error}")))?;
        for item in &items {
            cx.execute(MOVE_ON, &row(item)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(items: &[(&str, i64)]) -> Vec<WantedItem> {
        items.iter().map(|(id, quantity)| WantedItem { product_id: (*id).into(), quantity: *quantity }).collect()
    }

    #[test]
    fn lines_of_one_product_add_up_and_products_are_sorted() {
        let items = by_product(wanted(&[("b", 1), ("a", 2), ("b", 3)])).unwrap();
        let items: Vec<_> = items.iter().map(|item| (item.product_id.as_str(), item.quantity)).collect();
        assert_eq!(items, [("a", 2), ("b", 4)]);
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for items in [&[("a", 0)][..], &[("a", 2), ("a", -1)], &[("a", i64::MAX), ("a", 1)], &[]] {
            assert!(matches!(by_product(wanted(items)), Err(StepError::Refused { .. })), "{items:?}");
        }
    }
}
