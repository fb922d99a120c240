//! `POST /orders` and its reads: plain JSON with snake-case names and exact decimal amounts.

use std::time::Duration;

use amends_core::Timestamp;
use amends_engine::api::errors::http_error;
use amends_engine::api::http::JsonBody;
use amends_engine::api::principal;
use amends_engine::service::ServiceError;
use amends_engine::service::wait::WAIT_MAX;
use amends_proto::orders::v1::Order;
use amends_sagas::order::front;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{LIST, Orders};

impl Orders {
    /// The routes below `/orders`.
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route("/orders", post(submit).get(list))
            .route("/orders/{id}", get(read).post(act))
            .with_state(self)
    }
}

/// `POST /orders`, with `?wait=true` answered when the order is confirmed or cancelled, as far as that takes no longer than
/// a request may.
async fn submit(
    State(orders): State<Orders>,
    query: Result<Query<SubmitQuery>, QueryRejection>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Box<RawValue>>,
) -> Response {
    let Ok(Query(SubmitQuery { wait })) = query else {
        return http_error(ServiceError::invalid("wait", "must be true or false"));
    };
    answer(StatusCode::CREATED, accept(&orders, &headers, body.get(), wait.then_some(WAIT_MAX)).await)
}

#[derive(Deserialize)]
struct SubmitQuery {
    #[serde(default)]
    wait: bool,
}

async fn accept(
    orders: &Orders,
    headers: &HeaderMap,
    body: &str,
    wait: Option<Duration>,
) -> Result<Accepted, ServiceError> {
    let key = match headers.get("idempotency-key") {
        None => "",
        Some(key) => key.to_str().map_err(|_| ServiceError::invalid("Idempotency-Key", "must be plain text"))?,
    };
    let order = orders.submit(front::parse(body).map_err(super::invalid)?, key, wait).await?;
    Ok(Accepted {
        total: number(&order.total)?,
        order_id: order.order_id,
        saga_id: order.saga_id,
        status: order.status,
        currency: order.currency,
    })
}

async fn read(State(orders): State<Orders>, Path(id): Path<String>) -> Response {
    answer(StatusCode::OK, orders.get(&id).await.and_then(View::new))
}

#[derive(Deserialize)]
struct ListQuery {
    user_id: Option<String>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct List {
    orders: Vec<View>,
}

async fn list(State(orders): State<Orders>, query: Result<Query<ListQuery>, QueryRejection>) -> Response {
    let Ok(Query(query)) = query else {
        return http_error(ServiceError::invalid("limit", "must be a whole number, e.g. ?user_id=user_123&limit=20"));
    };
    let limit = query.limit.unwrap_or(LIST.0).clamp(1, LIST.1);
    let found = orders.list(query.user_id.as_deref().unwrap_or_default(), limit).await;
    let views = found.and_then(|found| found.into_iter().map(View::new).collect::<Result<_, _>>());
    answer(StatusCode::OK, views.map(|orders| List { orders }))
}

/// `POST /orders/{id}:cancel`.
async fn act(State(orders): State<Orders>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let Some(id) = id.strip_suffix(":cancel") else {
        let error = ServiceError::NotFound("there is no such action; try POST /orders/{id}:cancel".to_owned());
        return http_error(error);
    };
    let order = match principal(&headers) {
        Ok(who) => orders.cancel(id, who, String::new()).await,
        Err(error) => Err(error),
    };
    answer(StatusCode::OK, order.and_then(View::new))
}

fn answer(status: StatusCode, result: Result<impl Serialize, ServiceError>) -> Response {
    match result {
        Ok(body) => (status, Json(body)).into_response(),
        Err(error) => http_error(error),
    }
}

#[derive(Serialize)]
struct Accepted {
    order_id: String,
    saga_id: String,
    status: String,
    total: Box<RawValue>,
    currency: String,
}

#[derive(Serialize)]
struct View {
    order_id: String,
    saga_id: String,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    saga_status: String,
    user_id: String,
    currency: String,
    total: Box<RawValue>,
    payment_method: String,
    items: Vec<ItemView>,
    created_at: Option<String>,
}

#[derive(Serialize)]
struct Reason {
    code: String,
    message: String,
}

#[derive(Serialize)]
struct ItemView {
    product_id: String,
    product_name: String,
    quantity: i64,
    price: Box<RawValue>,
}

impl View {
    fn new(order: Order) -> Result<Self, ServiceError> {
        let items = order.items.into_iter().map(|item| {
            let price = number(&item.price)?;
            let (product_id, product_name, quantity) = (item.product_id, item.product_name, item.quantity);
            Ok(ItemView { product_id, product_name, quantity, price })
        });
        Ok(Self {
            items: items.collect::<Result<_, ServiceError>>()?,
            total: number(&order.total)?,
            reason: (!order.reason_code.is_empty())
                .then_some(Reason { code: order.reason_code, message: order.reason }),
            created_at: order
                .create_time
                .map(|time| Timestamp(time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000).to_string()),
            order_id: order.order_id,
            saga_id: order.saga_id,
            status: order.status,
            saga_status: order.saga_status,
            user_id: order.user_id,
            currency: order.currency,
            payment_method: order.payment_method,
        })
    }
}

/// A decimal text as a JSON number, digit by digit.
fn number(decimal: &str) -> Result<Box<RawValue>, ServiceError> {
    RawValue::from_string(decimal.to_owned()).map_err(|_| ServiceError::Internal)
}
