//! The engine on one port: gRPC and JSON over HTTP, told apart by content type.
//!
//! Everything below translates, calls a service, and translates back.

pub mod deadline;
pub mod errors;
pub(crate) mod grpc;
pub mod http;
mod principal;
mod start;

use std::future::IntoFuture;
use std::time::Duration;

use amends_proto::amends::v1 as proto;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tower::Service;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::{DefaultOnFailure, TraceLayer};

use crate::Engine;
use crate::service::forward::caller;

pub use principal::principal;

/// Largest accepted request, in bytes, over HTTP and gRPC alike: a saga's input is kept in its journal for good and
/// passed on to participants through brokers whose own limit is a megabyte.
pub const REQUEST_MAX: usize = 256 * 1024;

/// How long open connections may take to finish after the order to stop.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// What the APIs need to know besides the engine.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The program's version.
    pub version: String,
    /// The word for the store: `embedded` or `postgres`.
    pub store: String,
    /// Whether gRPC reflection is offered.
    pub reflection: bool,
    /// Ends watches, which would else keep their connections open; the token given to [`serve`].
    pub shutdown: CancellationToken,
}

#[derive(Clone)]
struct Api {
    engine: Engine,
    options: ApiOptions,
}

impl Api {
    fn version(&self) -> proto::GetVersionResponse {
        proto::GetVersionResponse { version: self.options.version.clone(), store: self.options.store.clone() }
    }
}

/// Builds the whole surface. Neither addition may bring a fallback of its own: unknown paths are answered here.
pub fn router(engine: Engine, extra_http: Router, extra_grpc: RoutesBuilder, options: ApiOptions) -> Router {
    let api = Api { engine, options };
    let grpc = grpc::router(&api, extra_grpc);
    // A refused request is the caller's to know: at a higher level a retrying client would fill the log.
    let on_failure = DefaultOnFailure::new().level(tracing::Level::DEBUG);
    let trace = TraceLayer::new_for_http().make_span_with(request_span).on_failure(on_failure);
    http::router(api, extra_http)
        .layer(from_fn_with_state(grpc, by_protocol))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(trace)
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

/// Serves until cancelled; then takes no more connections, lets open requests finish for a moment, and returns.
pub async fn serve(listener: TcpListener, router: Router, cancel: CancellationToken) -> std::io::Result<()> {
    let listener = listener.tap_io(|connection| {
        // Small answers must not wait for the acknowledgement of the ones before.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let serving = axum::serve(listener, router).with_graceful_shutdown(cancel.clone().cancelled_owned());
    tokio::select! {
        done = serving.into_future() => done,
        () = async { cancel.cancelled().await; tokio::time::sleep(DRAIN_MAX).await } => Ok(()),
    }
}

async fn by_protocol(State(mut grpc): State<Router>, request: Request, next: Next) -> Response {
    if !is_grpc(&request) {
        return next.run(request).await;
    }
    match caller::until(deadline::give_up(request.headers()), grpc.call(request)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn is_grpc(request: &Request) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn request_span(request: &Request) -> tracing::Span {
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path(), id)
}
