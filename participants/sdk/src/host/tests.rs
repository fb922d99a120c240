use std::sync::Mutex;
use std::time::Duration;

use amends_core::Operation::{Compensate, Execute};
use amends_core::Outcome;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::DatabaseKind;
use crate::fixture::{Charge, LEDGER, command, ledger, memory, open};
use crate::testkit::check_step;

#[cfg(feature = "postgres")]
mod away;
mod logged;
#[cfg(feature = "postgres")]
mod postgres;

/// Longer than anything takes that is to happen.
const SOON: Duration = Duration::from_secs(20);

fn host(database: &Database) -> Host {
    Host::builder(database.clone()).step(Charge).build()
}

/// What became of one command given alone.
async fn give(host: &Host, command: Command) -> String {
    outcomes(host, &[command]).await.remove(0)
}

/// What became of commands given together.
async fn outcomes(host: &Host, batch: &[Command]) -> Vec<String> {
    let answered = host.process(batch, &Patience::default()).await.unwrap();
    answered.iter().map(|answered| summary(&answered.reply)).collect()
}

/// `done`, `try-again`, or the code of the refusal.
fn summary(reply: &Reply) -> String {
    match &reply.outcome {
        Outcome::Refused(failure) => failure.code.clone(),
        outcome => outcome.as_str().to_owned(),
    }
}

