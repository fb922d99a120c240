//! The judge sees what is wrong: a sound run's books are falsified, one invariant at a time, and it complains about
//! just that.

use sqlx::Executor as _;

use crate::cluster::Cluster;
use crate::judge::{judge, summary};
use crate::ledger::{Entry, Event, Ledger, Record};
use crate::load::Load;
use crate::plan::seed;
use crate::process::say;
use crate::settle::settle;

const ORDERS: usize = 400;

/// What is done to a copy of the books, and the invariant that is broken by it.
type Fraud = (&'static str, &'static str, fn(&mut Ledger));

fn saga(ledger: &mut Ledger, wanted: impl Fn(&Record) -> bool) -> &mut Record {
    ledger.sagas.values_mut().find(|saga| wanted(saga)).expect("the mix has such a saga")
}

fn completed(ledger: &mut Ledger) -> &mut Record {
    saga(ledger, |saga| saga.completed() && saga.confirmations == 1)
}

fn refunded(ledger: &mut Ledger) -> &mut Record {
    saga(ledger, |saga| !saga.refunds.is_empty())
}

fn id_of(ledger: &Ledger) -> String {
    ledger.sagas.iter().find(|(_, saga)| saga.completed()).map(|(id, _)| id.clone()).expect("one")
}

const FRAUDS: &[Fraud] = &[
    ("a saga that has not ended", "I1", |ledger| completed(ledger).status = "running".to_owned()),
    ("two ends", "I1", |ledger| {
        let saga = completed(ledger);
        let last = saga.events.last().cloned().expect("an end");
        saga.events.push(last);
    }),
    ("an end that the order was not made for", "I1", |ledger| {
        let user = saga(ledger, |saga| saga.cause() == Some("refused")).user.clone();
        let order = ledger.submitted.iter_mut().find(|order| order.plan.user == user).expect("its order");
        order.plan.end = crate::plan::End::Completed;
    }),
    ("an acknowledged order is gone", "I2", |ledger| drop(ledger.sagas.pop_first())),
    ("an order twice", "I2", |ledger| {
        let copy = completed(ledger).clone();
        ledger.sagas.insert("another".to_owned(), copy);
    }),
    ("participants know a saga that is not there", "I2", |ledger| ledger.strangers.push("x".to_owned())),
    ("a key twice", "I3", |ledger| {
        let key = completed(ledger).key.clone();
        refunded(ledger).key = key;
    }),
    ("something after the end", "I4", |ledger| {
        let saga = completed(ledger);
        let first = saga.events[1].clone();
        saga.events.push(first);
    }),
    ("a gap in a saga's journal", "I5", |ledger| completed(ledger).events.retain(|(seq, _)| *seq != 2)),
    ("a gap in a shard's journal", "I5", |ledger| ledger.heads[0].1 -= 1),
    ("a head beyond the journal", "I5", |ledger| ledger.heads[0].3 += 1),
    ("a row that is not the fold", "I6", |ledger| completed(ledger).status = "compensated".to_owned()),
    ("a command without its event", "I8", |ledger| {
        let id = id_of(ledger);
        ledger.commands.insert((id, "charge_payment".to_owned(), "compensate".to_owned()), 1);
    }),
    ("an attempt without its event", "I8", |ledger| {
        *ledger.commands.values_mut().next().expect("a command") += 1;
    }),
    ("forward while undoing", "I12", |ledger| {
        let saga = refunded(ledger);
        let body = serde_json::json!({ "step": "reserve_inventory", "attempt": 2 });
        saga.events.push((99, Event { kind: "step_started".to_owned(), body }));
    }),
    ("an effect twice", "I14", |ledger| {
        let saga = completed(ledger);
        saga.orders.push(saga.orders[0].clone());
    }),
    ("an effect that the barrier does not know", "I14", |ledger| completed(ledger).barrier.clear()),
    ("a confirmed step without its effect", "I14", |ledger| completed(ledger).reservations.clear()),
    ("a completed order that is not confirmed", "I15", |ledger| {
        completed(ledger).orders[0].status = "pending".to_owned()
    }),
    ("an effect without its inverse", "I15", |ledger| refunded(ledger).refunds.clear()),
    ("a reservation that was kept", "I15", |ledger| refunded(ledger).reservations.push("reserved".to_owned())),
    ("captured too much", "I16", |ledger| completed(ledger).captures[0].1 += 1),
    ("refunded more than captured", "I16", |ledger| refunded(ledger).refunds[0].1 += 1),
    ("another currency", "I16", |ledger| completed(ledger).captures[0].0 = "EUR".to_owned()),
    ("a unit lost", "I17", |ledger| ledger.products[0].on_hand -= 1),
    ("a unit that no reservation explains", "I17", |ledger| {
        ledger.products[0].on_hand -= 1;
        ledger.products[0].sold += 1;
    }),
    ("two confirmations", "I18", |ledger| completed(ledger).confirmations += 1),
    ("a confirmation of what was undone", "I18", |ledger| refunded(ledger).confirmations += 1),
    ("an effect after its tombstone", "I19", |ledger| {
        let (step, operation) = ("charge_payment".to_owned(), "execute".to_owned());
        completed(ledger).barrier.push(Entry { step, operation, tombstone: true, outcome: None });
    }),
    ("a record that was skipped", "I22", |ledger| ledger.cursors.values_mut().for_each(|cursor| cursor.0 += 1)),
    ("a cursor that went back", "I22", |ledger| ledger.marks[5].cursor = ledger.marks[5].cursor_before - 1),
    ("an answer taken twice", "I24", |ledger| {
        let saga = completed(ledger);
        let at = saga.events.iter().position(|(_, event)| event.kind == "step_succeeded").expect("one");
        saga.events.insert(at, saga.events[at].clone());
    }),
    ("a command that was never sent", "I25", |ledger| {
        let id = id_of(ledger);
        ledger.commands.retain(|(saga, ..), _| *saga != id);
    }),
    ("an event that was never published", "I26", |ledger| drop(ledger.events.pop_first())),
    ("an event under two ids", "I26", |ledger| {
        let (_, ids) = ledger.events.iter_mut().next().expect("an event");
        ids.insert("another".to_owned());
    }),
    ("an event that no journal holds", "I26", |ledger| {
        ledger.events.insert(("order_created".to_owned(), "nobody".to_owned()), ["x".to_owned()].into());
    }),
    ("an epoch that went back", "I27", |ledger| ledger.marks.last_mut().expect("a mark").epoch -= 1),
    ("a late commit of another engine", "I27", |ledger| {
        ledger.marks.last_mut().expect("one").app = "engine-9.1".to_owned()
    }),
    ("late journal rows of another engine", "I27", |ledger| ledger.writes[3].app = "engine-9.1".to_owned()),
    ("journal rows out of turn", "I27", |ledger| ledger.writes[3].first -= 1),
    ("an action without an audit entry", "I36", |ledger| {
        ledger.audit.insert((String::new(), 1));
    }),
];

