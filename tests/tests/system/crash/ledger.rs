//! All that the two databases hold about the sagas, side by side.

use std::collections::{BTreeMap, HashMap};

use amends_tests::stock::{self, Product};
use serde_json::Value;
use uuid::Uuid;

use crate::database::Database;

/// What is stored, by saga.
#[derive(Debug, PartialEq)]
pub(super) struct Ledger {
    pub(super) sagas: BTreeMap<String, Record>,
    /// Parked sagas with their parked step.
    pub(super) parked: HashMap<String, String>,
    pub(super) products: Vec<Product>,
    /// Sagas of which participants have heard and the engine has not.
    pub(super) strangers: Vec<String>,
    /// Shards whose journal is not 1 to its head.
    pub(super) torn_shards: Vec<i64>,
}

/// One saga.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) status: String,
    pub(super) key: Option<String>,
    pub(super) user: String,
    /// Numbers of its journal rows, in order.
    pub(super) rows: Vec<i64>,
    /// How often the journal says that it ended, and whether its last event does.
    pub(super) ends: usize,
    pub(super) ends_last: bool,
    /// Status and total of its orders.
    pub(super) orders: Vec<(String, i64)>,
    pub(super) captures: Vec<i64>,
    pub(super) refunds: Vec<i64>,
    /// States of its reservations.
    pub(super) reservations: Vec<String>,
    pub(super) confirmations: usize,
    pub(super) cancellations: usize,
    /// Step and operation of what the barrier holds: done, refused, or a tombstone (`None`).
    pub(super) barrier: Vec<(String, String, Option<String>)>,
}

impl Ledger {
    pub(super) async fn read(engine: &Database, participants: &Database, parked: HashMap<String, String>) -> Self {
        let mut strangers = Vec::new();
        let mut sagas = sagas(engine).await;
        let mut record = |saga: String, change: &dyn Fn(&mut Record)| match sagas.get_mut(&saga) {
            Some(found) => change(found),
            None => strangers.push(saga),
        };
        for (saga, status, total) in
            participants.rows::<(String, String, i64)>("SELECT saga_id, status, total FROM orders").await
        {
            record(saga, &|record| record.orders.push((status.clone(), total)));
        }
        for (saga, kind, amount) in
            participants.rows::<(String, String, i64)>("SELECT saga_id, kind, amount FROM payments").await
        {
            record(saga, &|record| match kind.as_str() {
                "capture" => record.captures.push(amount),
                _ => record.refunds.push(amount),
            });
        }
        for (saga, state) in participants.rows::<(String, String)>("SELECT saga_id, state FROM reservations").await {
            record(saga, &|record| record.reservations.push(state.clone()));
        }
        for (saga, template) in
            participants.rows::<(String, String)>("SELECT saga_id, template FROM notifications").await
        {
            record(saga, &|record| match template.as_str() {
                "order_confirmed" => record.confirmations += 1,
                _ => record.cancellations += 1,
            });
        }
        let barrier = "SELECT saga_id, step, operation, outcome FROM barrier ORDER BY saga_id, step, operation";
        for (saga, step, operation, outcome) in
            participants.rows::<(Vec<u8>, String, String, Option<String>)>(barrier).await
        {
            record(id(&saga), &|record| record.barrier.push((step.clone(), operation.clone(), outcome.clone())));
        }
        let (rows, reservations) =
            (participants.rows(stock::PRODUCTS).await, participants.rows(stock::RESERVATIONS).await);
        let products = stock::products(rows, reservations);
        Self { sagas, parked, products, strangers, torn_shards: torn_shards(engine).await }
    }
}

async fn sagas(engine: &Database) -> BTreeMap<String, Record> {
    let mut by_number = HashMap::new();
    type Row = (i64, Vec<u8>, String, Option<String>);
    for (number, saga, status, key) in engine.rows::<Row>("SELECT number, saga_id, status, key FROM sagas").await {
        by_number.insert(number, (id(&saga), Record { status, key, ..Record::default() }));
    }
    let journal = "SELECT saga, seq, events FROM journal ORDER BY saga, seq";
    for (number, seq, events) in engine.rows::<(i64, i64, String)>(journal).await {
        let (_, record) = by_number.get_mut(&number).unwrap_or_else(|| panic!("I2: journal row of no saga {number}"));
        let events: Vec<Value> = serde_json::from_str(&events).expect("events are JSON");
        let ends = |event: &Value| event == "saga_completed" || event == "saga_compensated";
        record.rows.push(seq);
        record.ends += events.iter().filter(|event| ends(event)).count();
        record.ends_last = events.last().is_some_and(ends);
        if let Some(started) = events.first().and_then(|event| event.get("saga_started")) {
            record.user = started["input"]["user_id"].as_str().unwrap_or_default().to_owned();
        }
    }
    by_number.into_values().collect()
}

async fn torn_shards(engine: &Database) -> Vec<i64> {
    let sql = "SELECT s.shard FROM shards s LEFT JOIN journal j ON j.shard = s.shard GROUP BY s.shard, s.journal_head \
               HAVING COUNT(j.position) <> s.journal_head OR COALESCE(MAX(j.position), 0) <> s.journal_head";
    engine.rows::<(i64,)>(sql).await.into_iter().map(|(shard,)| shard).collect()
}

fn id(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).expect("a saga id has 16 bytes").to_string()
}
