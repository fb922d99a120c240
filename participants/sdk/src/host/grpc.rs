//! A participant as a process of its own, called over gRPC: `amends.v1.ParticipantService`, the same many commands at a
//! time as `ParticipantStreamService`, and health.
//!
//! A call waits until its command is answered; meanwhile those of other calls share its transaction. An error of gRPC's
//! own says nothing about what was done: the caller sends the command again. The same holds for a stream that ends.
//!
//! While the participant's database is away nobody is kept waiting: calls and streams end with `UNAVAILABLE`, and so does
//! `Describe`, by which callers find out whether to come back.

mod convert;
mod intake;
mod service;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use amends_core::Command;
use amends_proto::amends::v1::participant_service_server::ParticipantServiceServer;
use amends_proto::amends::v1::participant_stream_service_server::ParticipantStreamServiceServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use super::ReplySink;
use crate::subscription::Subscriptions;
use intake::{Closed, Gate, Replies, Shared};
use service::Participant;

/// Commands that wait for the answerer. Single calls beyond are told to come again; streams are read no further.
const QUEUE: usize = 2048;
/// Most commands open at a time. More than the replies that a host holds back, which must not keep all others out.
const OPEN_MAX: usize = 16_384;
/// Largest message that is read from a stream: callers keep to 4 MiB, and one that errs shall not lose its connection.
const READ_MAX: usize = 16 * 1024 * 1024;
/// What one stream, and one connection, may have on its way here before this side has read it. HTTP/2's own 64 KiB would
/// stop a stream of commands many times per message.
const WINDOWS: (u32, u32) = (2 * 1024 * 1024, 4 * 1024 * 1024);
/// How long a host that is told to stop takes to finish what it has in hand.
const GRACE: Duration = Duration::from_secs(5);
/// How long connections then have to end by themselves.
const CLOSE: Duration = Duration::from_secs(1);

/// What a host serves.
#[derive(Clone, Default)]
pub struct Served {
    /// The commands that it answers to, e.g. [`Host::commands`](crate::Host::commands); said to who asks, not checked.
    pub commands: Vec<String>,
    /// Where domain events go that it is told.
    pub subscriptions: Option<Subscriptions>,
}

/// A running participant and its gRPC services.
pub struct GrpcHost {
    shared: Arc<Shared>,
    routes: Routes,
    health: AbortOnDropHandle<()>,
    answering: AbortOnDropHandle<()>,
    hurry: CancellationToken,
}

impl GrpcHost {
    /// Starts a participant; must be called within a runtime.
    ///
    /// `answer` is given the commands, where the replies go, and a token that is cancelled when there is no more time:
    /// pass [`Host::run`](crate::Host::run).
    pub async fn start<A, F>(served: Served, answer: A) -> Self
    where
        A: FnOnce(mpsc::Receiver<Command>, Arc<dyn ReplySink>, CancellationToken) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, commands) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::new(served, sender));
        let (gate, hurry) = (shared.gate(), CancellationToken::new());
        let answering = answer(commands, Arc::new(Replies(Arc::clone(&shared))), hurry.clone());
        let answering = AbortOnDropHandle::new(tokio::spawn(answering));
        let (health, health_service) = health_reporter();
        let participant = Participant(Arc::clone(&shared));
        set_serving(&health, true).await;
        let health = AbortOnDropHandle::new(tokio::spawn(keep_said(health, gate)));
        let streams = ParticipantStreamServiceServer::new(participant.clone()).max_decoding_message_size(READ_MAX);
        let routes = Routes::new(ParticipantServiceServer::new(participant)).add_service(streams);
        let routes = routes.add_service(health_service);
        Self { shared, routes, health, answering, hurry }
    }

    /// The services, to be served on whatever listener; they outlive the host only to say no.
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Takes no new commands, answers those in hand, and returns when that is done or five seconds are over.
    pub async fn shutdown(self) {
        self.shared.stop();
        // An error would be a panic of it.
        let _ = self.health.await;
        let mut answering = self.answering;
        if tokio::time::timeout(GRACE, &mut answering).await.is_err() {
            tracing::warn!("not all commands were answered in time; they come again");
            self.hurry.cancel();
        }
        // No answer will come any more: who still waits is told so, and a stream that has given all its answers ends.
        self.shared.asked.clear();
    }
}

/// Has the health service say whether commands are taken, until the host is told to stop.
async fn keep_said(health: HealthReporter, mut gate: watch::Receiver<Gate>) {
    while gate.changed().await.is_ok() {
        let closed = gate.borrow_and_update().closed();
        set_serving(&health, closed.is_none()).await;
        if closed == Some(Closed::Stopped) {
            break;
        }
    }
    // The process as a whole: it is well while its database is away.
    health.set_service_status("", ServingStatus::NotServing).await;
}

async fn set_serving(health: &HealthReporter, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in [ParticipantServiceServer::<Participant>::NAME, ParticipantStreamServiceServer::<Participant>::NAME]
    {
        health.set_service_status(service, status).await;
    }
}

/// Serves a participant on a listener of its own until `cancel`; see [`GrpcHost::start`].
pub async fn serve<A, F>(
    listener: TcpListener,
    served: Served,
    cancel: CancellationToken,
    answer: A,
) -> Result<(), tonic::transport::Error>
where
    A: FnOnce(mpsc::Receiver<Command>, Arc<dyn ReplySink>, CancellationToken) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let host = GrpcHost::start(served, answer).await;
    let stop = CancellationToken::new();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder()
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .add_routes(host.routes());
    let mut serving = std::pin::pin!(server.serve_with_incoming_shutdown(incoming, stop.cancelled()));
    tokio::select! {
        ended = &mut serving => return ended,
        () = cancel.cancelled() => {}
    }
    // Calls in hand are answered while connections are still served.
    let shutdown = std::pin::pin!(host.shutdown());
    tokio::select! {
        ended = &mut serving => return ended,
        () = shutdown => {}
    }
    stop.cancel();
    // A watcher of the health service never ends by itself.
    tokio::time::timeout(CLOSE, serving).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests;
