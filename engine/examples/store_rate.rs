//! How fast a store commits, how much it writes, and what it costs.
//!
//! ```text
//! cargo run --release -p amends-engine --example store_rate [FOLDER [TRANSITIONS]...]
//! cargo run --release -p amends-engine --features postgres --example store_rate postgres://user@host/database
//! ```
//!
//! Keeps up to 256 sagas of four steps in flight and commits many transitions at a time, as a loaded lane does: five
//! journal rows per saga, its row written twice. FOLDER is where the SQLite file goes; it should be on the disk in
//! question. In a Postgres database a schema is made and dropped; nobody else should be at work on the server, since its
//! log is measured as a whole, and it should be on this machine, or its processor time cannot be seen.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_core::{Epoch, IdempotencyKey, JOURNAL_FORMAT, Millis, SagaId, SagaType, Shard, Status, Timestamp};
use amends_engine::store::sqlite::SqliteStore;
use amends_engine::store::{Batch, JournalRow, Leases, Owner, SagaChange, SagaRow, ShardMark, Store};
use uuid::Uuid;

const SHARDS: u16 = 16;
const IN_FLIGHT: usize = 256;
const TRANSITIONS: u64 = 5;
const SECONDS: u64 = 5;

/// Whether clients give keys, and transitions a commit, if nobody asks for others.
const RUNS: [(bool, usize); 5] = [(false, 256), (true, 256), (false, 128), (false, 16), (false, 1)];

type Failure = Box<dyn std::error::Error>;

/// Makes batches of sagas that all go well.
struct Load {
    saga_type: SagaType,
    keyed: bool,
    started: u64,
    now: i64,
    heads: [i64; SHARDS as usize],
    flying: VecDeque<(SagaId, u64)>,
}

/// What has been used so far.
#[derive(Clone, Copy)]
struct Used {
    bytes: u64,
    processor: Duration,
}

fn main() -> Result<(), Failure> {
    let place = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let sizes = std::env::args().skip(2).map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    let asked = sizes.into_iter().map(|size| (false, size)).collect::<Vec<_>>();
    for (keyed, size) in if asked.is_empty() { RUNS.to_vec() } else { asked } {
        if place.starts_with("postgres") {
            runtime.block_on(on_postgres(&place, keyed, size))?;
        } else {
            runtime.block_on(on_sqlite(&place, keyed, size))?;
        }
    }
    Ok(())
}

async fn on_sqlite(folder: &str, keyed: bool, size: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let store = SqliteStore::open(&folder.path().join("rate.db").to_string_lossy(), SHARDS).await?;
    measure(&store, keyed, size, async || Ok(Used { bytes: written_bytes(), processor: cpu_time("self") })).await?;
    store.close().await;
    Ok(())
}

#[cfg(not(feature = "postgres"))]
async fn on_postgres(_: &str, _: bool, _: usize) -> Result<(), Failure> {
    Err("build with --features postgres".into())
}

#[cfg(feature = "postgres")]
async fn on_postgres(url: &str, keyed: bool, size: usize) -> Result<(), Failure> {
    use amends_engine::store::postgres::{PostgresOptions, PostgresStore};
    use sqlx::{AssertSqlSafe, Connection, PgConnection, query_scalar, raw_sql};

    const LOG: &str = "VALUES (pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::BIGINT)";
    const BACKENDS: &str = "WITH own AS (TABLE pg_stat_activity) SELECT pid FROM own WHERE application_name = 'amends'";

    let schema = format!("rate_{}", Uuid::now_v7().simple());
    let mut own = PgConnection::connect(url).await?;
    // The same distance from the last checkpoint for every run: after one, whole pages are logged.
    raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}; CHECKPOINT"))).execute(&mut own).await?;
    let url = format!("{url}?options[search_path]={schema}");
    PostgresStore::migrate(&url, Some(SHARDS)).await?;
    let store = PostgresStore::connect(&url, PostgresOptions { writers: 1, ..PostgresOptions::default() }).await?;
    let gauge = async || {
        let mut own = PgConnection::connect(&url).await?;
        let bytes: i64 = query_scalar(LOG).fetch_one(&mut own).await?;
        let backends: Vec<i32> = query_scalar(BACKENDS).fetch_all(&mut own).await?;
        let processor = backends.iter().map(|backend| cpu_time(&backend.to_string())).sum();
        Ok(Used { bytes: bytes.cast_unsigned(), processor })
    };
    let measured = measure(&store, keyed, size, gauge).await;
    store.close();
    raw_sql(AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"))).execute(&mut own).await?;
    measured
}

