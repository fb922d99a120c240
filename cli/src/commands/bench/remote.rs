//! A running server as the bench's target, reached as clients reach it.

use amends_core::Status;
use amends_proto::amends::v1::saga_service_client::SagaServiceClient;
use amends_proto::amends::v1::{SagaStatus, WatchSagaRequest};
use amends_proto::orders::v1::SubmitOrderRequest;
use amends_proto::orders::v1::order_service_client::OrderServiceClient;
use async_trait::async_trait;
use tonic::transport::Channel;

use super::Load;
use crate::error::{CliError, Exit};
use crate::order_mix;

/// Connections, since one HTTP/2 connection has a limit of streams.
const CONNECTIONS: usize = 8;

pub(super) struct Remote {
    channels: Vec<Channel>,
    fail_rate: f64,
}

impl Remote {
    pub(super) async fn connect(target: &str, fail_rate: f64) -> Result<Self, CliError> {
        let mut channels = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let endpoint = Channel::from_shared(target.to_owned()).map_err(|error| {
                CliError::new(Exit::Usage, format!("--target {target} is not a URL"))
                    .why(error)
                    .next("--target http://127.0.0.1:7400")
            })?;
            channels.push(endpoint.connect().await.map_err(|error| {
                CliError::new(Exit::Unreachable, format!("nothing answers at {target}")).why(error).next("amends dev")
            })?);
        }
        Ok(Self { channels, fail_rate })
    }
}

/// Fills the shelves of every product that the mix orders, through the target's gateway.
pub(super) async fn stock_up(target: &str, on_hand: i64) -> Result<(), CliError> {
    let client = reqwest::Client::new();
    for product in order_mix::product_ids() {
        let url = format!("{}/inventory/{product}", target.trim_end_matches('/'));
        let put = client.put(&url).json(&serde_json::json!({ "on_hand": on_hand })).send().await;
        put.and_then(reqwest::Response::error_for_status).map_err(|error| {
            CliError::new(Exit::Unreachable, format!("cannot fill the shelves at {target}"))
                .why(error)
                .next("amends bench without --stock, or amends config explain participants.inventory.http")
        })?;
    }
    Ok(())
}

#[async_trait]
impl Load for Remote {
    async fn drive(&self, number: u64) -> Result<Status, CliError> {
        let channel = &self.channels[(number as usize) % self.channels.len()];
        let request = SubmitOrderRequest { wait: true, ..order_mix::request(number, self.fail_rate) };
        let order = OrderServiceClient::new(channel.clone()).submit_order(request).await.map_err(failed)?.into_inner();
        // One call an order, unless it takes longer than a call may, or the server cannot wait.
        if let Some(status) = settled(&order.saga_status) {
            return Ok(status);
        }
        let watch = WatchSagaRequest { id: order.saga_id };
        let mut sagas = SagaServiceClient::new(channel.clone()).watch_saga(watch).await.map_err(failed)?.into_inner();
        while let Some(saga) = sagas.message().await.map_err(failed)? {
            match saga.status() {
                SagaStatus::Completed => return Ok(Status::Completed),
                SagaStatus::Compensated => return Ok(Status::Compensated),
                SagaStatus::Parked => return Ok(Status::Parked),
                SagaStatus::Running | SagaStatus::Compensating | SagaStatus::Unspecified => {}
            }
        }
        Err(CliError::new(Exit::Unreachable, "the server ended a watch before its saga"))
    }
}

/// The end that a saga's status is, if it is one.
fn settled(status: &str) -> Option<Status> {
    status.parse().ok().filter(|status: &Status| status.is_terminal() || *status == Status::Parked)
}

fn failed(status: tonic::Status) -> CliError {
    CliError::new(Exit::Unreachable, "the server did not take an order").why(status.message()).next("amends doctor")
}
