//! `GET /inventory`, `GET /inventory/{product_id}` and `PUT /inventory/{product_id}`.

use amends_sdk::Database;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use super::stock::{self, InvalidStock, Restock, StockRow};
use crate::http::ApiError;

/// Serves the stock.
pub(crate) fn routes(db: Database) -> Router {
    Router::new().route("/inventory", get(list)).route("/inventory/{product_id}", get(show).put(set)).with_state(db)
}

async fn list(State(db): State<Database>) -> Result<Json<Value>, ApiError> {
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
        let body: Value = serde_json::from_slice(bytes)
            .map_err(|error| ApiError::invalid("body", format!("is not JSON: {error}")))?;
        let Value::Object(members) = body else {
            return Err(ApiError::invalid("body", "must be a JSON object"));
        };
        let mut on_hand = None;
        let mut product_name = None;
        for (name, value) in members {
            match (name.as_str(), value) {
                ("on_hand", Value::Number(number)) if number.is_i64() || number.is_u64() => {
                    on_hand = Some(number.as_i64().unwrap_or(i64::MAX));
                }
                ("on_hand", _) => return Err(ApiError::invalid("on_hand", "must be a whole number")),
                ("product_name", Value::String(text)) => product_name = Some(text),
                ("product_name", _) => return Err(ApiError::invalid("product_name", "must be a string")),
                _ => return Err(ApiError::invalid(name, "is not a member of this request")),
            }
        }
        let on_hand = on_hand.ok_or_else(|| ApiError::invalid("on_hand", "is required"))?;
        Ok(Self { on_hand, product_name })
    }
}

impl From<InvalidStock> for ApiError {
    fn from(error: InvalidStock) -> Self {
        Self::invalid(error.field, error.rule)
    }
}
