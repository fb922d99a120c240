//! Measures calls per second between the gRPC courier and a participant that answers at once, in a process of its own,
//! with the CPU that each side takes.
//!
//! `cargo run --release -p amends-engine --example grpc_rate -- [stream|single] [in flight] [connections] [calls]`

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a tool for developers")]

use std::io::BufRead;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_core::{Command, CommandId, Epoch, Operation, Payload, Reply, SagaId, SagaType, Shard, StepName, Timestamp};
use amends_engine::courier::grpc::{GrpcCourier, GrpcLimits, GrpcTarget};
use amends_engine::courier::{Courier, Inlet, Records};
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::participant_service_server::{ParticipantService, ParticipantServiceServer};
use amends_proto::amends::v1::participant_stream_service_server::{
    ParticipantStreamService, ParticipantStreamServiceServer,
};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// The word that makes a process the participant.
const PARTICIPANT: &str = "participant";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == PARTICIPANT) {
        return participant().await;
    }
    let number = |index: usize, default| args.get(index).map_or(default, |text| text.parse::<usize>().unwrap());
    let streams = args.get(1).is_none_or(|arg| arg == "stream");
    let (in_flight, connections, calls) = (number(2, 256), number(3, 1), number(4, 100_000));
    let mut child =
        Process::new(std::env::current_exe().unwrap()).arg(PARTICIPANT).stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let limits = GrpcLimits { in_flight_max: in_flight, connections, streams, ..GrpcLimits::default() };
    let urls = vec![url.trim().to_owned()];
    let target = GrpcTarget { participant: "rate".to_owned(), urls, commands: Vec::new(), limits };
    let courier = GrpcCourier::start(vec![target]).unwrap();
    let (replied, mut replies) = mpsc::unbounded_channel();
    courier.connect(Arc::new(Counting(replied)));
    while courier.holds("rate", Timestamp(0)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drive(&courier, &mut replies, calls / 10, in_flight).await;
    let (before, theirs_before) = (cpu("self"), cpu(&child.id().to_string()));
    let began = Instant::now();
    let mut waits = drive(&courier, &mut replies, calls, in_flight).await;
    let seconds = began.elapsed().as_secs_f64();
    let (ours, theirs) = (cpu("self") - before, cpu(&child.id().to_string()) - theirs_before);
    waits.sort_unstable();
    let mode = if streams { "stream" } else { "single" };
    println!(
        "{mode} in flight {in_flight} connections {connections}: {:.0} calls/s, CPU per call: engine {:.1} us, \
         participant {:.1} us; p50 {:?} p99 {:?}",
        calls as f64 / seconds,
        ours / calls as f64 * 1e6,
        theirs / calls as f64 * 1e6,
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Keeps so many under way, handing over as many at a time as came back together.
async fn drive(
    courier: &GrpcCourier,
    replies: &mut mpsc::UnboundedReceiver<Vec<Reply>>,
    calls: usize,
    in_flight: usize,
) -> Vec<Duration> {
    let (mut sent, mut waits) = (0, Vec::with_capacity(calls));
    let mut sent_at = std::collections::HashMap::new();
    let mut send = in_flight.min(calls);
    while waits.len() < calls {
        let batch: Vec<_> = (sent..sent + send).map(|_| command()).collect();
        let now = Instant::now();
        sent_at.extend(batch.iter().map(|command| (command.id, now)));
        sent += send;
        courier.send(batch).await.unwrap();
        let came = replies.recv().await.unwrap();
        waits.extend(came.iter().map(|reply| sent_at.remove(&reply.command_id).unwrap().elapsed()));
        send = came.len().min(calls - sent);
    }
    waits
}

fn command() -> Command {
    let saga_id = SagaId::from_uuid(Uuid::now_v7());
    let step = StepName::new("charge").unwrap();
    let now = chrono::Utc::now().timestamp_millis();
    Command {
        id: CommandId::derive(saga_id, &step, Operation::Execute, 0),
        saga_id,
        saga_type: SagaType::new("order").unwrap(),
        step,
        operation: Operation::Execute,
        command: "rate.charge".to_owned(),
        participant: "rate".to_owned(),
        attempt: 1,
        revision: 0,
        redrive: 0,
        deadline: Timestamp(now + 10_000),
        payload: Payload::from_json(r#"{"order_id":"0192f0c1","amount":129999,"user_id":"u-4711"}"#.to_owned())
            .unwrap(),
        cause: None,
    }
}

struct Counting(mpsc::UnboundedSender<Vec<Reply>>);

#[async_trait]
impl Inlet for Counting {
    async fn replies(&self, replies: Vec<Reply>) {
        let _ = self.0.send(replies);
    }

    async fn records(&self, _: Records) {}

    async fn halt(&self, _: Shard, _: Epoch, _: Option<String>) {}
}

/// Seconds of CPU that a process has taken.
fn cpu(process: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

#[derive(Clone)]
struct Trivial;

async fn participant() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_nodelay(Some(true));
    println!("http://{}", incoming.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(ParticipantServiceServer::new(Trivial))
        .add_service(ParticipantStreamServiceServer::new(Trivial));
    server.serve_with_incoming(incoming).await.unwrap();
}

fn reply(command: proto::Command) -> proto::Reply {
    let outcome = proto::reply::Outcome::Done(proto::Done { output: r#"{"payment_id":"p-1"}"#.to_owned() });
    proto::Reply { command_id: command.id, outcome: Some(outcome) }
}

#[tonic::async_trait]
impl ParticipantService for Trivial {
    async fn execute(&self, request: Request<proto::Command>) -> Result<Response<proto::Reply>, Status> {
        Ok(Response::new(reply(request.into_inner())))
    }

    async fn notify(&self, _: Request<proto::NotifyRequest>) -> Result<Response<proto::NotifyResponse>, Status> {
        Ok(Response::new(proto::NotifyResponse {}))
    }

    async fn describe(&self, _: Request<proto::DescribeRequest>) -> Result<Response<proto::DescribeResponse>, Status> {
        Ok(Response::new(proto::DescribeResponse { commands: vec!["rate.charge".to_owned()], topics: Vec::new() }))
    }
}

#[tonic::async_trait]
impl ParticipantStreamService for Trivial {
    type ExecuteStream = BoxStream<'static, Result<proto::ExecuteResponse, Status>>;

    async fn execute(
        &self,
        request: Request<Streaming<proto::ExecuteRequest>>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let answers = request.into_inner().map(|message| {
            let calls = message?.calls.into_iter().filter_map(|call| call.command);
            let answers = calls.map(|command| {
                let attempt = command.attempt;
                proto::Answer { reply: Some(reply(command)), attempt }
            });
            Ok(proto::ExecuteResponse { answers: answers.collect() })
        });
        Ok(Response::new(answers.boxed()))
    }
}
