//! Reserving, releasing and selling.

use std::collections::BTreeMap;

use amends_sdk::{DomainEvent, EventContext, Step, StepContext, StepError, Subscriber, Value};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::shelf;
use crate::OrderEvent;

const RESERVE: &str = "\
    INSERT INTO reservations (order_id, reservation_id, saga_id, items, state, created_at) \
    VALUES ($1, $2, $3, $4, 'reserved', $5) ON CONFLICT (order_id) DO NOTHING";
const RELEASE: &str = "UPDATE reservations SET state = 'released' WHERE order_id = $1 AND state = 'reserved'";
/// Apart from [`SELL`]: `RETURNING` makes SQLite build a table for its one row.
const HELD: &str = "SELECT items FROM reservations WHERE order_id = $1 AND state = 'reserved'";
const SELL: &str = "UPDATE reservations SET state = 'sold' WHERE order_id = $1 AND state = 'reserved'";

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
    pub(super) product_id: String,
    pub(super) quantity: i64,
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
        let text = serde_json::to_string(&items).map_err(StepError::try_again)?;
        shelf::hold(cx, &items, &text).await?;
        let reservation_id = format!("res_{}", cx.command_id());
        let saga = cx.saga_id().to_string();
        let now = cx.now().0;
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
        shelf::put_back(cx, &done.items).await
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
        shelf::move_on(cx, &items).await
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
