//! Calls over a stream.

use std::collections::BTreeMap;

use amends_proto::amends::v1::participant_stream_service_client::ParticipantStreamServiceClient;
use tonic::Streaming;

use super::*;

/// Longer than anything takes that is to happen.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// Long enough for something that is not to happen.
pub(super) const A_WHILE: Duration = Duration::from_millis(300);

/// The caller's end of a stream.
pub(super) struct Line {
    pub(super) calls: mpsc::Sender<proto::ExecuteRequest>,
    pub(super) answers: Streaming<proto::ExecuteResponse>,
}

impl Line {
    pub(super) async fn to(scene: &Scene) -> Self {
        Self::try_to(scene).await.unwrap()
    }

    pub(super) async fn try_to(scene: &Scene) -> Result<Self, Status> {
        let client = ParticipantStreamServiceClient::connect(format!("http://{}", scene.address)).await;
        let (calls, mut outbound) = mpsc::channel(1);
        let outbound = futures::stream::poll_fn(move |cx| outbound.poll_recv(cx));
        Ok(Self { calls, answers: client.unwrap().execute(outbound).await?.into_inner() })
    }

    pub(super) async fn send(&self, messages: impl IntoIterator<Item = proto::Command>) {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let call = |message| proto::Call { command: Some(message), traceparent: trace.to_owned() };
        let request = proto::ExecuteRequest { calls: messages.into_iter().map(call).collect() };
        self.calls.send(request).await.unwrap();
    }

    /// The answers of the next message; `None` at the end.
    async fn message(&mut self) -> Option<Vec<proto::Answer>> {
        let message = tokio::time::timeout(SOON, self.answers.message()).await.expect("a message, or the end");
        message.unwrap().map(|message| message.answers)
    }

    /// So many answers.
    pub(super) async fn answers(&mut self, count: usize) -> Vec<proto::Answer> {
        let mut answers = Vec::new();
        while answers.len() < count {
            answers.extend(self.message().await.expect("the stream goes on"));
        }
        assert_eq!(answers.len(), count);
        answers
    }
}

/// What an answer says, by the command's id and attempt.
fn said(answer: proto::Answer) -> ((String, u32), Option<ProtoOutcome>) {
    let reply = answer.reply.unwrap();
    ((reply.command_id, answer.attempt), reply.outcome)
}

fn done(output: &str) -> Option<ProtoOutcome> {
    Some(ProtoOutcome::Done(proto::Done { output: output.to_owned() }))
}

fn messages(count: usize) -> impl Iterator<Item = proto::Command> {
    (0..count).map(|saga| message(saga as u128, "{}"))
}

pub(super) async fn take(commands: &mut mpsc::Receiver<Command>, count: usize) -> Vec<Command> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(tokio::time::timeout(SOON, commands.recv()).await.expect("a command comes").unwrap());
    }
    taken
}

fn replies(commands: &[Command]) -> Vec<Reply> {
    commands.iter().map(|command| reply_to(command, Outcome::Done(Payload::null()))).collect()
}

/// Done with an output of so many bytes.
fn large(command: &Command, bytes: usize) -> Reply {
    reply_to(command, Outcome::Done(Payload::encode(&"x".repeat(bytes - 2)).unwrap()))
}

/// Until every place is free and nobody is remembered.
pub(super) async fn nothing_waits(shared: &Shared) {
    let free = async {
        while (shared.asked.len(), shared.open.available_permits()) != (0, OPEN_MAX) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, free).await.expect("every place is free, and nobody is remembered");
}

/// A scene whose host the test sees into.
pub(super) async fn open() -> (Scene, GrpcHost, mpsc::Receiver<Command>, Arc<dyn ReplySink>) {
    let (give, given) = oneshot::channel();
    let hold = |commands, sink: Arc<dyn ReplySink>, cancel: CancellationToken| async move {
        let _ = give.send((commands, sink));
        cancel.cancelled().await;
    };
    let host = GrpcHost::start(Served::default(), hold).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, cancel) = (listener.local_addr().unwrap(), CancellationToken::new());
    let server = Server::builder().add_routes(host.routes());
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let client = Client::connect(format!("http://{address}")).await.unwrap();
    let (commands, sink) = given.await.unwrap();
    (Scene { address, client, cancel, serving }, host, commands, sink)
}

