//! All that the databases and the topics hold about a run, side by side: what the judge looks at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amends_tests::stock::{self, Product};
use serde_json::Value;

use crate::bus::EVENT_TOPICS;
use crate::cluster::Cluster;
use crate::database::ShardRow;
use crate::load::Submitted;

/// How often cursors are read until they are at the ends, and the time between.
const CURSORS_READ: u32 = 20;
const BETWEEN_READS: Duration = Duration::from_millis(250);

/// What is stored and what was sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) submitted: Vec<Submitted>,
    pub(crate) sagas: BTreeMap<String, Record>,
    pub(crate) products: Vec<Product>,
    /// Sagas of which participants have heard and the engines have not.
    pub(crate) strangers: Vec<String>,
    /// Shard, journal rows, highest position, head.
    pub(crate) heads: Vec<(i32, i64, i64, i64)>,
    /// By shard: the cursor, and the end of its partition.
    pub(crate) cursors: BTreeMap<i32, (i64, i64)>,
    /// In the commands' topics: saga, step, operation, with the highest attempt.
    pub(crate) commands: BTreeMap<(String, String, String), u64>,
    /// In the domain events' topics: topic and saga, with the ids under which they came.
    pub(crate) events: BTreeMap<(String, String), BTreeSet<String>>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) writes: Vec<Write>,
    /// Dead letters by saga, and audit entries by saga and row.
    pub(crate) audit: BTreeSet<(String, i64)>,
}

/// One saga.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) status: String,
    pub(crate) key: Option<String>,
    pub(crate) user: String,
    /// Its journal: number of the row and an event, in order.
    pub(crate) events: Vec<(i64, Event)>,
    pub(crate) orders: Vec<Order>,
    pub(crate) captures: Vec<(String, i64)>,
    pub(crate) refunds: Vec<(String, i64)>,
    /// States of its reservations.
    pub(crate) reservations: Vec<String>,
    pub(crate) confirmations: usize,
    pub(crate) cancellations: usize,
    pub(crate) barrier: Vec<Entry>,
}

/// A row of the orders.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) status: String,
    pub(crate) currency: String,
    pub(crate) total: i64,
}

/// What a participant's barrier holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) step: String,
    pub(crate) operation: String,
    /// Put there by a compensation that came first.
    pub(crate) tombstone: bool,
    pub(crate) outcome: Option<String>,
}

/// A fact of the journal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) body: Value,
}

impl Event {
    fn of(value: Value) -> Self {
        match value {
            Value::String(kind) => Self { kind, body: Value::Null },
            Value::Object(object) => {
                let (kind, body) = object.into_iter().next().expect("an event has a kind");
                Self { kind, body }
            }
            other => panic!("this is no event: {other}"),
        }
    }

    pub(crate) fn step(&self) -> &str {
        self.body["step"].as_str().unwrap_or_default()
    }
}

impl Record {
    pub(crate) fn kinds(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter().map(|(_, event)| event)
    }

    /// Why it was undone, if it was.
    pub(crate) fn cause(&self) -> Option<&str> {
        let started = self.kinds().find(|event| event.kind == "compensation_started")?;
        started.body["cause"]["kind"].as_str()
    }

    pub(crate) fn completed(&self) -> bool {
        self.status == "completed"
    }

    /// What became of it, in the words of its journal.
    pub(crate) fn story(&self) -> String {
        let told = self.kinds().filter(|event| event.kind != "saga_started");
        told.map(|event| format!("\n      {} {}", event.kind, event.body)).collect()
    }
}

/// A change of a shard's marks, as the witness saw it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Mark {
    pub(crate) app: String,
    pub(crate) shard: i32,
    pub(crate) epoch_before: i64,
    pub(crate) epoch: i64,
    pub(crate) cursor_before: i64,
    pub(crate) cursor: i64,
    pub(crate) head_before: i64,
    pub(crate) head: i64,
}

/// Journal rows of one transaction, as the witness saw them.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Write {
    pub(crate) app: String,
    pub(crate) shard: i32,
    pub(crate) epoch: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) count: i64,
}

impl Ledger {
    /// Reads everything, at rest.
    pub(crate) async fn read(cluster: &Cluster, submitted: Vec<Submitted>) -> Self {
        let mut ledger = Self { submitted, sagas: sagas(cluster).await, ..Self::default() };
        ledger.read_effects(cluster).await;
        let tables = &cluster.participants;
        ledger.products = stock::products(tables.rows(stock::PRODUCTS).await, tables.rows(stock::RESERVATIONS).await);
        ledger.read_topics(cluster).await;
        ledger.heads = cluster
            .engine
            .rows(
                "SELECT s.shard, COUNT(j.position), COALESCE(MAX(j.position), 0)::bigint, s.journal_head FROM shards s LEFT JOIN \
                 journal j ON j.shard = s.shard GROUP BY s.shard, s.journal_head ORDER BY s.shard",
            )
            .await;
        ledger.marks = cluster.engine.rows("SELECT * FROM witness_marks ORDER BY n").await;
        ledger.writes = cluster.engine.rows("SELECT * FROM witness_writes ORDER BY n").await;
        let audit: Vec<(String, i64)> = cluster.engine.rows("SELECT saga_id::text, seq::bigint FROM audit").await;
        ledger.audit = audit.into_iter().collect();
        ledger
    }

