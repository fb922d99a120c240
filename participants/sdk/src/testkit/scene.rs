//! One saga's step on one database, to be put through a fault.

use amends_core::{Command, CommandId, Operation, Outcome, Payload, SagaId, SagaType, StepName, Timestamp};
use uuid::Uuid;

use crate::database::Database;
use crate::guard::now;
use crate::host::{Host, Patience, defer_same_step};

/// The same in every scene, so that two scenes' ledgers can be compared.
const SAGA: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

/// How long the engine would wait for an answer, in milliseconds.
const PATIENCE_MS: i64 = 5_000;

pub(super) struct Scene {
    pub(super) fault: &'static str,
    database: Database,
    host: Host,
    command: String,
    input: Payload,
    ledger: &'static str,
}

impl Scene {
    pub(super) fn new(
        fault: &'static str,
        host: Host,
        database: Database,
        input: Payload,
        ledger: &'static str,
    ) -> Self {
        let command = host.commands().concat();
        Self { fault, database, host, command, input, ledger }
    }

    /// A copy of one of the step's two commands.
    pub(super) fn command(&self, operation: Operation) -> Command {
        let saga_id = SagaId::from_uuid(SAGA);
        let (step, saga_type) = names();
        Command {
            id: CommandId::derive(saga_id, &step, operation, 0),
            saga_id,
            saga_type,
            step,
            operation,
            command: self.command.clone(),
            participant: self.command.split('.').next().unwrap_or_default().to_owned(),
            attempt: 1,
            revision: 0,
            redrive: 0,
            deadline: Timestamp(now().0 + PATIENCE_MS),
            payload: self.input.clone(),
            cause: None,
        }
    }

    /// The execute command again, with a payload that it never had.
    pub(super) fn forged(&self) -> Command {
        let payload = Payload::encode(&("forged", &self.input)).unwrap_or_else(|_| Payload::null());
        Command { payload, ..self.command(Operation::Execute) }
    }

    /// Gives the host commands that arrived together; the answers come in the order they were given.
    pub(super) async fn give(&self, operations: &[Operation]) -> Vec<Outcome> {
        self.give_commands(operations.iter().map(|operation| self.command(*operation)).collect()).await
    }

    pub(super) async fn give_commands(&self, mut batch: Vec<Command>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while !batch.is_empty() {
            let waiting = defer_same_step(&mut batch);
            let answered = self.host.process(&batch, &Patience::default()).await.unwrap_or_default();
            outcomes.extend(answered.into_iter().map(|answered| answered.reply.outcome));
            batch = waiting;
        }
        outcomes
    }

    /// Gives the host one command.
    pub(super) async fn give_one(&self, operation: Operation) -> Outcome {
        self.give(&[operation]).await.remove(0)
    }

    /// Gives the host commands that arrived together, and checks its answers and the ledger.
    pub(super) async fn expect(&self, operations: &[Operation], replies: &[Outcome], ledger: &[String]) {
        let given = self.give(operations).await;
        assert_eq!(given, replies, "{}: wrong answer to {operations:?}", self.fault);
        self.expect_ledger(ledger).await;
    }

    pub(super) async fn expect_ledger(&self, expected: &[String]) {
        let ledger = self.ledger().await;
        assert_eq!(ledger, expected, "{}: wrong ledger (left: as it is, right: as it should be)", self.fault);
    }

    /// Goes on with a host that remembers nothing.
    pub(super) fn restart(&mut self, host: Host) {
        self.host = host;
    }

    /// Runs a command and loses everything just before the commit.
    pub(super) async fn crash_before_commit(&self, operation: Operation) {
        let command = self.command(operation);
        let prepared = self.host.prepare(std::slice::from_ref(&command)).await;
        assert!(prepared.is_ok(), "{}: the batch failed before the crash", self.fault);
    }

    /// What the author's query shows now.
    pub(super) async fn ledger(&self) -> Vec<String> {
        match self.database.fetch_all::<(Option<String>,)>(self.ledger, &[]).await {
            Ok(rows) => rows.into_iter().map(|(text,)| text.unwrap_or_default()).collect(),
            Err(error) => panic!("the ledger query failed; it must return one column of text: {error}"),
        }
    }
}

fn names() -> (StepName, SagaType) {
    match (StepName::new("checked_step"), SagaType::new("check")) {
        (Ok(step), Ok(saga_type)) => (step, saga_type),
        (Err(error), _) | (_, Err(error)) => panic!("a constant name {error}"),
    }
}
