//! The program is killed with SIGKILL again and again under load; nothing acknowledged is lost and nothing is done
//! twice. Afterwards the tables of the engine and of the participants are the judges.

mod check;
mod held;
mod ledger;
mod load;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use amends_tests::random::Random;
use reqwest::StatusCode;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::check::Checks;
use self::ledger::Ledger;
use self::load::{Fate, Plan};
use crate::database::Database;
use crate::http::{Call, Client};
use crate::program::{Program, eventually};

const ORDERS: usize = 500;
const KILLS: usize = 20;

/// How long after it is ready the server is killed.
const LIFETIME_MS: std::ops::Range<u64> = 30..400;

/// How many orders of each life come in its last moment.
const LAST_MOMENT: usize = 8;

/// The share of kills that wait for the next acknowledgement and follow it at once: an answer that is given before what
/// it says is stored is then seen to be wrong.
const UPON_AN_ANSWER: f64 = 0.5;
const NO_ANSWER: Duration = Duration::from_millis(50);

/// Longest wait for the last domain events; they take milliseconds.
const QUIET_MAX: Duration = Duration::from_secs(20);

/// Runs the same load and the same moments again: `AMENDS_TEST_SEED=…`.
const SEED: &str = "AMENDS_TEST_SEED";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_loses_nothing_and_does_nothing_twice() {
    let seed = seed();
    say(&format!("{SEED}={seed}"));
    let mut random = Random::new(seed);
    let plans: Vec<Plan> = (0..ORDERS).map(|number| Plan::draw(number, &mut random)).collect();
    let mut program = Program::start().await;
    load::stock_up(&program.http).await;

    let fates = submit_while_killing(&mut program, &plans, &mut random).await;
    let engine = Database::open(program.db()).await;
    let participants = Database::open(&program.participants_db()).await;
    let parked = settle(&program.http, &engine).await;
    wait_until_quiet(&participants, &parked).await;

    let ledger = Ledger::read(&engine, &participants, parked).await;
    let mut checks = Checks::default();
    checks.sagas(&ledger);
    checks.effects(&ledger);
    checks.money(&ledger);
    checks.stock(&ledger);
    checks.plans(&plans, &fates, &ledger);
    for (plan, fate) in plans.iter().zip(&fates) {
        checks.answers(&program.http, plan, fate, &ledger).await;
    }
    checks.nothing_changed(&ledger, &Ledger::read(&engine, &participants, ledger.parked.clone()).await);
    let unanswered = fates.iter().filter(|fate| **fate == Fate::Unknown).count();
    say(&format!("{} sagas, {unanswered} orders without an answer", ledger.sagas.len()));
    assert!(!program.stderr().contains("panicked"), "seed {seed}: {}", program.stderr());
    checks.verdict(seed);
}

/// Submits all orders, an equal share in each life of the server, and kills it that many times. In the end it runs.
async fn submit_while_killing(program: &mut Program, plans: &[Plan], random: &mut Random) -> Vec<Fate> {
    let mut clients = JoinSet::new();
    let (acknowledge, mut acknowledged) = mpsc::unbounded_channel();
    for share in plans.chunks(ORDERS / KILLS) {
        let ready = Instant::now();
        let lifetime = Duration::from_millis(random.within(LIFETIME_MS));
        let mut moments: Vec<_> = share.iter().map(|_| lifetime.mul_f64(random.share())).collect();
        moments.sort_unstable();
        moments[share.len() - LAST_MOMENT..].fill(lifetime);
        for (plan, moment) in share.iter().zip(moments) {
            sleep_until(ready + moment).await;
            clients.spawn(load::submit(program.http.clone(), plan.clone(), acknowledge.clone()));
        }
        sleep_until(ready + lifetime).await;
        if random.share() < UPON_AN_ANSWER {
            while acknowledged.try_recv().is_ok() {}
            // None may come: the orders of the last moment may have been answered in it.
            let _ = timeout(NO_ANSWER, acknowledged.recv()).await;
        }
        program.kill();
        program.restart(&[]).await;
    }
    let mut fates = vec![Fate::Unknown; plans.len()];
    while let Some(done) = clients.join_next().await {
        let (number, fate) = done.expect("a client does not fail");
        fates[number] = fate;
    }
    fates
}

/// Waits until every saga has ended or is parked (I1, I39), and retries parked refunds, as an operator would. Gives the
/// parked sagas with their parked step.
async fn settle(http: &Client, engine: &Database) -> HashMap<String, String> {
    loop {
        eventually("I39: every saga has ended or is parked", || async {
            let moving = "SELECT COUNT(*) FROM sagas WHERE status IN ('running', 'compensating')";
            (engine.number(moving).await == 0).then_some(())
        })
        .await;
        let list = http.get("/v1/sagas?status=parked&page_size=1000").await;
        let mut parked = HashMap::new();
        let mut retried = 0;
        for saga in list["sagas"].as_array().into_iter().flatten() {
            let id = saga["id"].as_str().expect("an id");
            let saga = http.get(&format!("/v1/sagas/{id}")).await;
            let steps = saga["steps"].as_array().expect("steps");
            let step = steps.iter().find(|step| step["state"] == "parked").expect("a parked step");
            let step = step["name"].as_str().expect("a name").to_owned();
            if step == "charge_payment" {
                let answer = http.call(&Call::post(&format!("/v1/sagas/{id}:retry"), "{}")).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
                retried += 1;
            }
            parked.insert(id.to_owned(), step);
        }
        if retried == 0 {
            return parked;
        }
    }
}

/// Domain events are delivered shortly after the commit: the last are when no order is pending and nothing is held for
/// sagas that have ended. What has not come by then, the checks will name.
async fn wait_until_quiet(participants: &Database, parked: &HashMap<String, String>) {
    let given_up = Instant::now() + QUIET_MAX;
    while Instant::now() < given_up {
        let held: Vec<(String,)> = participants.rows("SELECT saga_id FROM reservations WHERE state = 'reserved'").await;
        let pending = participants.number("SELECT COUNT(*) FROM orders WHERE status = 'pending'").await;
        if pending == 0 && held.iter().all(|(saga,)| parked.contains_key(saga)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn seed() -> u64 {
    if let Ok(text) = std::env::var(SEED) {
        return text.parse().expect("a seed is a whole number");
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock past 1970");
    u64::try_from(now.as_micros()).unwrap_or(0)
}

#[allow(clippy::print_stderr, reason = "shown with a failure, and with --nocapture")]
fn say(text: &str) {
    eprintln!("crash: {text}");
}
