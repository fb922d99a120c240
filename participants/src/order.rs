//! The order participant: keeps each order and what became of it.
//!
//! Pending until the stock is reserved (the domain event `inventory_updated` says so), then confirmed; cancelled,
//! with the reason, when the saga is undone. Cancelled is final: a late event does not bring an order back.

use amends_sdk::{
    Database, DatabaseError, DomainEvent, DriverError, EventContext, Failure, Row, RowRef, Step, StepContext,
    StepError, Subscriber, Timestamp, Value,
};
use async_trait::async_trait;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::{ApiError, ListArguments, ListQuery};
use crate::{OrderEvent, money};

const INSERT: &str = "\
    INSERT INTO orders (order_id, saga_id, user_id, currency, total, items, status, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7) ON CONFLICT (order_id) DO NOTHING";
const CONFIRM: &str = "UPDATE orders SET status = 'confirmed' WHERE order_id = $1 AND status = 'pending'";
const CANCEL: &str = "UPDATE orders SET status = 'cancelled', reason_code = $2, reason = $3 WHERE order_id = $1";
const GET: &str = "\
    SELECT order_id, saga_id, user_id, currency, total, items, status, reason_code, reason, created_at \
    FROM orders WHERE order_id = $1";
const LIST: &str = "\
    SELECT order_id, saga_id, user_id, currency, total, items, status, reason_code, reason, created_at \
    FROM orders WHERE user_id = $1 ORDER BY created_at DESC, order_id DESC LIMIT $2";

/// `order.create`: writes the order down as pending; undone by cancelling it.
#[derive(Debug, Clone, Copy, Default)]
pub struct CreateOrder;

/// What `order.create` is asked.
#[derive(Debug, Deserialize)]
pub struct NewOrder {
    order_id: String,
    user_id: String,
    #[serde(default = "money::default_currency")]
    currency: String,
    /// In minor units.
    total: i64,
    /// Kept as the text it came in, so that prices keep their digits.
    items: Box<RawValue>,
}

/// What `order.create` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderCreated {
    order_id: String,
}

impl Step for CreateOrder {
    type Input = NewOrder;
    type Output = OrderCreated;
    const COMMAND: &'static str = "order.create";

    async fn execute(&self, cx: &mut StepContext<'_>, order: NewOrder) -> Result<OrderCreated, StepError> {
        money::check(order.total, &order.currency)?;
        if serde_json::from_str::<Vec<IgnoredAny>>(order.items.get()).map_or(0, |items| items.len()) == 0 {
            return Err(StepError::refused("NO_ITEMS", "an order needs a list of at least one item"));
        }
        let saga = cx.saga_id().to_string();
        let now = cx.now().0;
        let row = [
            Value::Text(&order.order_id),
            Value::Text(&saga),
            Value::Text(&order.user_id),
            Value::Text(&order.currency),
            Value::Int(order.total),
            Value::Text(order.items.get()),
            Value::Int(now),
        ];
        if cx.execute(INSERT, &row).await? == 0 {
            let message = format!("there is an order {} already", order.order_id);
            return Err(StepError::refused("ORDER_EXISTS", message));
        }
        Ok(OrderCreated { order_id: order.order_id })
    }

    async fn compensate(&self, cx: &mut StepContext<'_>, _: NewOrder, done: OrderCreated) -> Result<(), StepError> {
        let cause = cx.cause().cloned().unwrap_or_else(|| Failure::new("COMPENSATED", "the order was undone"));
        let row = [Value::Text(&done.order_id), Value::Text(&cause.code), Value::Text(&cause.message)];
        if cx.execute(CANCEL, &row).await? == 0 {
            return Err(StepError::try_again(format!("there is no order {} to cancel", done.order_id)));
        }
        Ok(())
    }
}

/// Confirms an order once its stock is reserved. A second delivery changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConfirmOrder;

#[async_trait]
impl Subscriber for ConfirmOrder {
    fn topics(&self) -> &'static [&'static str] {
        &["inventory_updated"]
    }

    async fn on_event(&self, cx: &mut EventContext<'_>, event: &DomainEvent) -> Result<(), StepError> {
        let OrderEvent { order_id } = OrderEvent::read(event)?;
        cx.execute(CONFIRM, &[Value::Text(&order_id)]).await?;
        Ok(())
    }
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Its saga has not got as far as reserving stock.
    Pending,
    /// Its stock is reserved or sold.
    Confirmed,
    /// Its saga was undone.
    Cancelled,
}