    async fn read_effects(&mut self, cluster: &Cluster) {
        let Self { sagas, strangers, .. } = self;
        let mut record = |saga: String, change: &dyn Fn(&mut Record)| match sagas.get_mut(&saga) {
            Some(found) => change(found),
            None => strangers.push(saga),
        };
        let tables = &cluster.participants;
        type Row = (String, String, String, i64);
        for (saga, status, currency, total) in
            tables.rows::<Row>("SELECT saga_id, status, currency, total FROM orders").await
        {
            let order = Order { status, currency, total };
            record(saga, &|record| record.orders.push(order.clone()));
        }
        for (saga, kind, currency, amount) in
            tables.rows::<Row>("SELECT saga_id, kind, currency, amount FROM payments").await
        {
            let row = (currency, amount);
            record(saga, &|record| match kind.as_str() {
                "capture" => record.captures.push(row.clone()),
                _ => record.refunds.push(row.clone()),
            });
        }
        for (saga, state) in tables.rows::<(String, String)>("SELECT saga_id, state FROM reservations").await {
            record(saga, &|record| record.reservations.push(state.clone()));
        }
        for (saga, template) in tables.rows::<(String, String)>("SELECT saga_id, template FROM notifications").await {
            record(saga, &|record| match template.as_str() {
                "order_confirmed" => record.confirmations += 1,
                _ => record.cancellations += 1,
            });
        }
        let barrier = "SELECT saga_id::text, step, operation, origin = 'compensation', outcome FROM barrier";
        for (saga, step, operation, tombstone, outcome) in
            tables.rows::<(String, String, String, bool, Option<String>)>(barrier).await
        {
            let entry = Entry { step, operation, tombstone, outcome };
            record(saga, &|record| record.barrier.push(entry.clone()));
        }
    }

    /// Cursors and ends cannot be read at one moment: an answer to a command that was sent twice may come in between, so
    /// that they are read again a few times where they differ.
    async fn read_cursors(&mut self, cluster: &Cluster) {
        for _ in 0..CURSORS_READ {
            let ends = cluster.bus.ends(&cluster.bus.replies()).await;
            let shards = cluster.engine.shards().await;
            let cursor = |shard: ShardRow| {
                let end = ends.get(&shard.shard).copied().unwrap_or(-1);
                (shard.shard, (shard.reply_cursor, end))
            };
            self.cursors = shards.into_iter().map(cursor).collect();
            if self.cursors.values().all(|(cursor, end)| cursor == end) {
                return;
            }
            tokio::time::sleep(BETWEEN_READS).await;
        }
    }

    async fn read_topics(&mut self, cluster: &Cluster) {
        let bus = &cluster.bus;
        self.read_cursors(cluster).await;
        let commands = ["order", "payment", "inventory", "notification"];
        let commands = commands.map(|participant| format!("{}{participant}.commands", bus.prefix()));
        for record in bus.read_all(&commands).await {
            let header = |name: &str| record.header(name).unwrap_or_default().to_owned();
            let key = (header("ce_subject"), header("amends-step"), header("amends-operation"));
            let attempt = header("amends-attempt").parse().unwrap_or(u64::MAX);
            let highest = self.commands.entry(key).or_default();
            *highest = attempt.max(*highest);
        }
        for record in bus.read_all(&EVENT_TOPICS.map(str::to_owned)).await {
            let header = |name: &str| record.header(name).unwrap_or_default().to_owned();
            let ids = self.events.entry((record.topic.clone(), header("ce_subject"))).or_default();
            ids.insert(header("ce_id"));
        }
    }
}

async fn sagas(cluster: &Cluster) -> BTreeMap<String, Record> {
    let mut sagas = BTreeMap::<String, Record>::new();
    type Row = (String, String, Option<String>);
    for (saga, status, key) in cluster.engine.rows::<Row>("SELECT saga_id::text, status, key FROM sagas").await {
        sagas.insert(saga, Record { status, key, ..Record::default() });
    }
    let journal = "SELECT COALESCE(s.saga_id::text, ''), j.seq::bigint, j.events FROM journal j LEFT JOIN sagas s ON \
                   s.number = j.saga ORDER BY j.saga, j.seq";
    for (saga, seq, events) in cluster.engine.rows::<(String, i64, String)>(journal).await {
        let record = sagas.get_mut(&saga).unwrap_or_else(|| panic!("I2: a journal row of no saga: {events}"));
        let events: Vec<Value> = serde_json::from_str(&events).expect("events are JSON");
        for event in events.into_iter().map(Event::of) {
            if event.kind == "saga_started" {
                record.user = event.body["input"]["user_id"].as_str().unwrap_or_default().to_owned();
            }
            record.events.push((seq, event));
        }
    }
    sagas
}
