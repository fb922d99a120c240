//! What only a server can do to a host: lose it, stop it, and let another one in beside it.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::*;
use crate::fixture::prepare;
use crate::testkit::scratch_postgres;
use crate::{DatabaseError, Value};

/// A database, and two handles on it as two workers have them.
async fn two_workers() -> (String, [Database; 2]) {
    let url = scratch_postgres().await;
    let one = prepare(Database::open(&url).await.unwrap()).await.for_participants(&["payment"]);
    let other = Database::open(&url).await.unwrap().for_participants(&["payment"]);
    (url, [one, other])
}

fn charges(sagas: impl IntoIterator<Item = u128>) -> Vec<Command> {
    sagas.into_iter().map(|saga| command(saga, Execute, r#"{"amount":1}"#)).collect()
}

/// Ends the sessions that have a transaction open, as an operator or a crash would.
async fn kill_writers(url: &str) -> usize {
    let mut server = PgConnection::connect(url).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name LIKE 'amends-participants payment%' AND xact_start IS NOT NULL";
    let killed = server.fetch_all(AssertSqlSafe(kill.to_owned())).await.unwrap().len();
    server.close().await.unwrap();
    killed
}

#[tokio::test]
async fn the_same_batch_in_two_workers_takes_effect_once_i14() {
    let (_, [one, other]) = two_workers().await;
    let batches = [charges(1..=200), charges((1..=200).rev())];
    for _ in 0..2 {
        let (ours, theirs) = (host(&one), host(&other));
        let (ours, theirs) = tokio::join!(outcomes(&ours, &batches[0]), outcomes(&theirs, &batches[1]));
        assert!(ours.iter().chain(&theirs).all(|outcome| outcome == "done"));
    }
    assert_eq!((ledger(&one).await.len(), barrier_rows(&one).await), (200, 200));
}

#[tokio::test]
async fn the_barriers_key_is_the_last_line_of_defence_i14() {
    let (url, [one, _]) = two_workers().await;
    // A worker that does not wait for its turn.
    let intruder = Database::open(&url).await.unwrap().for_participants(&["someone else"]);
    let (ours, theirs) = (host(&one), host(&intruder));
    let batch = charges([1, 2]);
    let prepared = ours.prepare(&batch).await.unwrap();
    assert_eq!(outcomes(&theirs, &batch[..1]).await, ["done"]);
    assert!(matches!(prepared.commit().await, Err(DatabaseError::Unavailable(_))));
    assert_eq!(ledger(&one).await, [1]);
    assert_eq!(outcomes(&ours, &batch).await, ["done", "done"]);
    assert_eq!(ledger(&one).await, [1, 1]);
}

#[tokio::test]
async fn a_backend_killed_in_the_middle_leaves_nothing_and_the_batch_comes_again() {
    let (url, [one, other]) = two_workers().await;
    let host = host(&one);
    assert_eq!(outcomes(&host, &charges([1])).await, ["done"]);
    let batch = charges(2..=9);
    let prepared = host.prepare(&batch).await.unwrap();
    assert_eq!(kill_writers(&url).await, 1);
    assert!(prepared.commit().await.is_err());
    assert_eq!(ledger(&other).await, [1]);
    assert!(outcomes(&host, &batch).await.iter().all(|outcome| outcome == "done"));
    // Idle sessions are killed, too: nothing was in them, so nobody notices.
    let mut server = PgConnection::connect(&url).await.unwrap();
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()";
    server.execute(AssertSqlSafe(all.to_owned())).await.unwrap();
    assert_eq!(outcomes(&host, &charges([10])).await, ["done"]);
    assert_eq!((ledger(&one).await.len(), barrier_rows(&one).await), (10, 10));
}

#[tokio::test]
async fn batches_killed_at_any_moment_take_effect_once_i14() {
    let (url, [one, other]) = two_workers().await;
    let host = host(&one);
    let batch = charges(1..=300);
    let killing = async {
        for wait in 0..30 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            kill_writers(&url).await;
        }
    };
    let giving = async {
        let mut tries = 0;
        for chunk in batch.chunks(10) {
            while outcomes(&host, chunk).await.iter().any(|outcome| outcome != "done") {
                tries += 1;
            }
        }
        tries
    };
    let ((), tries) = tokio::join!(killing, giving);
    // Whether or not the answer to a commit was lost: a later attempt finds what was stored.
    assert_eq!((ledger(&other).await.len(), barrier_rows(&other).await), (300, 300), "after {tries} failed tries");
}

#[tokio::test]
async fn a_stopped_worker_loses_its_turn_after_some_seconds() {
    let (_, [one, other]) = two_workers().await;
    let (stopped, host) = (host(&one), host(&other));
    let batch = charges([1]);
    let prepared = stopped.prepare(&batch).await.unwrap();
    let started = std::time::Instant::now();
    assert_eq!(outcomes(&host, &batch).await, ["done"]);
    assert!((3..9).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert!(prepared.commit().await.is_err(), "what it goes on with is too late");
    assert_eq!(ledger(&one).await, [1]);
}

#[tokio::test]
async fn a_batch_that_is_given_up_lets_the_next_one_in_at_once() {
    let (_, [one, other]) = two_workers().await;
    let (giving_up, host) = (host(&one), host(&other));
    let (held, waiting) = (charges([1]), charges([2]));
    let prepared = giving_up.prepare(&held).await.unwrap();
    // Given up while it waits for its turn: its place in the queue must go, too.
    let queued = tokio::time::timeout(Duration::from_millis(200), outcomes(&host, &waiting)).await;
    assert!(queued.is_err());
    drop(prepared);
    let started = std::time::Instant::now();
    assert_eq!(outcomes(&giving_up, &held).await, ["done"]);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(ledger(&one).await, [1]);
}

#[tokio::test]
async fn a_step_that_hangs_takes_no_other_with_it() {
    let (_, [one, _]) = two_workers().await;
    let batch = [r#"{"amount":1}"#, r#"{"amount":2,"then":"hang"}"#, r#"{"amount":3}"#];
    let batch: Vec<Command> = (1..).zip(batch).map(|(saga, input)| command(saga, Execute, input)).collect();
    assert_eq!(outcomes(&host(&one), &batch).await, ["done", "try-again", "done"]);
    assert_eq!(ledger(&one).await, [1, 3]);
}

#[tokio::test]
async fn a_row_that_someone_else_holds_delays_its_own_command_only() {
    struct Update;
    impl Step for Update {
        type Input = i64;
        type Output = ();
        const COMMAND: &'static str = "payment.charge";
        async fn execute(&self, cx: &mut crate::StepContext<'_>, n: i64) -> Result<(), crate::StepError> {
            cx.execute("UPDATE charge SET amount = amount + 1 WHERE amount = $1", &[n.into()]).await.map(|_| ())
        }
        async fn compensate(&self, _: &mut crate::StepContext<'_>, _: i64, (): ()) -> Result<(), crate::StepError> {
            Ok(())
        }
    }
    let (url, [one, _]) = two_workers().await;
    for amount in [10, 20, 30] {
        one.execute("INSERT INTO charge (amount) VALUES ($1)", &[Value::Int(amount)]).await.unwrap();
    }
    let mut someone = PgConnection::connect(&url).await.unwrap();
    someone
        .execute(AssertSqlSafe("BEGIN; UPDATE charge SET amount = amount WHERE amount = 20".to_owned()))
        .await
        .unwrap();
    let host = Host::builder(one.clone()).step(Update).build();
    let batch: Vec<Command> = [10, 20, 30].map(|n| command(n, Execute, &n.to_string())).into();
    assert_eq!(outcomes(&host, &batch).await, ["done", "try-again", "done"]);
    someone.close().await.unwrap();
    assert_eq!(outcomes(&host, &batch).await, ["done", "done", "done"]);
    let mut amounts = ledger(&one).await;
    amounts.sort_unstable();
    assert_eq!(amounts, [11, 21, 31]);
}

/// Also for plans made while the table was empty, and when many commands fail after they have written.
#[tokio::test]
async fn many_failures_in_one_batch_are_each_taken_back() {
    let (_, [one, _]) = two_workers().await;
    let ends = ["done", "refuse", "panic", "try_again", "ignore_an_error"];
    let batch: Vec<Command> = (0..200)
        .map(|saga| command(saga, Execute, &format!(r#"{{"amount":{saga},"then":"{}"}}"#, ends[saga as usize % 5])))
        .collect();
    let expected = ["done", "DECLINED", "try-again", "try-again", "done"];
    let answered = outcomes(&host(&one), &batch).await;
    assert!(answered.iter().enumerate().all(|(at, outcome)| outcome == expected[at % 5]), "{answered:?}");
    let kept: Vec<i64> = (0..200).filter(|saga| matches!(saga % 5, 0 | 4)).collect();
    assert_eq!((ledger(&one).await, barrier_rows(&one).await), (kept, 120));
}
