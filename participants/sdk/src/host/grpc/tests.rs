mod streams;
mod suspended;

use std::net::SocketAddr;

use amends_core::{Failure, Operation, Outcome, Payload, Reply};
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::participant_service_client::ParticipantServiceClient;
use amends_proto::amends::v1::reply::Outcome as ProtoOutcome;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::*;
use crate::fixture::{Charge, Scribe, command, event, ledger, memory};
use crate::{Database, Host};

type Client = ParticipantServiceClient<Channel>;

/// A participant that is served, and a client of it.
struct Scene {
    address: SocketAddr,
    client: Client,
    cancel: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Scene {
    async fn of<F: Future<Output = ()> + Send + 'static>(
        served: Served,
        answer: impl FnOnce(mpsc::Receiver<Command>, Arc<dyn ReplySink>, CancellationToken) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, served, cancel.clone(), answer));
        let client = Client::connect(format!("http://{address}")).await.unwrap();
        Self { address, client, cancel, serving }
    }

    /// The real host on a database in memory.
    async fn host() -> (Self, Database) {
        let database = memory().await;
        let host = Host::builder(database.clone()).step(Charge).build();
        let subscriptions = Some(Subscriptions::new(database.clone(), vec![Arc::new(Scribe)]));
        let served = Served { commands: host.commands(), subscriptions };
        (
            Self::of(served, |commands, sink, cancel| async move { host.run(commands, sink, cancel).await }).await,
            database,
        )
    }

    /// A participant that takes its commands only as the test does.
    async fn by_hand() -> (Self, mpsc::Receiver<Command>, Arc<dyn ReplySink>) {
        let (give, given) = oneshot::channel();
        let hold = |commands, sink: Arc<dyn ReplySink>, cancel: CancellationToken| async move {
            let _ = give.send((commands, sink));
            cancel.cancelled().await;
        };
        let scene = Self::of(Served::default(), hold).await;
        let (commands, sink) = given.await.unwrap();
        (scene, commands, sink)
    }

    fn call(&self, message: proto::Command) -> JoinHandle<Result<proto::Reply, Status>> {
        let mut client = self.client.clone();
        tokio::spawn(async move { client.execute(message).await.map(tonic::Response::into_inner) })
    }

    async fn outcome(&self, message: proto::Command) -> ProtoOutcome {
        self.call(message).await.unwrap().unwrap().outcome.unwrap()
    }
}

fn message(saga: u128, input: &str) -> proto::Command {
    let command = command(saga, Operation::Execute, input);
    proto::Command {
        id: command.id.to_string(),
        saga_id: command.saga_id.to_string(),
        saga_type: command.saga_type.to_string(),
        step: command.step.to_string(),
        operation: proto::Operation::Execute.into(),
        command: command.command,
        attempt: 1,
        payload: input.to_owned(),
        ..proto::Command::default()
    }
}

fn reply_to(command: &Command, outcome: Outcome) -> Reply {
    Reply {
        command_id: command.id,
        saga_id: command.saga_id,
        step: command.step.clone(),
        operation: command.operation,
        attempt: command.attempt,
        outcome,
    }
}