/// The same in the databases themselves, past all triggers: so that the queries are seen to look.
///
/// One after the other: what is broken stays so. The invariant, what is done, whether to the engines' database, and how.
const SQL_FRAUDS: &[(&str, &str, bool, &str)] = &[
    ("I18", "a confirmation too many", false, "UPDATE notifications SET template = 'order_confirmed'"),
    ("I17", "a reservation forgotten", false, "UPDATE reservations SET state = 'released' WHERE state = 'sold'"),
    ("I16", "a price changed", false, "UPDATE payments SET amount = amount + 1 WHERE kind = 'capture'"),
    ("I14", "payments removed", false, "DELETE FROM payments WHERE kind = 'capture'"),
    ("I22", "cursors moved", true, "UPDATE shards SET reply_cursor = reply_cursor - 1"),
    ("I5", "journal rows deleted", true, "DELETE FROM journal WHERE position = 3"),
    ("I6", "statuses changed", true, "UPDATE sagas SET status = 'completed' WHERE status = 'compensated'"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_every_kind_of_fraud() {
    let seed = seed();
    let mut cluster = Cluster::start("judge", 2, 1).await;
    let load = Load::start(&cluster, 0, None, seed);
    let outcome = load.finish(ORDERS).await;
    say(&format!("{} orders in {:.1?}", outcome.submitted.len(), outcome.took));
    settle(&cluster).await;
    let honest = Ledger::read(&cluster, outcome.submitted.clone()).await;
    say(&summary(&honest));
    judge(&honest).verdict(seed);
    for (what, invariant, falsify) in FRAUDS {
        let mut ledger = honest.clone();
        falsify(&mut ledger);
        let broken = judge(&ledger).broken();
        assert!(broken.contains(invariant), "{what}: {invariant} is broken and not seen, only {broken:?}");
    }
    // From here on nobody but the judge touches the databases.
    for engine in &mut cluster.engines {
        engine.kill();
    }
    for worker in &mut cluster.workers {
        worker.kill();
    }
    for (invariant, what, engine, sql) in SQL_FRAUDS {
        let database = if *engine { &cluster.engine } else { &cluster.participants };
        database.falsify(sql).await;
        let broken = judge(&Ledger::read(&cluster, outcome.submitted.clone()).await).broken();
        assert!(broken.contains(invariant), "{what}: {invariant} is broken and not seen, only {broken:?}");
    }
}

impl crate::database::Database {
    /// Changes what nobody may change.
    async fn falsify(&self, sql: &'static str) {
        let mut connection = self.pool().acquire().await.expect("a connection");
        connection.execute("SET session_replication_role = replica").await.expect("a superuser");
        connection.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.execute("SET session_replication_role = origin").await.expect("a superuser");
    }
}
