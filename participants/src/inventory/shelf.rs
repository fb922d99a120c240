//! Moving units between on hand, reserved and sold.
//!
//! In a file a statement costs little and a product is moved at a time; on a server each is a round trip, and all
//! products of an order are moved by one.

use amends_sdk::{DatabaseKind, EventContext, StepContext, StepError, Value};

use super::reserve::ReservedItem;

const HOLD: &str = "\
    UPDATE inventory SET on_hand = on_hand - $2, reserved = reserved + $2 WHERE product_id = $1 AND on_hand >= $2";
const PUT_BACK: &str = "\
    UPDATE inventory SET on_hand = on_hand + $2, reserved = reserved - $2 WHERE product_id = $1";
const MOVE_ON: &str = "UPDATE inventory SET reserved = reserved - $2, sold = sold + $2 WHERE product_id = $1";
const ON_HAND: &str = "SELECT on_hand FROM inventory WHERE product_id = $1";

/// All or none: one that writes nothing leaves nothing to be taken back.
#[cfg(feature = "postgres")]
const HOLD_ALL: &str = "\
    UPDATE inventory SET on_hand = on_hand - item.quantity, reserved = reserved + item.quantity \
    FROM json_to_recordset($1::text::json) AS item (product_id text, quantity bigint) \
    WHERE inventory.product_id = item.product_id AND NOT EXISTS ( \
        SELECT 1 FROM json_to_recordset($1::text::json) AS wanted (product_id text, quantity bigint) \
        WHERE NOT EXISTS (SELECT 1 FROM inventory AS shelf \
            WHERE shelf.product_id = wanted.product_id AND shelf.on_hand >= wanted.quantity))";
#[cfg(feature = "postgres")]
const PUT_ALL_BACK: &str = "\
    UPDATE inventory SET on_hand = on_hand + item.quantity, reserved = reserved - item.quantity \
    FROM json_to_recordset($1::text::json) AS item (product_id text, quantity bigint) \
    WHERE inventory.product_id = item.product_id";
#[cfg(feature = "postgres")]
const MOVE_ALL_ON: &str = "\
    UPDATE inventory SET reserved = reserved - item.quantity, sold = sold + item.quantity \
    FROM json_to_recordset($1::text::json) AS item (product_id text, quantity bigint) \
    WHERE inventory.product_id = item.product_id";

/// Holds all of the items or none; `text` is the same as JSON. Each product is named once.
pub(super) async fn hold(cx: &mut StepContext<'_>, items: &[ReservedItem], text: &str) -> Result<(), StepError> {
    match cx.kind() {
        DatabaseKind::Sqlite => {
            for item in items {
                // A refusal takes back what the products before this one have held: the host undoes a refused step.
                if cx.execute(HOLD, &row(item)).await? == 0 {
                    return Err(shortage(cx, std::slice::from_ref(item)).await);
                }
            }
        }
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => {
            if cx.execute(HOLD_ALL, &[Value::Text(text)]).await? == 0 {
                return Err(shortage(cx, items).await);
            }
        }
    }
    #[cfg(not(feature = "postgres"))]
    let _ = text;
    Ok(())
}

/// Puts items that were held back on the shelf.
pub(super) async fn put_back(cx: &mut StepContext<'_>, items: &[ReservedItem]) -> Result<(), StepError> {
    match cx.kind() {
        DatabaseKind::Sqlite => {
            for item in items {
                cx.execute(PUT_BACK, &row(item)).await?;
            }
        }
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => {
            let text = serde_json::to_string(items).map_err(StepError::try_again)?;
            cx.execute(PUT_ALL_BACK, &[Value::Text(&text)]).await?;
        }
    }
    Ok(())
}

/// Moves items that were held on to sold.
pub(super) async fn move_on(cx: &mut EventContext<'_>, items: &[ReservedItem]) -> Result<(), StepError> {
    match cx.kind() {
        DatabaseKind::Sqlite => {
            for item in items {
                cx.execute(MOVE_ON, &row(item)).await?;
            }
        }
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => {
            let text = serde_json::to_string(items).map_err(StepError::try_again)?;
            cx.execute(MOVE_ALL_ON, &[Value::Text(&text)]).await?;
        }
    }
    Ok(())
}

fn row(item: &ReservedItem) -> [Value<'_>; 2] {
    [Value::Text(&item.product_id), Value::Int(item.quantity)]
}

/// Says which of the items could not be held, and why; read only then, so that a success costs nothing for it.
async fn shortage(cx: &mut StepContext<'_>, items: &[ReservedItem]) -> StepError {
    for ReservedItem { product_id, quantity } in items {
        match cx.fetch_optional::<(i64,)>(ON_HAND, &[Value::Text(product_id)]).await {
            Ok(Some((on_hand,))) if on_hand < *quantity => {
                let message = format!("{product_id}: {quantity} wanted, {on_hand} on hand");
                return StepError::refused("OUT_OF_STOCK", message);
            }
            Ok(Some(_)) => {}
            Ok(None) => return StepError::refused("UNKNOWN_PRODUCT", format!("there is no product {product_id}")),
            Err(error) => return error,
        }
    }
    StepError::try_again("the stock has changed meanwhile")
}