async fn barrier_rows(database: &Database) -> i64 {
    database.fetch_all::<(i64,)>("SELECT count(*) FROM barrier", &[]).await.unwrap()[0].0
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_step_that_is_done_takes_effect_once_under_every_fault_i14_i15_i19_i20_i21(#[case] kind: DatabaseKind) {
    let report = check_step(|| Charge, async || open(kind).await, json!({"amount": 5}), LEDGER).await;
    assert_eq!((report.before, report.done), (vec![], vec!["5".to_owned()]));
    assert_eq!(report.undone, ["5", "-5"]);
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_step_that_is_refused_leaves_nothing_under_every_fault(#[case] kind: DatabaseKind) {
    let report = check_step(|| Charge, async || open(kind).await, json!({"amount": 5, "then": "refuse"}), LEDGER).await;
    assert_eq!(report.reply, Outcome::Refused(amends_core::Failure::new("DECLINED", "no money")));
    assert!(report.undone.is_empty());
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn one_bad_command_leaves_nothing_and_does_not_disturb_the_others(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let host = host(&database);
    let bad = ["refuse", "try_again", "panic"].map(|then| format!(r#"{{"amount":9,"then":"{then}"}}"#));
    let inputs = [r#"{"amount":1}"#, &bad[0], r#"{"amount":2}"#, &bad[1], &bad[2], "[]", r#"{"amount":3}"#];
    let mut batch: Vec<Command> = (1..).zip(inputs).map(|(saga, input)| command(saga, Execute, input)).collect();
    batch.push(Command { command: "payment.gift".into(), ..command(99, Execute, "{}") });
    let expected = ["done", "DECLINED", "done", "try-again", "try-again", "INVALID_INPUT", "done", "UNKNOWN_COMMAND"];
    assert_eq!(outcomes(&host, &batch).await, expected);
    assert_eq!(ledger(&database).await, [1, 2, 3]);
    assert_eq!(barrier_rows(&database).await, 5);
    assert_eq!(give(&host, command(4, Execute, r#"{"amount":4}"#)).await, "done");
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn an_error_that_a_step_ignores_takes_back_its_statement_only(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let ignores = command(1, Execute, r#"{"amount":1,"then":"ignore_an_error"}"#);
    assert_eq!(give(&host(&database), ignores).await, "done");
    assert_eq!(ledger(&database).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_is_given_up() {
    let database = memory().await;
    let host = host(&database);
    assert_eq!(give(&host, command(1, Execute, r#"{"amount":1,"then":"hang"}"#)).await, "try-again");
    assert_eq!((ledger(&database).await, barrier_rows(&database).await), (vec![], 0));
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_compensation_that_is_refused_is_not_remembered_i13(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let host = host(&database);
    let input = r#"{"amount":1,"then":"refund_refused"}"#;
    assert_eq!(give(&host, command(1, Execute, input)).await, "done");
    assert_eq!(give(&host, command(1, Compensate, input)).await, "REFUND_FAILED");
    assert_eq!(ledger(&database).await, [1]);
    let redriven = Command { redrive: 1, attempt: 2, ..command(1, Compensate, input) };
    assert_eq!(give(&host, redriven).await, "done");
    assert_eq!(ledger(&database).await, [1, -1]);
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_batch_that_is_not_committed_is_to_come_again(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let host = host(&database);
    database.execute("ALTER TABLE barrier RENAME TO gone", &[]).await.unwrap();
    assert_eq!(give(&host, command(1, Execute, r#"{"amount":1}"#)).await, "try-again");
    database.execute("ALTER TABLE gone RENAME TO barrier", &[]).await.unwrap();
    // Fails at the very end, after the step has run: storing its answer breaks a constraint.
    let [full, roomy] = match kind {
        DatabaseKind::Sqlite => [
            "CREATE TRIGGER full BEFORE INSERT ON barrier BEGIN SELECT RAISE(ABORT, 'no room'); END",
            "DROP TRIGGER full",
        ],
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => [
            "ALTER TABLE barrier ADD CONSTRAINT no_room CHECK (stored_at_ms < 0) NOT VALID",
            "ALTER TABLE barrier DROP CONSTRAINT no_room",
        ],
    };
    database.execute(full, &[]).await.unwrap();
    let batch = [1, 2].map(|saga| command(saga, Execute, r#"{"amount":1}"#));
    assert_eq!(outcomes(&host, &batch).await, ["try-again", "try-again"]);
    assert!(ledger(&database).await.is_empty());
    database.execute(roomy, &[]).await.unwrap();
    assert_eq!(give(&host, command(1, Execute, r#"{"amount":1}"#)).await, "done");
    assert_eq!(ledger(&database).await, [1]);
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_row_that_is_not_readable_stops_its_own_step_only(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let host = host(&database);
    give(&host, command(1, Execute, r#"{"amount":1}"#)).await;
    database.execute("UPDATE barrier SET reply = '{'", &[]).await.unwrap();
    let batch = [1, 2].map(|saga| command(saga, Execute, r#"{"amount":1}"#));
    assert_eq!(outcomes(&host, &batch).await, ["try-again", "done"]);
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn full_batches_of_every_kind_fit(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let host = host(&database);
    let batch = |operation, from: u128| -> Vec<Command> {
        (from..from + 256).map(|saga| command(saga, operation, r#"{"amount":1}"#)).collect()
    };
    for (operation, from) in [(Execute, 1), (Compensate, 1), (Compensate, 1000)] {
        let answered = outcomes(&host, &batch(operation, from)).await;
        assert!(answered.iter().all(|outcome| outcome == "done"));
    }
    let late = outcomes(&host, &batch(Execute, 1000)).await;
    assert!(late.iter().all(|outcome| outcome == crate::COMPENSATED_BEFORE));
    assert_eq!(ledger(&database).await.iter().sum::<i64>(), 0);
    assert_eq!(barrier_rows(&database).await, 4 * 256);
}

#[derive(Default)]
struct Collected(Mutex<Vec<Reply>>);

#[async_trait]
impl ReplySink for Collected {
    async fn send(&self, replies: Vec<Reply>) {
        self.0.lock().unwrap().extend(replies);
    }
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_cancelled_host_answers_what_is_queued_and_what_it_holds_back(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let (sender, receiver) = mpsc::channel(2000);
    let late = r#"{"amount":1,"then":"answer_late"}"#;
    for _ in 0..3 {
        sender.send(command(0, Execute, late)).await.unwrap();
    }
    for saga in 1..=1000 {
        sender.send(command(saga, Execute, r#"{"amount":1}"#)).await.unwrap();
    }
    let (replies, cancel) = (Arc::new(Collected::default()), CancellationToken::new());
    cancel.cancel();
    let host = host(&database);
    let run = host.run(receiver, Arc::clone(&replies) as Arc<dyn ReplySink>, cancel);
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
    assert!(sender.is_closed());
    let replies = replies.0.lock().unwrap();
    assert_eq!(replies.len(), 1003);
    assert!(replies.iter().all(|reply| summary(reply) == "done"));
    // The copies were answered in time; only the first reply was held back, and came last.
    assert_eq!(replies.last().unwrap().saga_id, command(0, Execute, late).saga_id);
}

/// What a host says while it runs.
#[derive(Debug, PartialEq)]
enum Said {
    Away,
    Back,
    Answered(Vec<String>),
}

struct Sayings(mpsc::UnboundedSender<Said>);

#[async_trait]
impl ReplySink for Sayings {
    async fn send(&self, replies: Vec<Reply>) {
        self.0.send(Said::Answered(replies.iter().map(summary).collect())).unwrap();
    }

    fn suspended(&self, away: bool) {
        self.0.send(if away { Said::Away } else { Said::Back }).unwrap();
    }
}

/// A host that runs, and what it says.
struct Running {
    commands: mpsc::Sender<Command>,
    said: mpsc::UnboundedReceiver<Said>,
    cancel: CancellationToken,
}

impl Running {
    fn start(host: Host) -> Self {
        let (commands, receiver) = mpsc::channel(2000);
        let (sayings, said) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let hurry = cancel.clone();
        tokio::spawn(async move { host.run(receiver, Arc::new(Sayings(sayings)), hurry).await });
        Self { commands, said, cancel }
    }

    /// Gives commands that arrive together.
    fn give(&self, batch: impl IntoIterator<Item = Command>) {
        batch.into_iter().for_each(|command| self.commands.try_send(command).unwrap());
    }

    /// What it says next; `None` when it has ended.
    async fn said(&mut self) -> Option<Said> {
        tokio::time::timeout(SOON, self.said.recv()).await.expect("it says something, or ends")
    }
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_cancelled_host_does_not_wait_for_its_database_and_answers_nothing(
    #[case] kind: DatabaseKind,
    #[values(false, true)] cancelled_before: bool,
) {
    let database = open(kind).await;
    database.close().await;
    let mut running = Running::start(host(&database));
    running.give((1..=1000).map(|saga| command(saga, Execute, r#"{"amount":1}"#)));
    if !cancelled_before {
        assert_eq!(running.said().await, Some(Said::Away));
    }
    running.cancel.cancel();
    assert_eq!(running.said().await, None);
}

#[test]
#[should_panic(expected = "two steps answer to the command payment.charge")]
fn two_steps_for_one_command_are_a_mistake() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(memory());
    let _ = Host::builder(database).step(Charge).step(Charge);
}