impl OrderStatus {
    /// The word in tables and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The table holds a status that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a status of an order")]
pub struct UnknownStatus(String);

impl TryFrom<String> for OrderStatus {
    type Error = UnknownStatus;
    fn try_from(text: String) -> Result<Self, UnknownStatus> {
        [Self::Pending, Self::Confirmed, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus(text))
    }
}

/// One order as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Names the order.
    pub order_id: String,
    /// The saga that made it.
    pub saga_id: String,
    /// Who ordered.
    pub user_id: String,
    /// ISO 4217.
    pub currency: String,
    /// In minor units of the currency.
    pub total: i64,
    /// A JSON array, as it was ordered.
    pub items: String,
    /// What became of it.
    pub status: OrderStatus,
    /// Stable code of why it was cancelled; `None` unless it was.
    pub reason_code: Option<String>,
    /// The same for people.
    pub reason: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

impl Row for OrderRow {
    fn read(row: &RowRef<'_>) -> Result<Self, DriverError> {
        let (order_id, saga_id, user_id, currency, total, items, status, reason_code, reason, created_at) =
            Row::read(row)?;
        let status: Result<_, UnknownStatus> = String::try_into(status);
        let status = status.map_err(|error| DriverError::Column(error.to_string()))?;
        Ok(Self { order_id, saga_id, user_id, currency, total, items, status, reason_code, reason, created_at })
    }
}

/// Finds one order.
pub async fn get_order(db: &Database, order_id: &str) -> Result<Option<OrderRow>, DatabaseError> {
    db.fetch_optional(GET, &[Value::Text(order_id)]).await
}

/// Lists a user's orders, newest first, at most `limit`.
pub async fn list_by_user(db: &Database, user_id: &str, limit: u32) -> Result<Vec<OrderRow>, DatabaseError> {
    db.fetch_all(LIST, &[Value::Text(user_id), Value::Int(limit.into())]).await
}

/// Serves `GET /orders/{id}` and `GET /orders?user_id=`.
pub(crate) fn routes(db: Database) -> Router {
    Router::new().route("/orders", get(list)).route("/orders/{order_id}", get(show)).with_state(db)
}

/// An order as JSON shows it.
#[derive(Serialize)]
struct OrderView<'a> {
    order_id: &'a str,
    saga_id: &'a str,
    user_id: &'a str,
    status: OrderStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    currency: &'a str,
    total: String,
    total_minor: i64,
    items: &'a RawValue,
    created_at: String,
}

impl<'a> From<&'a OrderRow> for OrderView<'a> {
    fn from(row: &'a OrderRow) -> Self {
        Self {
            order_id: &row.order_id,
            saga_id: &row.saga_id,
            user_id: &row.user_id,
            status: row.status,
            reason_code: row.reason_code.as_deref(),
            reason: row.reason.as_deref(),
            currency: &row.currency,
            total: money::decimal(row.total, &row.currency),
            total_minor: row.total,
            items: serde_json::from_str(&row.items).unwrap_or(RawValue::NULL),
            created_at: Timestamp(row.created_at).to_string(),
        }
    }
}

async fn show(State(db): State<Database>, Path(order_id): Path<String>) -> Result<Response, ApiError> {
    let row = get_order(&db, &order_id).await.map_err(ApiError::unavailable)?;
    let row = row.ok_or_else(|| ApiError::not_found("order", order_id))?;
    Ok(Json(OrderView::from(&row)).into_response())
}

async fn list(State(db): State<Database>, query: ListArguments) -> Result<Response, ApiError> {
    let (user_id, limit) = ListQuery::by_user(query)?;
    let rows = list_by_user(&db, &user_id, limit).await.map_err(ApiError::unavailable)?;
    let orders: Vec<OrderView<'_>> = rows.iter().map(OrderView::from).collect();
    Ok(Json(serde_json::json!({ "orders": orders })).into_response())
}
