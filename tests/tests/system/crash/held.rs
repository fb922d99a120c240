//! The moment between deciding and storing, held open: the test takes the database's write lock, so that no commit can
//! succeed, and looks whether anything is said or done that is not stored. Then it kills the program in that moment.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::database::{Database, Lock};
use crate::http::Call;
use crate::program::{Program, eventually};

/// How long nothing must happen. What is wrong shows within milliseconds.
const HELD: Duration = Duration::from_secs(1);

/// The timeout of the first step, less a margin. A server that is ready before then must not wait for it.
const UNTIMED: Duration = Duration::from_secs(4);

const CLIENTS: usize = 10;

fn order(method: &str, key: &str) -> Call {
    let items = json!([{ "product_id": "LAPTOP001", "quantity": 1, "price": 19.99 }]);
    let body = json!({ "user_id": "held", "payment_method": method, "items": items }).to_string();
    Call::post("/orders", &body).key(key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_or_begun_before_it_is_stored() {
    let mut program = Program::start().await;
    let participants = Database::open(&program.participants_db()).await;
    let lock = Lock::take(program.db()).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let http = program.http.clone();
        clients.spawn(async move { http.send(&order("pm_ok", &format!("held-{number}"))).await });
    }
    tokio::time::sleep(HELD).await;
    let begun = participants.number("SELECT COUNT(*) FROM barrier").await;
    program.kill();
    lock.release().await;
    for answer in clients.join_all().await.into_iter().flatten() {
        assert_ne!(answer.status, StatusCode::CREATED, "I2: acknowledged, not stored: {}", answer.text);
    }
    assert_eq!(begun, 0, "I8: a command left before its event was stored");

    program.restart(&[]).await;
    for number in 0..CLIENTS {
        let answer = program.http.call(&order("pm_ok", &format!("held-{number}"))).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        program.http.saga_reaches(&format!("order/held-{number}"), "COMPLETED").await;
    }
    assert_eq!(participants.number("SELECT COUNT(*) FROM payments").await, CLIENTS as i64, "I14");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attempt_begins_before_it_is_stored() {
    let mut program = Program::start().await;
    let engine = Database::open(program.db()).await;
    let participants = Database::open(&program.participants_db()).await;
    let accepted = program.http.call(&order("pm_flaky", "flaky")).await;
    assert_eq!(accepted.status, StatusCode::CREATED, "{}", accepted.text);
    // The third attempt is the one that captures; it is due a fifth of a second after the second has failed.
    eventually("the second attempt has failed", || async {
        let failed = "SELECT COUNT(*) FROM journal WHERE events LIKE '%retry_scheduled%'";
        (engine.number(failed).await == 2).then_some(())
    })
    .await;
    let lock = Lock::take(program.db()).await;
    let before = participants.number("SELECT COUNT(*) FROM payments").await;
    tokio::time::sleep(HELD).await;
    let after = participants.number("SELECT COUNT(*) FROM payments").await;
    program.kill();
    lock.release().await;
    assert_eq!(before, after, "I8: the payment was captured before its attempt was stored");

    program.restart(&[]).await;
    program.http.saga_reaches("order/flaky", "COMPLETED").await;
    assert_eq!(participants.number("SELECT COUNT(*) FROM payments").await, 1, "I14");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_participant_answers_before_its_effect_is_stored() {
    let mut program = Program::start().await;
    let engine = Database::open(program.db()).await;
    let lock = Lock::take(&program.participants_db()).await;
    let begun = Instant::now();
    let accepted = program.http.call(&order("pm_ok", "unanswered")).await;
    assert_eq!(accepted.status, StatusCode::CREATED, "{}", accepted.text);
    tokio::time::sleep(HELD).await;
    let done = engine.number("SELECT COUNT(*) FROM journal WHERE events LIKE '%step_succeeded%'").await;
    program.kill();
    lock.release().await;
    assert_eq!(done, 0, "I15: a step was confirmed whose effect was not stored");

    program.restart(&[]).await;
    let ready_after = begun.elapsed();
    let saga = program.http.saga_reaches("order/unanswered", "COMPLETED").await;
    // On a machine that stalls the timeout may be due already, and then this cannot be told.
    if ready_after < UNTIMED {
        assert_eq!(saga["steps"][0]["attempts"], 1, "I25: recovery did not send the command again: {saga}");
    }
    let participants = Database::open(&program.participants_db()).await;
    assert_eq!(participants.number("SELECT COUNT(*) FROM payments").await, 1, "I14");
}
