//! A participant as a process of its own, called over gRPC: `amends.v1.ParticipantService`, with health.
//!
//! A call waits until its command is answered; meanwhile those of other calls share its transaction. An error of gRPC's
//! own says nothing about what was done: the caller sends the command again.

mod convert;
mod service;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use amends_core::{Command, Reply};
use amends_proto::amends::v1::participant_service_server::ParticipantServiceServer;
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use super::ReplySink;
use super::asked::Asked;
use crate::subscription::Subscriptions;

/// Commands that wait for the answerer; those beyond are told to come again.
const QUEUE: usize = 2048;
/// Most calls open at a time. More than the replies that a host holds back, which must not keep all others out.
const OPEN_MAX: usize = 16_384;
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
    health: HealthReporter,
    answering: AbortOnDropHandle<()>,
    hurry: CancellationToken,
}

/// What the calls share.
struct Shared {
    served: Served,
    asked: Asked<oneshot::Sender<Reply>>,
    /// `None` once the host is told to stop.
    commands: RwLock<Option<mpsc::Sender<Command>>>,
    open: Semaphore,
}

impl Shared {
    fn commands(&self) -> Option<mpsc::Sender<Command>> {
        self.commands.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
        let (asked, open) = (Asked::default(), Semaphore::new(OPEN_MAX));
        let shared = Arc::new(Shared { served, asked, commands: RwLock::new(Some(sender)), open });
        let hurry = CancellationToken::new();
        let answering = answer(commands, Arc::new(Replies(Arc::clone(&shared))), hurry.clone());
        let answering = AbortOnDropHandle::new(tokio::spawn(answering));
        let (health, health_service) = health_reporter();
        let service = ParticipantServiceServer::new(service::Participant(Arc::clone(&shared)));
        health.set_serving::<ParticipantServiceServer<service::Participant>>().await;
        let routes = Routes::new(service).add_service(health_service);
        Self { shared, routes, health, answering, hurry }
    }

    /// The services, to be served on whatever listener; they outlive the host only to say no.
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Takes no new commands, answers those in hand, and returns when that is done or five seconds are over.
    pub async fn shutdown(self) {
        self.health.set_not_serving::<ParticipantServiceServer<service::Participant>>().await;
        self.health.set_service_status("", ServingStatus::NotServing).await;
        *self.shared.commands.write().unwrap_or_else(PoisonError::into_inner) = None;
        let mut answering = self.answering;
        if tokio::time::timeout(GRACE, &mut answering).await.is_err() {
            tracing::warn!("not all commands were answered in time; they come again");
            self.hurry.cancel();
        }
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
    let server = Server::builder().add_routes(host.routes());
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

/// The way of replies to the calls that wait for them.
struct Replies(Arc<Shared>);

#[async_trait]
impl ReplySink for Replies {
    async fn send(&self, replies: Vec<Reply>) {
        for reply in replies {
            if let Some(call) = self.0.asked.answered(&reply) {
                // The caller may be gone; it will send its command again.
                let _ = call.send(reply);
            }
        }
    }
}

#[cfg(test)]
mod tests;