#[tokio::test]
async fn a_stream_carries_what_single_calls_do() {
    let (scene, database) = Scene::host().await;
    let mut line = Line::to(&scene).await;
    let broken = proto::Command { payload: "{".into(), attempt: 7, ..message(3, "{}") };
    let undo = proto::Command {
        id: command(4, Operation::Compensate, "{}").id.to_string(),
        operation: proto::Operation::Compensate.into(),
        ..message(4, r#"{"amount":5}"#)
    };
    let sent = [message(1, r#"{"amount":5}"#), message(2, r#"{"amount":5,"then":"refuse"}"#), broken, undo];
    let refused = ProtoOutcome::Refused(proto::Failure { code: "DECLINED".into(), message: "no money".into() });
    let outcomes = [done(r#"{"charged":5}"#), Some(refused), None, done("null")];
    let keys = sent.clone().map(|sent| (sent.id, sent.attempt));
    let expected: BTreeMap<_, _> = keys.into_iter().zip(outcomes).collect();
    for _ in 0..2 {
        line.send(sent.clone()).await;
        let answers: BTreeMap<_, _> = line.answers(4).await.into_iter().map(said).collect();
        assert_eq!(answers, expected);
    }
    assert_eq!(ledger(&database).await, [5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_are_given_together_leave_together_in_any_order_and_a_lone_one_at_once() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let mut line = Line::to(&scene).await;
    let calls = |saga: u32| proto::Command { attempt: saga % 5, ..message(saga.into(), "{}") };
    line.send((0..100).map(calls)).await;
    line.send((100..300).map(calls)).await;
    let mut taken = take(&mut commands, 300).await;
    sink.send(replies(&taken.split_off(299))).await;
    assert_eq!(line.message().await.expect("an answer").len(), 1, "a lone reply waits for no other");
    taken.reverse();
    let other = scene.call(message(999, "{}"));
    taken.insert(150, take(&mut commands, 1).await.remove(0));
    sink.send(replies(&taken)).await;
    let answers = line.message().await.expect("the rest, without the single call's");
    let keys: Vec<_> = answers.into_iter().map(|answer| said(answer).0).collect();
    let expected: Vec<_> = (0..299).rev().map(calls).map(|sent| (sent.id, sent.attempt)).collect();
    assert_eq!(keys, expected, "each with the attempt of its call, though none counts as the first");
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test]
async fn copies_on_two_streams_are_each_answered() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let mut lines = [Line::to(&scene).await, Line::to(&scene).await];
    for line in &lines {
        line.send([message(1, "{}"), message(1, "{}")]).await;
    }
    sink.send(replies(&take(&mut commands, 4).await)).await;
    for line in &mut lines {
        assert!(line.answers(2).await.into_iter().all(|answer| said(answer).1.is_some()));
    }
}

#[tokio::test]
async fn a_stream_takes_no_more_than_there_is_room_for_and_loses_nothing() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let mut line = Line::to(&scene).await;
    let count = QUEUE + 1_000;
    line.send(messages(count)).await;
    while commands.len() < QUEUE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = scene.call(message(u128::MAX, "{}")).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "a single call has nowhere to wait");
    let mut order = Vec::new();
    while order.len() < count {
        let taken = take(&mut commands, (count - order.len()).min(100)).await;
        order.extend(taken.iter().map(|command| command.saga_id.as_uuid()));
        sink.send(replies(&taken)).await;
    }
    assert!(order.is_sorted(), "in the order of the calls");
    assert!(line.answers(count).await.into_iter().all(|answer| said(answer).1.is_some()));
}

#[tokio::test]
async fn a_caller_that_does_not_read_brings_no_more_commands_and_does_not_keep_the_host_from_stopping() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let mut line = Line::to(&scene).await;
    let (mut sent, mut answered) = (0, 0);
    let clogged = async {
        loop {
            // One at a time, and one more that waits for a place when the stream is not read any more.
            sent += 1;
            line.send([message(sent, "{}")]).await;
            let Ok(command) = tokio::time::timeout(A_WHILE, commands.recv()).await else { break };
            sink.send(vec![large(&command.unwrap(), 100_000)]).await;
            answered += 1;
        }
    };
    tokio::time::timeout(SOON, clogged).await.expect("the stream is not read any more");
    assert!((1..200).contains(&answered), "{answered}");
    scene.cancel.cancel();
    let last = tokio::time::timeout(Duration::from_secs(1), commands.recv()).await;
    assert!(last.expect("the end is seen while nobody reads").is_none());
    line.answers(answered).await;
    drop(sink);
}

#[tokio::test]
async fn answers_beyond_the_size_of_a_message_are_split_and_one_that_fits_into_none_is_unknown() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let mut line = Line::to(&scene).await;
    line.send(messages(101)).await;
    let taken = take(&mut commands, 101).await;
    let mut replies: Vec<_> = taken.iter().map(|command| large(command, 200_000)).collect();
    replies[50] = large(&taken[50], 5_000_000);
    sink.send(replies).await;
    let (mut messages, mut answers) = (0, Vec::new());
    while answers.len() < 101 {
        // The client's own bound is 4 MiB, too.
        answers.extend(line.message().await.expect("the stream goes on"));
        messages += 1;
    }
    assert!((5..=8).contains(&messages), "{messages} messages for 20 MB");
    let unknown: Vec<_> = answers.into_iter().map(said).filter(|(_, outcome)| outcome.is_none()).collect();
    assert_eq!(unknown, [((taken[50].id.to_string(), 1), None)]);
}

#[tokio::test]
async fn a_host_that_stops_answers_what_it_has_taken_and_ends_the_stream() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let mut line = Line::to(&scene).await;
    // More than there is room for: the rest has been read and is not taken.
    line.send(messages(QUEUE + 10)).await;
    while commands.len() < QUEUE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.cancel.cancel();
    tokio::time::sleep(A_WHILE).await;
    line.send([message(u128::MAX, "{}")]).await;
    let again = Line::try_to(&scene).await.err().expect("no new stream");
    assert_eq!(again.code(), Code::Unavailable);
    let described = scene.client.clone().describe(proto::DescribeRequest {}).await.unwrap_err();
    assert_eq!(described.code(), Code::Unavailable, "whoever asks goes elsewhere");
    let mut taken = Vec::new();
    while let Some(command) = tokio::time::timeout(SOON, commands.recv()).await.expect("the end comes") {
        taken.push(command);
    }
    assert_eq!(taken.len(), QUEUE);
    sink.send(replies(&taken)).await;
    line.answers(QUEUE).await;
    assert_eq!(line.message().await, None, "what has no answer comes again");
    tokio::time::timeout(SOON, scene.serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn answers_that_are_held_back_leave_when_the_host_stops() {
    let (scene, _database) = Scene::host().await;
    let mut line = Line::to(&scene).await;
    line.send([message(1, r#"{"amount":1,"then":"answer_late"}"#), message(2, r#"{"amount":2}"#)]).await;
    assert_eq!(said(line.answers(1).await.remove(0)).1, done(r#"{"charged":2}"#), "one holds up no other");
    let stopped = std::time::Instant::now();
    scene.cancel.cancel();
    assert_eq!(said(line.answers(1).await.remove(0)).1, done(r#"{"charged":1}"#));
    assert_eq!(line.message().await, None);
    tokio::time::timeout(SOON, scene.serving).await.unwrap().unwrap().unwrap();
    assert!(stopped.elapsed() < GRACE, "the grace is for those who need it");
}

#[tokio::test]
async fn a_stream_whose_answers_do_not_come_ends_with_the_grace() {
    let (scene, mut commands, sink) = Scene::by_hand().await;
    let mut line = Line::to(&scene).await;
    line.send(messages(2)).await;
    let taken = take(&mut commands, 2).await;
    scene.cancel.cancel();
    sink.send(replies(&taken[..1])).await;
    line.answers(1).await;
    assert_eq!(line.message().await, None);
    tokio::time::timeout(SOON, scene.serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_caller_that_has_said_all_is_answered_and_one_that_goes_is_forgotten() {
    let (scene, host, mut commands, sink) = open().await;
    let mut line = Line::to(&scene).await;
    line.send(messages(10)).await;
    let taken = take(&mut commands, 10).await;
    line.calls = mpsc::channel(1).0;
    tokio::time::sleep(A_WHILE).await;
    sink.send(replies(&taken)).await;
    line.answers(10).await;
    assert_eq!(line.message().await, None);
    nothing_waits(&host.shared).await;

    let line = Line::to(&scene).await;
    line.send(messages(10)).await;
    let taken = take(&mut commands, 10).await;
    assert_eq!((host.shared.asked.len(), host.shared.open.available_permits()), (10, OPEN_MAX - 10));
    drop(line);
    nothing_waits(&host.shared).await;
    sink.send(replies(&taken)).await;
}

#[tokio::test]
async fn an_answerer_that_ends_by_itself_ends_the_stream() {
    let (scene, host, mut commands, _sink) = open().await;
    let mut line = Line::to(&scene).await;
    line.send(messages(1)).await;
    take(&mut commands, 1).await;
    drop(commands);
    line.send(messages(1)).await;
    let ended = tokio::time::timeout(SOON, line.answers.message()).await.expect("the stream ends");
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    nothing_waits(&host.shared).await;
}
