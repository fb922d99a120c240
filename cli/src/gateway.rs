//! The order domain's front door: `orders.v1.OrderService` and `POST /orders`, over the engine's services.
//!
//! An order is a saga of type `order`, and its number is derived from the saga's, so that everything about it can be
//! answered from the saga, on any engine. Only the list by customer asks the order participant.

mod grpc;
mod http;
pub(crate) mod reads;

use std::sync::Arc;
use std::time::Duration;

use amends_core::{IdempotencyKey, Input, Operator, Saga, SagaId};
use amends_engine::Engine;
use amends_engine::service::start::StartSaga;
use amends_engine::service::view::timestamp;
use amends_engine::service::{ServiceError, query, wait};
use amends_proto::orders::v1::{Order, OrderItem};
use amends_sagas::order::front::{self, FieldError, OrderRequest};
use amends_sagas::order::{OrderId, OrderStatus, SAGA_TYPE, decimal};
use amends_sdk::Database;
use async_trait::async_trait;

/// Orders of a customer that are listed unless the request says otherwise, and at the most.
const LIST: (u32, u32) = (50, 500);

/// Knows the orders of a customer: the order participant, in this process or elsewhere.
#[async_trait]
pub(crate) trait OrderBook: Send + Sync {
    /// The numbers of at most `limit` orders, newest first.
    async fn by_user(&self, user_id: &str, limit: u32) -> Result<Vec<String>, ServiceError>;
}

#[async_trait]
impl OrderBook for Database {
    async fn by_user(&self, user_id: &str, limit: u32) -> Result<Vec<String>, ServiceError> {
        let rows = amends_participants::list_by_user(self, user_id, limit).await;
        let rows = rows.map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        Ok(rows.into_iter().map(|row| row.order_id).collect())
    }
}

/// The gateway's use cases.
#[derive(Clone)]
pub(crate) struct Orders {
    engine: Engine,
    book: Arc<dyn OrderBook>,
}

impl Orders {
    pub(crate) fn new(engine: Engine, book: Arc<dyn OrderBook>) -> Self {
        Self { engine, book }
    }

    /// Accepts an order; durable when it returns. The same key and order again give the same answer (I3). With `wait` it
    /// returns when the order's saga has settled, or when that time is over.
    async fn submit(&self, request: OrderRequest, key: &str, wait: Option<Duration>) -> Result<Order, ServiceError> {
        let order = request.check().map_err(invalid)?;
        let key = match key {
            "" => None,
            key => Some(IdempotencyKey::new(key).map_err(|error| ServiceError::invalid("idempotency_key", error))?),
        };
        let id = match &key {
            Some(key) => SagaId::from_key(&amends_sagas::order::definition().saga_type, key),
            None => self.engine.new_saga_id(),
        };
        let input = order.input(&OrderId::from(id).to_string());
        let start = StartSaga { saga_type: SAGA_TYPE.to_owned(), key, id, input: input.clone(), deadline: None };
        let seat = wait.map(|limit| (self.engine.seat(id), limit));
        let started = self.engine.start_saga(start).await?;
        if let Some((seat, limit)) = seat {
            return match wait::until_settled(&self.engine, seat, &started, limit).await {
                Some(saga) => from_saga(&saga),
                None => self.read(id).await,
            };
        }
        if started.existed {
            return self.read(id).await;
        }
        let mut accepted = Saga::new(id, amends_sagas::order::definition());
        (accepted.input, accepted.started_at) = (input, started.started_at);
        from_saga(&accepted)
    }

    async fn get(&self, order_id: &str) -> Result<Order, ServiceError> {
        let id = parse_id(order_id)?;
        self.read(id.saga_id()).await
    }

    async fn read(&self, id: SagaId) -> Result<Order, ServiceError> {
        let loaded = query::load_id(&self.engine, id).await?;
        match loaded.filter(|loaded| loaded.definition.saga_type.as_str() == SAGA_TYPE) {
            Some(loaded) => from_saga(&loaded.saga()),
            None => Err(ServiceError::NotFound(format!("there is no order {}", OrderId::from(id)))),
        }
    }

    /// Newest first, as far as the order participant has heard of them.
    async fn list(&self, user_id: &str, limit: u32) -> Result<Vec<Order>, ServiceError> {
        if user_id.is_empty() {
            return Err(ServiceError::invalid("user_id", "is required"));
        }
        let listed = self.book.by_user(user_id, limit).await?;
        let mut orders = Vec::with_capacity(listed.len());
        for order_id in listed {
            orders.push(self.get(&order_id).await?);
        }
        Ok(orders)
    }

    async fn cancel(&self, order_id: &str, who: String, reason: String) -> Result<Order, ServiceError> {
        let saga = parse_id(order_id)?.saga_id();
        self.read(saga).await?;
        self.engine.operate(saga, Input::Cancel(Operator { who, reason })).await?;
        self.read(saga).await
    }
}

fn parse_id(order_id: &str) -> Result<OrderId, ServiceError> {
    order_id.parse().map_err(|_| {
        ServiceError::NotFound("there is no such order; numbers look like ord_ and 32 hex digits".to_owned())
    })
}

fn invalid(error: FieldError) -> ServiceError {
    ServiceError::invalid(error.field, error.message)
}

/// The order that a saga is. One of this type can also be started with any input over the saga API.
fn from_saga(saga: &Saga) -> Result<Order, ServiceError> {
    let order = front::Order::from_input(&saga.input).map_err(|_| {
        ServiceError::NotAllowed("this saga was not submitted as an order; try `amends show`".to_owned())
    })?;
    let status = OrderStatus::from(saga);
    let cause = saga.cause.as_ref().filter(|_| status == OrderStatus::Cancelled).map(|cause| cause.failure.clone());
    let (reason_code, reason) = cause.map(|failure| (failure.code, failure.message)).unwrap_or_default();
    let currency = order.currency;
    let items = order.items.into_iter().map(|item| OrderItem {
        price: decimal(item.price, &currency),
        product_id: item.product_id,
        product_name: item.product_name.unwrap_or_default(),
        quantity: item.quantity,
        currency: String::new(),
    });
    Ok(Order {
        order_id: OrderId::from(saga.id).to_string(),
        saga_id: saga.id.to_string(),
        status: status.to_string(),
        reason_code,
        reason,
        saga_status: saga.status.as_str().to_owned(),
        items: items.collect(),
        total: decimal(order.total, &currency),
        currency,
        user_id: order.user_id,
        payment_method: order.payment_method,
        create_time: Some(timestamp(saga.started_at)),
    })
}
