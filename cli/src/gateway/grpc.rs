//! `orders.v1.OrderService`.

use std::pin::Pin;

use amends_engine::api::deadline::wait_max;
use amends_engine::api::errors::status;
use amends_engine::api::principal;
use amends_engine::service::watch;
use amends_proto::orders::v1::order_service_server::OrderService;
use amends_proto::orders::v1::{
    CancelOrderRequest, GetOrderRequest, ListOrdersRequest, ListOrdersResponse, Order, SubmitOrderRequest,
    WatchOrderRequest,
};
use amends_sagas::order::front::OrderRequest;
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{LIST, Orders, parse_id};

#[tonic::async_trait]
impl OrderService for Orders {
    async fn submit_order(&self, request: Request<SubmitOrderRequest>) -> Result<Response<Order>, Status> {
        let wait = request.get_ref().wait.then(|| wait_max(request.metadata().as_ref()));
        let request = request.into_inner();
        let key = request.idempotency_key.clone();
        self.submit(OrderRequest::from(request), &key, wait).await.map(Response::new).map_err(status)
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        self.get(&request.get_ref().order_id).await.map(Response::new).map_err(status)
    }

    async fn list_orders(&self, request: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        let request = request.get_ref();
        let limit = u32::try_from(request.page_size).ok().filter(|size| *size > 0).unwrap_or(LIST.0).min(LIST.1);
        let orders = self.list(&request.user_id, limit).await.map_err(status)?;
        Ok(Response::new(ListOrdersResponse { orders }))
    }

    type WatchOrderStream = Pin<Box<dyn Stream<Item = Result<Order, Status>> + Send>>;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let saga = parse_id(&request.get_ref().order_id).map_err(status)?.saga_id();
        self.read(saga).await.map_err(status)?;
        let sagas = watch::watch(&self.engine, &saga.to_string()).await.map_err(status)?;
        let gateway = self.clone();
        let orders = sagas.then(move |moved| {
            let gateway = gateway.clone();
            async move {
                moved.map_err(status)?;
                gateway.read(saga).await.map_err(status)
            }
        });
        Ok(Response::new(Box::pin(orders)))
    }

    async fn cancel_order(&self, request: Request<CancelOrderRequest>) -> Result<Response<Order>, Status> {
        let who = principal(request.metadata().as_ref()).map_err(status)?;
        let CancelOrderRequest { order_id, reason } = request.into_inner();
        self.cancel(&order_id, who, reason).await.map(Response::new).map_err(status)
    }
}
