//! The courier against a participant on a real port, over streams and over single calls.

mod failures;
mod far_end;
mod limits;
mod subscribers;

use std::sync::Arc;
use std::time::Duration;

use amends_core::{
    Command, CommandId, Failure, Millis, Operation, Outcome, Payload, Reply, SagaId, StepName, Timestamp,
};
use amends_proto::amends::v1 as proto;
use async_trait::async_trait;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{GrpcCourier, GrpcLimits, GrpcTarget};
use crate::courier::conformance::{self, Kept, SERVED, Subject};
use crate::courier::{Courier, CourierError};
use far_end::{Answer, FarEnd};

/// A command to the far end, with ten seconds left.
pub(super) fn command(number: u128) -> Command {
    let saga_id = SagaId::from_uuid(Uuid::from_u128(number + 1));
    let step = StepName::new("echo").unwrap();
    Command {
        id: CommandId::derive(saga_id, &step, Operation::Execute, 0),
        saga_id,
        saga_type: amends_core::SagaType::new("suite").unwrap(),
        step,
        operation: Operation::Execute,
        command: SERVED.to_owned(),
        participant: "suite".to_owned(),
        attempt: 1,
        revision: 0,
        redrive: 0,
        deadline: crate::shard::now().after(Millis(10_000)),
        payload: Payload::null(),
        cause: None,
    }
}

fn commands(count: u128) -> Vec<Command> {
    (0..count).map(command).collect()
}

fn target(url: String, limits: GrpcLimits) -> GrpcTarget {
    GrpcTarget { participant: "suite".to_owned(), urls: vec![url], commands: Vec::new(), limits }
}

/// A courier to a far end, with an inlet that keeps what comes.
struct Pair {
    courier: GrpcCourier,
    far_end: FarEnd,
    inlet: Arc<Kept>,
}

impl Pair {
    fn new(far_end: FarEnd, limits: GrpcLimits) -> Self {
        Self::with(far_end, limits, Arc::default())
    }

    fn with(far_end: FarEnd, limits: GrpcLimits, inlet: Arc<Kept>) -> Self {
        let courier = GrpcCourier::start(vec![target(far_end.url(), limits)]).unwrap();
        Self::joined(courier, far_end, inlet)
    }

    fn to(courier: GrpcCourier, far_end: FarEnd) -> Self {
        Self::joined(courier, far_end, Arc::default())
    }

    fn joined(courier: GrpcCourier, far_end: FarEnd, inlet: Arc<Kept>) -> Self {
        courier.connect(inlet.clone());
        Self { courier, far_end, inlet }
    }

    /// One whose participant is there.
    async fn connected(streams: bool, limits: GrpcLimits) -> Self {
        let pair = Self::new(FarEnd::start(streams).await, limits);
        pair.holds(false).await;
        pair
    }

    /// Waits until the engine would hear this.
    async fn holds(&self, expected: bool) {
        for _ in 0..1_000 {
            if self.courier.holds("suite", Timestamp(0)) == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("holds() never becomes {expected}");
    }

    /// All replies, once there are at least so many.
    async fn replies(&self, count: usize) -> Vec<Reply> {
        for _ in 0..1_000 {
            let replies = self.inlet.replies.lock().await.clone();
            if replies.len() >= count {
                return replies;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} replies did not come: {:?}", self.inlet.replies.lock().await);
    }

    /// That no reply comes for a while.
    async fn silence(&self) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(self.inlet.replies.lock().await.is_empty(), "nothing may be told to the engine");
    }
}

struct Under {
    pair: Pair,
    read: Mutex<usize>,
}

#[async_trait]
impl Subject for Under {
    fn courier(&self) -> &dyn Courier {
        &self.pair.courier
    }

    async fn receive(&self) -> Option<Command> {
        let mut read = self.read.lock().await;
        let next = tokio::time::timeout(Duration::from_secs(1), self.pair.far_end.received(*read + 1)).await.ok()?;
        let received = next[*read].clone();
        *read += 1;
        assert_eq!(received.traceparent, untranslate(received.command.clone()).traceparent());
        Some(untranslate(received.command))
    }

