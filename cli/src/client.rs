//! The connection to an engine: one channel, a time limit on every call, failures in the user's words.

mod status;

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use amends_proto::amends::v1::cluster_service_client::ClusterServiceClient;
use amends_proto::amends::v1::dead_letter_service_client::DeadLetterServiceClient;
use amends_proto::amends::v1::definition_service_client::DefinitionServiceClient;
use amends_proto::amends::v1::saga_service_client::SagaServiceClient;
use amends_proto::orders::v1::order_service_client::OrderServiceClient;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::status::Doing;
use crate::args::Global;
use crate::error::{CliError, Exit};

/// A page of a thousand sagas with long errors, or one saga with large payloads, exceeds gRPC's usual 4 MiB.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Who acts, as the journal and the audit record it.
const USER_KEY: &str = "amends-user";

/// A connected engine.
pub(crate) struct Client {
    channel: Channel,
    timeout: Duration,
}

impl Client {
    /// Connects to the engine of `--server`.
    pub(crate) async fn connect(global: &Global) -> Result<Self, CliError> {
        Self::connect_within(global, global.call_timeout()).await
    }

    /// Connects, but gives up after `timeout`, which also bounds each call.
    pub(crate) async fn connect_within(global: &Global, timeout: Duration) -> Result<Self, CliError> {
        let endpoint = endpoint(&global.server)?.connect_timeout(timeout).tcp_nodelay(true);
        match tokio::time::timeout(timeout, endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(Self { channel, timeout }),
            Ok(Err(error)) => Err(unreachable(&global.server, &root_cause(&error))),
            Err(_) => Err(unreachable(&global.server, &format!("no answer within {}", pretty(timeout)))),
        }
    }

    /// Sagas: start, read, steer.
    pub(crate) fn sagas(&self) -> SagaServiceClient<Channel> {
        SagaServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Orders.
    pub(crate) fn orders(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Definitions.
    pub(crate) fn definitions(&self) -> DefinitionServiceClient<Channel> {
        DefinitionServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Shards and participants.
    pub(crate) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Dead letters.
    pub(crate) fn dead_letters(&self) -> DeadLetterServiceClient<Channel> {
        DeadLetterServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Wraps a message, with who asks and the deadline that the engines pass on among themselves.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        let user = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).ok();
        if let Some(user) = user.and_then(|user| MetadataValue::try_from(user.as_bytes()).ok()) {
            request.metadata_mut().insert(USER_KEY, user);
        }
        request
    }

    /// Awaits a single answer.
    pub(crate) async fn call<T>(
        &self,
        doing: &Doing,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CliError> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(doing.failed(&status)),
            Err(_) => Err(doing.timed_out(&pretty(self.timeout))),
        }
    }

    /// Awaits the beginning of a stream; the stream itself has no limit here.
    pub(crate) async fn stream<T>(
        &self,
        doing: &Doing,
        answer: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
    ) -> Result<Streaming<T>, CliError> {
        self.call(doing, answer).await
    }
}

/// Reads `--server`, with or without its scheme.
fn endpoint(server: &str) -> Result<Endpoint, CliError> {
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let wrong = |why: String| {
        CliError::new(Exit::Usage, format!("`{server}` is not the address of an engine"))
            .why(why)
            .next("amends --server http://127.0.0.1:7400 version")
    };
    if !url.starts_with("http://") {
        return Err(wrong("engines speak plain HTTP/2: the address begins with http://".to_owned()));
    }
    Endpoint::from_shared(url).map_err(|error| wrong(root_cause(&error)))
}

fn unreachable(server: &str, why: &str) -> CliError {
    CliError::new(Exit::Unreachable, format!("no engine can be reached at {server}"))
        .why(why)
        .next("start one with `cargo dev` or `amends dev`, or name another with --server URL")
}

/// The innermost message: the outer ones only say that a transport failed.
fn root_cause(error: &tonic::transport::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

fn pretty(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_may_be_named_without_scheme() {
        let uri = |server| endpoint(server).map(|endpoint| endpoint.uri().to_string());
        assert_eq!(uri("127.0.0.1:7400").ok().as_deref(), Some("http://127.0.0.1:7400/"));
        assert_eq!(uri("http://engine:7400").ok().as_deref(), Some("http://engine:7400/"));
        assert_eq!(uri("https://engine:7400").err().map(|error| error.exit()), Some(Exit::Usage));
        assert_eq!(uri("not an address").err().map(|error| error.exit()), Some(Exit::Usage));
    }
}
