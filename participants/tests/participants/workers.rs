//! Several workers run the same participants on one database.

use std::collections::HashSet;

use amends_participants::{PARTICIPANTS, host_for, migrate, seed};
use amends_sdk::{Command, Database, Outcome, Reply};
use serde_json::json;

use crate::fixture::{Shop, charge, compensate, execute, notice, order, wanted};
use crate::ledger::{Dice, I16_BROKEN, i17_broken};

/// As many shops on one database, each with connections of its own.
async fn shops<const N: usize>() -> [Shop; N] {
    let url = crate::place::fresh().await;
    let mut shops = Vec::new();
    for _ in 0..N {
        shops.push(Shop::at(&url).await);
    }
    shops.try_into().map_err(|_| ()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_start_together_do_not_collide() {
    let url = crate::place::fresh().await;
    let start = |url: String| async move {
        let database = Database::open(&url).await.unwrap();
        migrate(&database).await.unwrap();
        seed(&database).await.unwrap();
    };
    let starting: Vec<_> = (0..6).map(|_| tokio::spawn(start(url.clone()))).collect();
    for started in starting {
        started.await.unwrap();
    }
    let shop = Shop::at(&url).await;
    let products = i64::try_from(amends_participants::CATALOGUE.len()).unwrap();
    assert_eq!(shop.count("SELECT count(*) FROM inventory").await, products);
    // The engine's migrations may be in the same database, under sqlx's own name.
    assert_eq!(shop.count("SELECT count(*) FROM pg_tables WHERE tablename = '_sqlx_migrations'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_given_to_two_workers_take_effect_once_i14() {
    const COMMANDS: u128 = 600;
    let [one, other] = shops().await;
    one.set_stock("MOUSE001", 10_000).await;
    let all = |dice: &mut Dice| -> Vec<Command> {
        let mut all: Vec<Command> = (1..=COMMANDS)
            .flat_map(|n| {
                let mut sent = notice(n, "u1", "order_confirmed");
                sent["user_id"] = json!("u1");
                [
                    execute(n, "order.create", order(n)),
                    execute(n, "payment.charge", charge(n, "pm_ok")),
                    execute(n, "inventory.reserve", wanted(n, &[("MOUSE001", 2)])),
                    execute(n, "notification.send", sent),
                ]
            })
            .collect();
        shuffle(&mut all, dice);
        all
    };
    let (ours, theirs) = (all(&mut Dice(1)), all(&mut Dice(2)));
    let (ours, theirs) = tokio::join!(one.ask_all(ours), other.ask_all(theirs));
    let mut answers = sorted(&ours);
    assert_eq!(answers, sorted(&theirs), "both give the same answers");
    answers.retain(|(.., outcome)| outcome.starts_with("Done"));
    assert_eq!(answers.len(), 4 * 600);
    for table in ["orders", "payments", "reservations", "notifications"] {
        let sql: &'static str = format!("SELECT count(*) FROM {table}").leak();
        assert_eq!(one.count(sql).await, 600, "{table}");
    }
    assert_eq!(one.count("SELECT count(*) FROM barrier").await, 4 * 600);
    assert_eq!(one.stock("MOUSE001").await, (10_000 - 1200, 1200, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_of_one_worker_stops_the_other_i19() {
    let [one, other] = shops().await;
    for n in 1..=50 {
        let (undo, make) =
            (compensate(n, "payment.charge", charge(n, "pm_ok")), execute(n, "payment.charge", charge(n, "pm_ok")));
        if n % 2 == 0 {
            // In any order: either the charge came first and is refunded, or it never comes.
            let (undone, made) = tokio::join!(one.ask(undo), other.ask(make));
            assert!(matches!(undone, Outcome::Done(_)), "{undone:?}");
            assert!(matches!(made, Outcome::Done(_) | Outcome::Refused(_)), "{made:?}");
        } else {
            one.ask(undo).await;
            assert!(matches!(other.ask(make).await, Outcome::Refused(_)));
        }
    }
    let kept = "SELECT count(*) FROM payments c WHERE kind = 'capture' AND NOT EXISTS \
        (SELECT 1 FROM payments r WHERE r.order_id = c.order_id AND r.kind = 'refund')";
    assert_eq!(one.count(kept).await, 0);
    assert_eq!(one.count(I16_BROKEN).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_orders_over_two_workers_never_deadlock_and_i16_and_i17_hold() {
    const ORDERS: u64 = 3000;
    let [one, other] = shops().await;
    for product in ["LAPTOP001", "PHONE001", "MOUSE001", "KEYBOARD001"] {
        one.set_stock(product, 2500).await;
    }
    let work = |seed: u64| -> Vec<Command> {
        let mut dice = Dice(seed);
        (0..ORDERS * 2).map(|_| random_command(&mut dice, ORDERS)).collect()
    };
    let (ours, theirs) = tokio::join!(one.ask_all(work(1)), other.ask_all(work(2)));
    let busy: Vec<_> =
        ours.iter().chain(&theirs).filter(|reply| matches!(reply.outcome, Outcome::TryAgain { .. })).collect();
    assert!(busy.is_empty(), "{} of {} were to be tried again: {:?}", busy.len(), ours.len() * 2, busy[0]);
    assert_eq!(one.count(I16_BROKEN).await, 0);
    assert_eq!(one.count(i17_broken()).await, 0);
    assert!(one.count("SELECT count(*) FROM reservations WHERE state = 'released'").await > 100);
    assert!(one.count("SELECT count(*) FROM reservations WHERE state = 'reserved'").await > 100);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(one.count(deadlocks).await, 0);
}

fn random_command(dice: &mut Dice, orders: u64) -> Command {
    const PRODUCTS: [&str; 4] = ["LAPTOP001", "PHONE001", "MOUSE001", "KEYBOARD001"];
    let n = u128::from(dice.below(orders)) + 1;
    // An order asks for the same whenever it asks.
    let mut of_order = Dice(n as u64);
    let mut products = PRODUCTS.to_vec();
    shuffle(&mut products, &mut of_order);
    let items: Vec<_> = products[..2].iter().map(|product| (*product, 1 + i64::from(of_order.below(2) == 0))).collect();
    match dice.below(8) {
        0..4 => execute(n, "inventory.reserve", wanted(n, &items)),
        4 => compensate(n, "inventory.reserve", wanted(n, &items)),
        5..7 => execute(n, "payment.charge", charge(n, "pm_ok")),
        _ => compensate(n, "payment.charge", charge(n, "pm_ok")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_participant_has_its_turn_for_itself() {
    let url = crate::place::fresh().await;
    let shop = Shop::at(&url).await;
    let stopped = shop.db.for_participants(&["payment"]).begin().await.unwrap();
    for name in PARTICIPANTS.into_iter().filter(|name| *name != "payment") {
        let worker = Database::open(&url).await.unwrap();
        host_for(&[name], &worker).unwrap();
        worker.for_participants(&[name]).begin().await.unwrap().commit().await.unwrap();
    }
    let all = Database::open(&url).await.unwrap().for_participants(&PARTICIPANTS);
    let waits = tokio::time::timeout(std::time::Duration::from_millis(300), all.begin()).await;
    assert!(waits.is_err(), "who runs all of them waits for each of them");
    drop(stopped);
    all.begin().await.unwrap().commit().await.unwrap();
}

fn sorted(replies: &[Reply]) -> Vec<(String, String, String)> {
    let line = |reply: &Reply| (reply.saga_id.to_string(), reply.step.to_string(), format!("{:?}", reply.outcome));
    let mut lines: Vec<_> = replies.iter().map(line).collect();
    lines.sort();
    let distinct: HashSet<_> = lines.iter().map(|(saga, step, _)| (saga, step)).collect();
    assert_eq!(distinct.len(), lines.len(), "each is answered once");
    lines
}

fn shuffle<T>(list: &mut [T], dice: &mut Dice) {
    for at in (1..list.len()).rev() {
        let other = usize::try_from(dice.below(at as u64 + 1)).unwrap();
        list.swap(at, other);
    }
}