    /// Only what was asked is answered: so the courier is asked first.
    async fn reply(&self, reply: Reply) {
        let before = self.pair.inlet.replies.lock().await.len();
        let outcome = wire(&reply.outcome);
        self.pair.far_end.plan(move |_| Answer::Outcome(outcome.clone()));
        let asked = Command {
            id: reply.command_id,
            saga_id: reply.saga_id,
            step: reply.step,
            operation: reply.operation,
            attempt: reply.attempt,
            ..command(0)
        };
        self.pair.courier.send(vec![asked]).await.unwrap();
        self.pair.replies(before + 1).await;
    }
}

fn untranslate(command: proto::Command) -> Command {
    let deadline = command.deadline.unwrap();
    Command {
        id: command.id.parse().unwrap(),
        saga_id: command.saga_id.parse().unwrap(),
        operation: match command.operation() {
            proto::Operation::Compensate => Operation::Compensate,
            _ => Operation::Execute,
        },
        saga_type: amends_core::SagaType::new(&command.saga_type).unwrap(),
        step: StepName::new(&command.step).unwrap(),
        command: command.command,
        participant: "suite".to_owned(),
        attempt: command.attempt,
        revision: command.revision,
        redrive: command.redrive,
        deadline: Timestamp(deadline.seconds * 1_000 + i64::from(deadline.nanos / 1_000_000)),
        payload: Payload::from_json(command.payload).unwrap(),
        cause: command.cause.map(|cause| Failure::new(cause.code, cause.message)),
    }
}

fn wire(outcome: &Outcome) -> proto::reply::Outcome {
    let failed = |failure: &Failure| proto::Failure { code: failure.code.clone(), message: failure.message.clone() };
    match outcome {
        Outcome::Done(output) => proto::reply::Outcome::Done(proto::Done { output: output.as_str().to_owned() }),
        Outcome::Refused(failure) => proto::reply::Outcome::Refused(failed(failure)),
        Outcome::TryAgain { failure, after } => {
            let after = after.map(|after| amends_proto::Duration {
                seconds: i64::try_from(after.0 / 1_000).unwrap(),
                nanos: i32::try_from(after.0 % 1_000 * 1_000_000).unwrap(),
            });
            proto::reply::Outcome::TryAgain(proto::TryAgain { failure: Some(failed(failure)), after })
        }
    }
}

async fn subject(streams: bool, inlet: Arc<Kept>) -> Under {
    let pair = Pair::with(FarEnd::start(streams).await, GrpcLimits::default(), inlet);
    pair.holds(false).await;
    Under { pair, read: Mutex::new(0) }
}

#[tokio::test]
async fn conforms_over_a_stream() {
    conformance::run(|inlet| subject(true, inlet)).await;
}

#[tokio::test]
async fn conforms_over_single_calls() {
    conformance::run(|inlet| subject(false, inlet)).await;
}

#[tokio::test]
async fn a_single_call_carries_its_trace_and_what_is_left_of_its_time() {
    let pair = Pair::connected(false, GrpcLimits::default()).await;
    pair.courier.send(vec![command(1)]).await.unwrap();
    let received = pair.far_end.received(1).await.remove(0);
    assert_eq!(received.traceparent, command(1).traceparent());
    let timeout = received.timeout.unwrap();
    let micros: u64 = timeout.strip_suffix('u').unwrap_or_else(|| panic!("{timeout}")).parse().unwrap();
    assert!((8_000_000..=10_000_000).contains(&micros), "{timeout}");
}

#[tokio::test]
async fn targets_that_cannot_be_used_are_named() {
    let start = |urls: &[&str]| {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        let target = GrpcTarget { urls, ..target(String::new(), GrpcLimits::default()) };
        GrpcCourier::start(vec![target]).err().unwrap().to_string()
    };
    assert_eq!(start(&[]), "participant suite: has no URL; give one like http://127.0.0.1:7500");
    assert!(start(&["https://a:1"]).contains("TLS is not supported"));
    assert!(start(&["a:1"]).contains("write http://a:1"));
    let twice = target("http://a:1".into(), GrpcLimits::default());
    assert!(GrpcCourier::start(vec![twice.clone(), twice]).err().unwrap().to_string().contains("twice"));
}

#[tokio::test]
async fn whom_nobody_knows_is_said() {
    let pair = Pair::connected(true, GrpcLimits::default()).await;
    let stranger = Command { participant: "stranger".into(), command: "stranger.do".into(), ..command(1) };
    let answer = pair.courier.send(vec![stranger, command(2)]).await;
    assert!(matches!(answer, Err(CourierError::Unserved(name)) if name == "stranger.do"));
    pair.replies(1).await;
}
