//! A shop: one database, all four participants, and sagas that send what a test tells them to.

use std::sync::{Arc, Mutex};

use amends_participants::{host, open, restock, seed, subscriptions};
use amends_sdk::{
    Command, CommandId, Database, DomainEvent, Failure, Host, Operation, Outcome, Payload, Reply, ReplySink, Row,
    SagaId, SagaType, StepName, Timestamp, Value,
};
use async_trait::async_trait;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) struct Shop {
    pub(crate) db: Database,
    host: Host,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::at(&crate::place::fresh().await).await
    }

    /// The shop in a database that others may use, too.
    pub(crate) async fn at(place: &str) -> Self {
        let db = open(place).await.unwrap();
        seed(&db).await.unwrap();
        Self { host: host(db.clone()), db }
    }

    pub(crate) fn with_host(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// Gives the commands to the host and waits for all of its answers.
    pub(crate) async fn ask_all(&self, commands: Vec<Command>) -> Vec<Reply> {
        let (sender, receiver) = mpsc::channel(commands.len().max(1));
        for command in commands {
            sender.send(command).await.unwrap();
        }
        drop(sender);
        let sink = Arc::new(Sink::default());
        self.host.run(receiver, sink.clone(), CancellationToken::new()).await;
        std::mem::take(&mut *sink.0.lock().unwrap())
    }

    pub(crate) async fn ask(&self, command: Command) -> Outcome {
        let mut replies = self.ask_all(vec![command]).await;
        assert_eq!(replies.len(), 1);
        replies.remove(0).outcome
    }

    pub(crate) async fn publish(&self, topic: &str, payload: Json) {
        self.publish_all(topic, vec![payload]).await;
    }

    /// Publishes events in one delivery.
    pub(crate) async fn publish_all(&self, topic: &str, payloads: Vec<Json>) {
        let event = |payload| DomainEvent {
            id: saga(0).as_uuid(),
            topic: topic.into(),
            saga_id: saga(0),
            saga_type: SagaType::new("order").unwrap(),
            at: Timestamp(0),
            payload: Payload::encode(&payload).unwrap(),
        };
        let events: Vec<_> = payloads.into_iter().map(event).collect();
        subscriptions(self.db.clone()).deliver(&events).await.unwrap();
    }

    pub(crate) async fn rows<R: Row>(&self, sql: &'static str, args: &[Value<'_>]) -> Vec<R> {
        self.db.fetch_all(sql, args).await.unwrap()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        self.rows::<(i64,)>(sql, &[]).await[0].0
    }

    pub(crate) async fn stock(&self, product_id: &str) -> (i64, i64, i64) {
        let row = amends_participants::get_stock(&self.db, product_id).await.unwrap().unwrap();
        (row.on_hand, row.reserved, row.sold)
    }

    pub(crate) async fn set_stock(&self, product_id: &str, on_hand: i64) {
        let order = amends_participants::Restock::new(product_id, None, on_hand).unwrap();
        restock(&self.db, order).await.unwrap();
    }
}

#[derive(Default)]
pub(crate) struct Sink(pub(crate) Mutex<Vec<Reply>>);

#[async_trait]
impl ReplySink for Sink {
    async fn send(&self, replies: Vec<Reply>) {
        self.0.lock().unwrap().extend(replies);
    }
}

pub(crate) fn saga(n: u128) -> SagaId {
    format!("{n:032x}").parse().unwrap()
}

/// The first attempt at executing `command`, e.g. `payment.charge`, for the saga `n`.
pub(crate) fn execute(n: u128, command: &str, payload: Json) -> Command {
    build(n, command, Operation::Execute, payload)
}

/// The first attempt at compensating it.
pub(crate) fn compensate(n: u128, command: &str, payload: Json) -> Command {
    Command {
        cause: Some(Failure::new("OUT_OF_STOCK", "none left")),
        ..build(n, command, Operation::Compensate, payload)
    }
}

/// The same command sent once more.
pub(crate) fn attempt(command: &Command, attempt: u32) -> Command {
    Command { attempt, ..command.clone() }
}

/// The same command under its next identity.
pub(crate) fn revised(command: &Command) -> Command {
    let revision = command.revision + 1;
    let id = CommandId::derive(command.saga_id, &command.step, command.operation, revision);
    Command { id, revision, ..command.clone() }
}

fn build(n: u128, command: &str, operation: Operation, payload: Json) -> Command {
    let saga_id = saga(n);
    let step = StepName::new(command.replace('.', "_")).unwrap();
    Command {
        id: CommandId::derive(saga_id, &step, operation, 0),
        saga_id,
        saga_type: SagaType::new("order").unwrap(),
        step,
        operation,
        command: command.into(),
        participant: command.split('.').next().unwrap().into(),
        attempt: 1,
        revision: 0,
        redrive: 0,
        deadline: Timestamp(0),
        payload: Payload::encode(&payload).unwrap(),
        cause: None,
    }
}

pub(crate) fn order(n: u128) -> Json {
    let items = json!([{ "product_id": "LAPTOP001", "quantity": 1, "price": "1299.99" }]);
    json!({ "order_id": format!("o{n}"), "user_id": "u1", "currency": "USD", "total": 129_999, "items": items })
}

pub(crate) fn charge(n: u128, method: &str) -> Json {
    json!({ "order_id": format!("o{n}"), "user_id": "u1", "amount": 129_999, "currency": "USD", "method": method })
}

pub(crate) fn wanted(n: u128, items: &[(&str, i64)]) -> Json {
    let items: Vec<_> = items.iter().map(|(id, quantity)| json!({ "product_id": id, "quantity": quantity })).collect();
    json!({ "order_id": format!("o{n}"), "items": items })
}

pub(crate) fn notice(n: u128, user_id: &str, template: &str) -> Json {
    json!({ "order_id": format!("o{n}"), "user_id": user_id, "template": template, "total": 129_999, "currency": "USD" })
}

pub(crate) fn done(outcome: Outcome) -> Json {
    match outcome {
        Outcome::Done(payload) => payload.decode().unwrap(),
        other => panic!("not done: {other:?}"),
    }
}

pub(crate) fn refused(outcome: Outcome) -> (String, String) {
    match outcome {
        Outcome::Refused(Failure { code, message }) => (code, message),
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn try_again(outcome: Outcome) -> String {
    match outcome {
        Outcome::TryAgain { failure, .. } => failure.message,
        other => panic!("not to be tried again: {other:?}"),
    }
}
