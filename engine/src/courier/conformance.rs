//! The conformance suite: what is right for every [`super::Courier`], whatever carries the commands.
//!
//! For the authors of adapters. An adapter's test implements [`Subject`] and calls [`run`]. The suite asks for no order
//! and allows repeats: the participants' barrier is made for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use amends_core::{
    Command, CommandId, Epoch, Failure, Operation, Outcome, Payload, Reply, SagaId, SagaType, Shard, StepName,
    Timestamp,
};
use async_trait::async_trait;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{Courier, CourierError, Inlet, Records};

/// What every subject's participants serve.
pub const SERVED: &str = "suite.echo";

/// A courier under test, with the far end in the suite's hands.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// The courier; it serves [`SERVED`] only.
    fn courier(&self) -> &dyn Courier;

    /// What the participant finds next; `None` when nothing comes for a while.
    async fn receive(&self) -> Option<Command>;

    /// Answers on the participant's behalf; the reply reaches the inlet that the subject was made with.
    async fn reply(&self, reply: Reply);
}

/// An inlet that keeps what it is given.
#[derive(Default)]
pub struct Kept {
    /// Replies, those of records among them.
    pub replies: Mutex<Vec<Reply>>,
    /// Records, as they came.
    pub records: Mutex<Vec<Records>>,
    /// Halts, as they came.
    pub halts: Mutex<Vec<(Shard, Option<String>)>>,
}

#[async_trait]
impl Inlet for Kept {
    async fn replies(&self, replies: Vec<Reply>) {
        self.replies.lock().await.extend(replies);
    }

    async fn records(&self, records: Records) {
        self.replies.lock().await.extend(records.replies.iter().map(|(reply, _)| reply.clone()));
        self.records.lock().await.push(records);
    }

    async fn halt(&self, shard: Shard, _: Epoch, why: Option<String>) {
        self.halts.lock().await.push((shard, why));
    }
}

/// Runs every case, each on a fresh subject that `make` gives for an inlet.
///
/// # Panics
///
/// At the first case that fails.
pub async fn run<S: Subject, F: Future<Output = S>>(make: impl Fn(Arc<Kept>) -> F) {
    let inlet = Arc::new(Kept::default());
    commands_arrive_as_they_were_sent(&make(inlet.clone()).await).await;
    a_whole_batch_arrives(&make(inlet.clone()).await).await;
    nothing_to_send_is_no_error(&make(inlet.clone()).await).await;
    what_nobody_serves_is_said_and_the_rest_arrives(&make(inlet.clone()).await).await;
    the_catalogue_names_what_is_served(&make(inlet.clone()).await);
    replies_come_back_as_they_were_given(&make(inlet.clone()).await, &inlet).await;
}

async fn commands_arrive_as_they_were_sent(subject: &impl Subject) {
    let sent = command(1, SERVED);
    subject.courier().send(vec![sent.clone()]).await.expect("a served command is taken");
    let received = subject.receive().await.expect("it arrives");
    assert_eq!(received, sent, "every field arrives");
    assert_eq!(received.payload.as_str(), sent.payload.as_str(), "the payload arrives letter by letter");
}

async fn a_whole_batch_arrives(subject: &impl Subject) {
    let sent: BTreeMap<CommandId, Command> =
        (0..500).map(|number| command(number, SERVED)).map(|command| (command.id, command)).collect();
    subject.courier().send(sent.values().cloned().collect()).await.expect("a batch is taken");
    let mut received = BTreeMap::new();
    while received.len() < sent.len() {
        let command = subject.receive().await.expect("each arrives at least once");
        received.insert(command.id, command);
    }
    assert_eq!(received, sent);
}

async fn nothing_to_send_is_no_error(subject: &impl Subject) {
    subject.courier().send(Vec::new()).await.expect("an empty batch is taken");
}

async fn what_nobody_serves_is_said_and_the_rest_arrives(subject: &impl Subject) {
    let batch = vec![command(1, "suite.unknown"), command(2, SERVED)];
    let answer = subject.courier().send(batch).await;
    assert!(matches!(&answer, Err(CourierError::Unserved(name)) if name == "suite.unknown"), "{answer:?}");
    assert_eq!(subject.receive().await.map(|command| command.command), Some(SERVED.to_owned()));
}

fn the_catalogue_names_what_is_served(subject: &impl Subject) {
    let served = subject.courier().served();
    assert_eq!(served.len(), 1, "{served:?}");
    assert_eq!((served[0].participant.as_str(), served[0].commands.as_slice()), ("suite", &[SERVED.to_owned()][..]));
    assert!(["in-process", "kafka", "grpc"].contains(&served[0].courier), "{served:?}");
    assert!(served[0].held.is_none() && !subject.courier().holds("suite", Timestamp(0)));
}

async fn replies_come_back_as_they_were_given(subject: &impl Subject, inlet: &Kept) {
    let failure = Failure::new("NO", "not \"today\"\n");
    let outcomes = [
        Outcome::Done(json(r#"{"price":1299.99,"big":9223372036854775808}"#)),
        Outcome::Refused(failure.clone()),
        Outcome::TryAgain { failure: failure.clone(), after: Some(amends_core::Millis(1_500)) },
        Outcome::TryAgain { failure, after: None },
    ];
    let mut given = Vec::new();
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let command = command(number as u128, SERVED);
        let reply = Reply {
            command_id: command.id,
            saga_id: command.saga_id,
            step: command.step,
            operation: command.operation,
            attempt: command.attempt,
            outcome,
        };
        subject.reply(reply.clone()).await;
        given.push(reply);
    }
    let kept = inlet.replies.lock().await;
    for reply in &given {
        assert!(kept.contains(reply), "{reply:?} did not come back: {kept:?}");
    }
}

fn command(number: u128, name: &str) -> Command {
    let saga_id = SagaId::from_uuid(Uuid::from_u128(number + 1));
    let step = StepName::new("echo").expect("a valid name");
    let operation = if number.is_multiple_of(2) { Operation::Execute } else { Operation::Compensate };
    Command {
        id: CommandId::derive(saga_id, &step, operation, 0),
        saga_id,
        saga_type: SagaType::new("suite").expect("a valid name"),
        step,
        operation,
        command: name.to_owned(),
        participant: "suite".to_owned(),
        attempt: 3,
        revision: 1,
        redrive: 2,
        deadline: Timestamp(4_102_444_800_123),
        payload: json(r#"{"text":"ä \"quoted\" \u0000","amount":1299.990,"list":[1,2.50,null]}"#),
        cause: Some(Failure::new("OUT_OF_STOCK", "none left")),
    }
}

fn json(text: &str) -> Payload {
    Payload::from_json(text.to_owned()).expect("valid JSON")
}
