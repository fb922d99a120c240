//! Prints how many commands a second one host answers, durably, for a step that inserts one row.
//!
//! `cargo run --release -p amends-sdk --example host_rate [COMMANDS] [IN_FLIGHT]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the terminal")]

use std::sync::Arc;
use std::time::Instant;

use amends_sdk::{
    Command, CommandId, Database, Host, Operation, Outcome, Payload, Reply, ReplySink, SagaId, SagaType, Step,
    StepContext, StepError, StepName, Timestamp,
};
use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

const TABLE: &str = "CREATE TABLE charged (saga_id BLOB PRIMARY KEY, amount INTEGER NOT NULL) WITHOUT ROWID";
const CHARGE: &str = "INSERT INTO charged (saga_id, amount) VALUES ($1, $2)";
const REFUND: &str = "DELETE FROM charged WHERE saga_id = $1";

#[derive(serde::Deserialize)]
struct Input {
    amount: i64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Output {
    payment_id: String,
}

struct Charge;

impl Step for Charge {
    type Input = Input;
    type Output = Output;
    const COMMAND: &'static str = "payment.charge";

    async fn execute(&self, cx: &mut StepContext<'_>, input: Input) -> Result<Output, StepError> {
        let id = cx.saga_id().as_uuid();
        cx.execute(CHARGE, &[(&id).into(), input.amount.into()]).await?;
        Ok(Output { payment_id: id.to_string() })
    }

    async fn compensate(&self, cx: &mut StepContext<'_>, _: Input, _: Output) -> Result<(), StepError> {
        let id = cx.saga_id().as_uuid();
        cx.execute(REFUND, &[(&id).into()]).await?;
        Ok(())
    }
}

/// Lets as many new commands go as are answered.
struct Counter {
    in_flight: Arc<Semaphore>,
}

#[async_trait]
impl ReplySink for Counter {
    async fn send(&self, replies: Vec<Reply>) {
        assert!(replies.iter().all(|reply| matches!(reply.outcome, Outcome::Done(_))), "{:?}", replies[0]);
        self.in_flight.add_permits(replies.len());
    }
}

fn command(id: SagaId, payload: &Payload) -> Command {
    let step = StepName::new("charge_payment").unwrap();
    Command {
        id: CommandId::derive(id, &step, Operation::Execute, 0),
        saga_id: id,
        saga_type: SagaType::new("order").unwrap(),
        step,
        operation: Operation::Execute,
        command: Charge::COMMAND.into(),
        participant: "payment".into(),
        attempt: 1,
        revision: 0,
        redrive: 0,
        deadline: Timestamp(0),
        payload: payload.clone(),
        cause: None,
    }
}

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>().unwrap());
    let (commands, in_flight) = (numbers.next().unwrap_or(100_000), numbers.next().unwrap_or(256));
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open_sqlite(folder.path().join("rate.db").to_str().unwrap()).await.unwrap();
    database.migrate(&sqlx::migrate!("../../migrations/participants/sqlite")).await.unwrap();
    database.execute(TABLE, &[]).await.unwrap();

    let host = Host::builder(database.clone()).step(Charge).build();
    let (sender, receiver) = mpsc::channel(in_flight);
    let free = Arc::new(Semaphore::new(in_flight));
    let sink = Arc::new(Counter { in_flight: Arc::clone(&free) });
    let running = tokio::spawn(async move { host.run(receiver, sink, CancellationToken::new()).await });

    let payload = Payload::from_json(r#"{"order_id":"ord_1","amount":129999,"user_id":"user_123"}"#.into()).unwrap();
    let key_space = uuid::Uuid::from_u128(1);
    let started = Instant::now();
    for n in 0..commands {
        free.acquire().await.unwrap().forget();
        let id = SagaId::from_uuid(uuid::Uuid::new_v5(&key_space, &n.to_be_bytes()));
        sender.send(command(id, &payload)).await.unwrap();
    }
    drop(sender);
    running.await.unwrap();
    let took = started.elapsed().as_secs_f64();
    println!("{commands} commands, {in_flight} in flight: {:.0} commands/s", commands as f64 / took);
    database.close().await;
}
