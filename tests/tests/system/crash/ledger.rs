//! All that the two databases hold about the sagas, side by side.

use std::collections::{BTreeMap, HashMap};

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

/// The stock of one product, and what the reservations say of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Product {
    pub(super) id: String,
    pub(super) on_hand: i64,
    pub(super) reserved: i64,
    pub(super) sold: i64,
    pub(super) stocked: i64,
    pub(super) reservations_held: i64,
    pub(super) reservations_sold: i64,
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
        let products = products(participants).await;
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

async fn products(participants: &Database) -> Vec<Product> {
    let sql = "SELECT product_id, on_hand, reserved, sold, stocked FROM inventory";
    let rows = participants.rows::<(String, i64, i64, i64, i64)>(sql).await;
    let mut products: Vec<Product> = rows
        .into_iter()
        .map(|(id, on_hand, reserved, sold, stocked)| Product {
            id,
            on_hand,
            reserved,
            sold,
            stocked,
            ..Product::default()
        })
        .collect();
    for (state, items) in participants.rows::<(String, String)>("SELECT state, items FROM reservations").await {
        let items: Vec<Value> = serde_json::from_str(&items).expect("items are JSON");
        for item in items {
            let found = products.iter_mut().find(|product| item["product_id"] == product.id.as_str());
            let product = found.expect("what is reserved is a product");
            let quantity = item["quantity"].as_i64().expect("a quantity");
            match state.as_str() {
                "reserved" => product.reservations_held += quantity,
                "sold" => product.reservations_sold += quantity,
                _ => {}
            }
        }
    }
    products
}

fn id(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).expect("a saga id has 16 bytes").to_string()
}