async fn measure<S: Store + Leases>(
    store: &S,
    keyed: bool,
    size: usize,
    gauge: impl AsyncFn() -> Result<Used, Failure>,
) -> Result<(), Failure> {
    let owner = Owner { incarnation: Uuid::now_v7(), address: "127.0.0.1:7400".to_owned() };
    let shards: Vec<Shard> = (0..SHARDS).map(Shard).collect();
    store.claim(&owner, &shards, Millis(60_000)).await?;
    let mut load = Load {
        saga_type: SagaType::new("order")?,
        keyed,
        started: 0,
        now: 1_790_000_000_000,
        heads: [0; SHARDS as usize],
        flying: VecDeque::new(),
    };
    store.commit(Arc::new(load.next(size))).await?;
    let (mut rows, mut ended, mut commits) = (0.0, 0.0, 0.0);
    let (before, begin) = (gauge().await?, Instant::now());
    while begin.elapsed() < Duration::from_secs(SECONDS) {
        let batch = load.next(size);
        rows += batch.journal.len() as f64;
        ended += batch.changed.len() as f64;
        commits += 1.0;
        store.commit(Arc::new(batch)).await?;
    }
    let (seconds, after) = (begin.elapsed().as_secs_f64(), gauge().await?);
    let sagas = rows / TRANSITIONS as f64;
    println!(
        "{} ids, {size:>3} transitions a commit: {:>6.0} sagas/s, {:>6.0} journal rows/s, {:>5.0} commits/s of \
         {:>7.3} ms, {:>5.2} kB written and {:>4.0} µs of processor per saga",
        if keyed { "keyed" } else { "timed" },
        ended / seconds,
        rows / seconds,
        commits / seconds,
        seconds * 1e3 / commits,
        (after.bytes - before.bytes) as f64 / 1e3 / sagas,
        (after.processor - before.processor).as_micros() as f64 / sagas,
    );
    Ok(())
}

impl Load {
    fn next(&mut self, size: usize) -> Batch {
        self.now += 1;
        let mut batch = Batch::default();
        let mut touched = [false; SHARDS as usize];
        for _ in 0..size {
            let (id, seq) = match self.flying.pop_front() {
                Some(flying) if self.flying.len() + 1 >= IN_FLIGHT.min(2 * size) => flying,
                other => {
                    self.flying.extend(other);
                    let saga = self.start();
                    let id = saga.id;
                    batch.started.push(saga);
                    (id, 0)
                }
            };
            let (shard, seq) = (Shard::of(id, SHARDS), seq + 1);
            let head = &mut self.heads[usize::from(shard.0)];
            *head += 1;
            touched[usize::from(shard.0)] = true;
            batch.journal.push(JournalRow {
                shard,
                position: *head,
                saga_id: id,
                seq,
                at: Timestamp(self.now),
                format: JOURNAL_FORMAT,
                events: events(seq),
            });
            if seq == TRANSITIONS {
                batch.changed.push(state(id, Status::Completed, self.now));
            } else {
                self.flying.push_back((id, seq));
            }
        }
        let marks = (0..SHARDS).filter(|shard| touched[usize::from(*shard)]);
        batch.shards = marks.map(|shard| self.mark(shard)).collect();
        batch
    }

    fn mark(&self, shard: u16) -> ShardMark {
        let head = self.heads[usize::from(shard)];
        ShardMark { shard: Shard(shard), epoch: Epoch(1), journal_head: head, published_head: head, reply_cursor: 0 }
    }

    fn start(&mut self) -> SagaRow {
        self.started += 1;
        let key = self.keyed.then(|| IdempotencyKey::new(format!("order-{}", self.started)).expect("it is short"));
        let id = key
            .as_ref()
            .map_or_else(|| SagaId::from_uuid(Uuid::now_v7()), |key| SagaId::from_key(&self.saga_type, key));
        SagaRow {
            id,
            shard: Shard::of(id, SHARDS),
            saga_type: self.saga_type.clone(),
            version: 1,
            key,
            digest: Uuid::from_u128(u128::from(self.started)),
            started_at: Timestamp(self.now),
            state: state(id, Status::Running, self.now),
        }
    }
}

fn state(id: SagaId, status: Status, now: i64) -> SagaChange {
    SagaChange {
        id,
        status,
        paused: false,
        overdue: false,
        updated_at: Timestamp(now),
        step: None,
        attempt: 0,
        next_at: None,
        error_code: None,
        error_message: None,
    }
}

/// Events as long as those of an order.
fn events(seq: u64) -> String {
    let done = r#"{"step_succeeded":{"step":"charge_payment","output":{"payment_id":"0197a3c2-7b1e-7d4f-8f00-0123456789ab","amount":129999}}}"#;
    let next = r#"{"step_started":{"step":"reserve_inventory","attempt":1}}"#;
    match seq {
        1 => format!(
            r#"[{{"saga_started":{{"saga_type":"order","version":1,"input":{{"user_id":"user_123","currency":"USD","payment_method":"pm_ok","items":[{{"product_id":"LAPTOP001","product_name":"Gaming Laptop","quantity":1,"price":129999}}],"total":129999}},"deadline_at":1790000000000}}}},{next}]"#
        ),
        TRANSITIONS => format!(r#"[{done},"saga_completed"]"#),
        _ => format!("[{done},{next}]"),
    }
}

/// Bytes that this process has handed to the system, where the system tells.
fn written_bytes() -> u64 {
    let counters = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = counters.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Processor time of a process, where the system tells: user and system, in ticks of 10 ms.
fn cpu_time(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ').skip(11).take(2);
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}
