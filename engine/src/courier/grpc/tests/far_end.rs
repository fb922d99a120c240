//! A participant on a real port, which does as the test says and can be killed.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::participant_service_server::{ParticipantService, ParticipantServiceServer};
use amends_proto::amends::v1::participant_stream_service_server::{
    ParticipantStreamService, ParticipantStreamServiceServer,
};
use futures::{Stream, StreamExt};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

/// What it does with a command.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Outcome(proto::reply::Outcome),
    Error(Code),
    After(Duration),
    Never,
}

type Plan = Box<dyn Fn(&proto::Command) -> Answer + Send>;

/// A command as it came in.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) command: proto::Command,
    pub(super) traceparent: String,
    /// gRPC's own deadline; absent on a stream.
    pub(super) timeout: Option<String>,
}

/// What outlives the participant's process.
pub(super) struct State {
    plan: Mutex<Plan>,
    pub(super) topics: Mutex<Vec<String>>,
    pub(super) received: Mutex<Vec<Received>>,
    pub(super) events: Mutex<Vec<proto::DomainEvent>>,
    pub(super) deaf: std::sync::atomic::AtomicBool,
    arrived: Notify,
    now: AtomicUsize,
    pub(super) peak: AtomicUsize,
}

/// The process.
pub(super) struct FarEnd {
    pub(super) state: Arc<State>,
    pub(super) address: SocketAddr,
    streams: bool,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Service(Arc<State>);

pub(super) fn done() -> Answer {
    Answer::Outcome(proto::reply::Outcome::Done(proto::Done { output: "{}".into() }))
}

impl FarEnd {
    /// One that answers everything as done. Without `streams` it serves single calls only.
    pub(super) async fn start(streams: bool) -> Self {
        let mut far_end = Self::absent(streams).await;
        far_end.revive().await;
        far_end
    }

    /// One whose port is known and refuses connections.
    pub(super) async fn absent(streams: bool) -> Self {
        let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let state = State {
            plan: Mutex::new(Box::new(|_| done())),
            topics: Mutex::default(),
            received: Mutex::default(),
            events: Mutex::default(),
            deaf: false.into(),
            arrived: Notify::new(),
            now: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        };
        Self { state: Arc::new(state), address, streams, runtime: None }
    }

    /// Starts a process on the same port.
    pub(super) async fn revive(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = Service(self.state.clone());
        let (address, streams) = (self.address, self.streams);
        let served = runtime.spawn(async move {
            let incoming = TcpIncoming::bind(address).unwrap().with_nodelay(Some(true));
            let stream = streams.then(|| ParticipantStreamServiceServer::new(service.clone()));
            let server = tonic::transport::Server::builder()
                .add_service(ParticipantServiceServer::new(service))
                .add_optional_service(stream);
            tokio::spawn(server.serve_with_incoming(incoming));
        });
        served.await.unwrap();
        self.runtime = Some(runtime);
    }

    /// Ends the process: connections break, the port refuses.
    pub(super) fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
        self.state.now.store(0, Ordering::SeqCst);
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn plan(&self, plan: impl Fn(&proto::Command) -> Answer + Send + 'static) {
        *self.state.plan.lock().unwrap() = Box::new(plan);
    }

    /// All commands, once there are at least so many.
    pub(super) async fn received(&self, count: usize) -> Vec<Received> {
        for _ in 0..1_000 {
            let received = self.state.received.lock().unwrap().clone();
            if received.len() >= count {
                return received;
            }
            let _ = tokio::time::timeout(Duration::from_millis(10), self.state.arrived.notified()).await;
        }
        panic!("{count} commands did not arrive: {:?}", self.state.received.lock().unwrap());
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    async fn execute(&self, received: Received) -> Result<proto::Reply, Status> {
        let answer = (self.plan.lock().unwrap())(&received.command);
        let command_id = received.command.id.clone();
        self.received.lock().unwrap().push(received);
        self.arrived.notify_waiters();
        self.peak.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let outcome = match answer {
            Answer::Outcome(outcome) => Ok(outcome),
            Answer::Error(code) => Err(Status::new(code, "as planned")),
            Answer::After(span) => {
                tokio::time::sleep(span).await;
                Ok(proto::reply::Outcome::Done(proto::Done { output: "1".into() }))
            }
            Answer::Never => std::future::pending().await,
        };
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(proto::Reply { command_id, outcome: Some(outcome?) })
    }
}

#[tonic::async_trait]
impl ParticipantService for Service {
    async fn execute(&self, request: Request<proto::Command>) -> Result<Response<proto::Reply>, Status> {
        let text = |name| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (traceparent, timeout) = (text("traceparent").unwrap(), text("grpc-timeout"));
        let received = Received { command: request.into_inner(), traceparent, timeout };
        self.0.execute(received).await.map(Response::new)
    }

    async fn notify(&self, request: Request<proto::NotifyRequest>) -> Result<Response<proto::NotifyResponse>, Status> {
        if self.0.deaf.load(Ordering::SeqCst) {
            return Err(Status::internal("deaf"));
        }
        self.0.events.lock().unwrap().extend(request.into_inner().events);
        Ok(Response::new(proto::NotifyResponse {}))
    }

    async fn describe(&self, _: Request<proto::DescribeRequest>) -> Result<Response<proto::DescribeResponse>, Status> {
        let topics = self.0.topics.lock().unwrap().clone();
        let commands = vec![crate::courier::conformance::SERVED.to_owned()];
        Ok(Response::new(proto::DescribeResponse { commands, topics }))
    }
}

#[tonic::async_trait]
impl ParticipantStreamService for Service {
    type ExecuteStream = Pin<Box<dyn Stream<Item = Result<proto::ExecuteResponse, Status>> + Send>>;

    async fn execute(
        &self,
        request: Request<Streaming<proto::ExecuteRequest>>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let state = self.0.clone();
        let calls = request.into_inner().take_while(|message| std::future::ready(message.is_ok()));
        let calls = calls.flat_map(|message| futures::stream::iter(message.unwrap().calls));
        let answers = calls.map(move |call| {
            let state = state.clone();
            async move {
                let command = call.command.unwrap();
                let (command_id, attempt) = (command.id.clone(), command.attempt);
                let reply = state.execute(Received { command, traceparent: call.traceparent, timeout: None }).await;
                let unknown = proto::Reply { command_id, outcome: None };
                proto::Answer { reply: Some(reply.unwrap_or(unknown)), attempt }
            }
        });
        let messages = answers.buffer_unordered(10_000).ready_chunks(64);
        Ok(Response::new(messages.map(|answers| Ok(proto::ExecuteResponse { answers })).boxed()))
    }
}