#[tokio::test]
async fn a_command_is_done_or_refused_and_a_copy_gets_the_same_answer() {
    let (scene, database) = Scene::host().await;
    let done = ProtoOutcome::Done(proto::Done { output: r#"{"charged":5}"#.to_owned() });
    for _ in 0..2 {
        assert_eq!(scene.outcome(message(1, r#"{"amount":5}"#)).await, done);
    }
    let refused = ProtoOutcome::Refused(proto::Failure { code: "DECLINED".into(), message: "no money".into() });
    assert_eq!(scene.outcome(message(2, r#"{"amount":5,"then":"refuse"}"#)).await, refused);
    let undo = proto::Command {
        id: command(1, Operation::Compensate, "{}").id.to_string(),
        operation: proto::Operation::Compensate.into(),
        ..message(1, r#"{"amount":5}"#)
    };
    assert_eq!(scene.outcome(undo).await, ProtoOutcome::Done(proto::Done { output: "null".to_owned() }));
    assert_eq!(ledger(&database).await, [5, -5]);
}

#[tokio::test]
async fn try_again_says_how_long_to_wait() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let call = scene.call(message(1, "{}"));
    let command = commands.recv().await.unwrap();
    let failure = Failure::new("BUSY", "not now");
    let outcome = Outcome::TryAgain { failure, after: Some(amends_core::Millis(1_500)) };
    sink.send(vec![reply_to(&command, outcome)]).await;
    let Some(ProtoOutcome::TryAgain(again)) = call.await.unwrap().unwrap().outcome else { panic!("not try-again") };
    assert_eq!(again.after, Some(amends_proto::Duration { seconds: 1, nanos: 500_000_000 }));
    assert_eq!(again.failure.unwrap().code, "BUSY");
}

#[tokio::test]
async fn copies_that_are_open_at_once_are_each_answered() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let calls = [1, 1, 2, 1].map(|saga| scene.call(message(saga, "{}")));
    let mut given = Vec::new();
    for _ in 0..4 {
        given.push(commands.recv().await.unwrap());
    }
    for command in given {
        let output = Payload::encode(&command.saga_id).unwrap();
        sink.send(vec![reply_to(&command, Outcome::Done(output))]).await;
    }
    for (call, saga) in calls.into_iter().zip([1, 1, 2, 1]) {
        let expected = format!("\"{}\"", command(saga, Operation::Execute, "{}").saga_id);
        let outcome = call.await.unwrap().unwrap().outcome.unwrap();
        assert_eq!(outcome, ProtoOutcome::Done(proto::Done { output: expected }));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_an_invalid_argument_that_names_the_field() {
    let (scene, database) = Scene::host().await;
    let good = || message(1, r#"{"amount":5}"#);
    let secret = r#"{"card":"4111111111111111""#;
    let broken = [
        ("id", proto::Command { id: "1".into(), ..good() }),
        ("saga_id", proto::Command { saga_id: String::new(), ..good() }),
        ("saga_type", proto::Command { saga_type: "Order".into(), ..good() }),
        ("step", proto::Command { step: String::new(), ..good() }),
        ("operation", proto::Command { operation: 0, ..good() }),
        ("operation", proto::Command { operation: 77, ..good() }),
        ("command", proto::Command { command: String::new(), ..good() }),
        ("payload", proto::Command { payload: secret.into(), ..good() }),
    ];
    for (field, message) in broken {
        let status = scene.call(message).await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
        assert!(!format!("{status:?}").contains("4111"), "the payload is not quoted");
    }
    assert!(ledger(&database).await.is_empty());
}

#[tokio::test]
async fn a_full_queue_says_come_again_and_nothing_leaks_when_callers_go() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let calls: Vec<_> = (0..u128::try_from(QUEUE).unwrap()).map(|saga| scene.call(message(saga, "{}"))).collect();
    while commands.len() < QUEUE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = scene.call(message(u128::MAX, "{}")).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    for call in &calls {
        call.abort();
    }
    // Another of its calls has room as soon as the participant has taken one, and is answered.
    let first = commands.recv().await.unwrap();
    sink.send(vec![reply_to(&first, Outcome::Done(Payload::null()))]).await;
    let call = scene.call(message(u128::MAX, "{}"));
    loop {
        let command = commands.recv().await.unwrap();
        if command.saga_id.as_uuid().as_u128() == u128::MAX {
            sink.send(vec![reply_to(&command, Outcome::Done(Payload::null()))]).await;
            break;
        }
    }
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_caller_that_goes_leaves_no_entry() {
    let host = GrpcHost::start(Served::default(), |commands, _, cancel: CancellationToken| async move {
        let _commands = commands;
        cancel.cancelled().await;
    });
    let host = host.await;
    let participant = service::Participant(Arc::clone(&host.shared));
    for _ in 0..2 {
        let command = convert::command(message(1, "{}")).unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(20), participant.answer(command));
        assert!(answer.await.is_err(), "nobody answers");
        assert_eq!((host.shared.asked.len(), host.shared.open.available_permits()), (0, OPEN_MAX));
    }
}

#[tokio::test]
async fn a_host_that_stops_answers_what_it_has_and_takes_no_more() {
    let (scene, _database) = Scene::host().await;
    let held = scene.call(message(1, r#"{"amount":1,"then":"answer_late"}"#));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!held.is_finished(), "the reply is held back for a minute");
    let channel = Channel::from_shared(format!("http://{}", scene.address)).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let request = || HealthCheckRequest { service: "amends.v1.ParticipantService".to_owned() };
    assert_eq!(health.check(request()).await.unwrap().into_inner().status, 1);
    let mut watch = health.watch(request()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    let stopped = std::time::Instant::now();
    scene.cancel.cancel();
    let late = held.await.unwrap().unwrap().outcome.unwrap();
    assert_eq!(late, ProtoOutcome::Done(proto::Done { output: r#"{"charged":1}"#.to_owned() }));
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2, "NOT_SERVING is said before the end");
    tokio::time::timeout(Duration::from_secs(20), scene.serving).await.unwrap().unwrap().unwrap();
    assert!(stopped.elapsed() < GRACE, "the grace is for those who need it");
}

#[tokio::test]
async fn events_are_delivered_and_what_is_served_is_said() {
    let (scene, database) = Scene::host().await;
    let mut client = scene.client.clone();
    let described = client.describe(proto::DescribeRequest {}).await.unwrap().into_inner();
    assert_eq!((described.commands, described.topics), (vec!["payment.charge".to_owned()], vec!["numbers".to_owned()]));
    let told = |number: i64| {
        let event = event("numbers", number);
        proto::DomainEvent {
            id: event.id.to_string(),
            topic: event.topic,
            saga_id: event.saga_id.to_string(),
            saga_type: event.saga_type.to_string(),
            time: Some(amends_proto::Timestamp { seconds: 1, nanos: 0 }),
            payload: event.payload.as_str().to_owned(),
        }
    };
    let unreadable = proto::DomainEvent { id: String::new(), ..told(9) };
    let events = vec![told(1), unreadable, told(Scribe::TRY_AGAIN), told(2)];
    client.notify(proto::NotifyRequest { events: events.clone() }).await.unwrap();
    assert_eq!(ledger(&database).await, [1, 2]);
    database.close().await;
    let status = client.notify(proto::NotifyRequest { events }).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}
