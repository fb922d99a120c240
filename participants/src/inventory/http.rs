//! `GET /inventory`, `GET /inventory/{product_id}` and `PUT /inventory/{product_id}`.

use std::collections::BTreeMap;

use amends_sdk::Database;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::stock::{self, InvalidStock, Restock, StockRow};
use crate::http::ApiError;

/// Serves the stock.
pub(crate) fn routes(db: Database) -> Router {
    Router::new().route("/inventory", get(list)).route("/inventory/{product_id}", get(show).put(set)).with_state(db)
}

async fn list(State(db): State<Database>) -> Result<Json<serde_json::Value>, ApiError> {
    let products = stock::list_stock(&db).await.map_err(ApiError::unavailable)?;
    Ok(Json(serde_json::json!({ "products": products })))
}

async fn show(State(db): State<Database>, Path(product_id): Path<String>) -> Result<Json<StockRow>, ApiError> {
    let row = stock::get_stock(&db, &product_id).await.map_err(ApiError::unavailable)?;
    row.map(Json).ok_or_else(|| ApiError::not_found("product", product_id))
}

async fn set(
    State(db): State<Database>,
    Path(product_id): Path<String>,
    body: Bytes,
) -> Result<Json<StockRow>, ApiError> {
    let body = Body::read(&body)?;
    let restock = Restock::new(&product_id, body.product_name.as_deref(), body.on_hand)?;
    stock::restock(&db, restock).await.map_err(ApiError::unavailable)?;
    show(State(db), Path(product_id)).await
}

/// What a PUT says. Read by hand, so that each complaint names its field.
#[derive(Debug, PartialEq)]
struct Body {
    on_hand: i64,
    product_name: Option<String>,
}

impl Body {
    fn read(bytes: &[u8]) -> Result<Self, ApiError> {
        // Values stay text until they are looked at: a number that fits nowhere is still its own field's fault.
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_slice(bytes).map_err(|error| match error.classify() {
                Category::Data => ApiError::invalid("body", "must be a JSON object"),
                _ => ApiError::invalid("body", format!("is not JSON: {error}")),
            })?;
        let mut on_hand = None;
        let mut product_name = None;
        for (name, value) in members {
            match name.as_str() {
                "on_hand" => on_hand = Some(whole_number(value)?),
                "product_name" => {
                    let text = serde_json::from_str(value.get());
                    product_name = Some(text.map_err(|_| ApiError::invalid("product_name", "must be a string"))?);
                }
                _ => return Err(ApiError::invalid(name, "is not a member of this request")),
            }
        }
        let on_hand = on_hand.ok_or_else(|| ApiError::invalid("on_hand", "is required"))?;
        Ok(Self { on_hand, product_name })
    }
}

/// Numbers too large for any shelf are left to the check of the stock, which says how much there may be.
fn whole_number(value: &RawValue) -> Result<i64, ApiError> {
    let number: Option<i128> = serde_json::from_str(value.get()).ok();
    let number = number.ok_or_else(|| ApiError::invalid("on_hand", "must be a whole number"))?;
    Ok(i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX }))
}

impl From<InvalidStock> for ApiError {
    fn from(error: InvalidStock) -> Self {
        Self::invalid(error.field, error.rule)
    }
}
