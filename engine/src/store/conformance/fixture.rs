//! Sagas, events and batches for the cases.

use std::collections::BTreeMap;
use std::sync::Arc;

use amends_core::{JOURNAL_FORMAT, Millis, Operation, SagaId, SagaType, Shard, Status, StepName, Timestamp};
use uuid::Uuid;

use super::SHARDS;
use crate::store::{
    Archive, Batch, DeadLetter, JournalRow, Lease, Leases, Owner, Page, SagaChange, SagaFilter, SagaPage, SagaRow,
    ShardMark, Store, StoreError,
};

pub(in crate::store) const STARTED: &str = r#"[{"saga_started":{"saga_type":"order","version":1,"input":{"a":1}}},{"step_started":{"step":"pay","attempt":1}}]"#;
pub(in crate::store) const PAID: &str =
    r#"[{"step_succeeded":{"step":"pay","output":null}},{"step_started":{"step":"ship","attempt":1}}]"#;
pub(in crate::store) const WAITING: &str = r#"[{"step_timed_out":{"step":"pay","operation":"execute","attempt":1}},
    {"retry_scheduled":{"step":"pay","operation":"execute","attempt":1,"at":900,"failure":{"code":"SLOW","message":""}}}]"#;
pub(in crate::store) const SENT_AGAIN: &str = r#"[{"step_started":{"step":"pay","attempt":2}}]"#;
pub(in crate::store) const COMPLETED: &str = r#"[{"step_succeeded":{"step":"ship","output":null}},"saga_completed"]"#;
pub(in crate::store) const OVERDUE: &str = r#"["saga_overdue"]"#;

pub(in crate::store) fn owner(n: u128) -> Owner {
    Owner { incarnation: Uuid::from_u128(n), address: format!("10.0.0.{n}:7400") }
}

pub(in crate::store) fn id(n: u128) -> SagaId {
    SagaId::from_uuid(Uuid::from_u128(n))
}

pub(in crate::store) fn step(name: &str) -> StepName {
    StepName::new(name).expect("a valid name")
}

pub(in crate::store) fn shards() -> Vec<Shard> {
    (0..SHARDS).map(Shard).collect()
}

/// A running order, accepted at `at`.
pub(in crate::store) fn saga(n: u128, shard: u16, at: i64) -> SagaRow {
    SagaRow {
        id: id(n),
        shard: Shard(shard),
        saga_type: SagaType::new("order").expect("a valid name"),
        version: 1,
        key: None,
        digest: Uuid::from_u128(n),
        started_at: Timestamp(at),
        state: state(id(n), Status::Running, at),
    }
}

pub(in crate::store) fn state(id: SagaId, status: Status, at: i64) -> SagaChange {
    SagaChange {
        id,
        status,
        paused: false,
        overdue: false,
        updated_at: Timestamp(at),
        step: None,
        attempt: 0,
        next_at: None,
        error_code: None,
        error_message: None,
    }
}

pub(in crate::store) fn letter(n: u128, at: i64) -> DeadLetter {
    DeadLetter {
        id: Uuid::from_u128(n),
        saga_id: Some(id(n)),
        shard: Shard(0),
        step: Some(step("ship")),
        operation: Some(Operation::Execute),
        attempts: 3,
        error_code: "OUT_OF_STOCK".to_owned(),
        error_message: "none left".to_owned(),
        at: Timestamp(at),
        record: r#"{"a":1}"#.to_owned(),
    }
}

/// Writes batches as the owner of all shards.
pub(in crate::store) struct Scribe<'s, T> {
    store: &'s T,
    leases: BTreeMap<Shard, Lease>,
    heads: BTreeMap<Shard, i64>,
    /// What the next commit writes; the fence and the marks are added to it.
    pub(in crate::store) batch: Batch,
}

impl<'s, T: Store + Archive + Leases> Scribe<'s, T> {
    pub(in crate::store) async fn new(store: &'s T) -> Self {
        let leases = store.claim(&owner(1), &shards(), Millis(60_000)).await.expect("a claim");
        let leases: BTreeMap<_, _> = leases.into_iter().map(|lease| (lease.shard, lease)).collect();
        let heads = leases.values().map(|lease| (lease.shard, lease.journal_head)).collect();
        Self { store, leases, heads, batch: Batch::default() }
    }

    /// Adds a saga with its first journal row.
    pub(in crate::store) fn start(&mut self, saga: &SagaRow) {
        self.batch.started.push(saga.clone());
        self.append(saga, 1, saga.started_at.0, STARTED);
    }

    /// Adds a journal row.
    pub(in crate::store) fn append(&mut self, saga: &SagaRow, seq: u64, at: i64, events: &str) {
        let head = self.heads.entry(saga.shard).or_default();
        *head += 1;
        self.batch.journal.push(JournalRow {
            shard: saga.shard,
            position: *head,
            saga_id: saga.id,
            seq,
            at: Timestamp(at),
            format: JOURNAL_FORMAT,
            events: events.to_owned(),
        });
    }

    /// Adds what a saga's row becomes, with the journal row that says so.
    pub(in crate::store) fn change(&mut self, saga: &SagaRow, seq: u64, events: &str, change: SagaChange) {
        self.append(saga, seq, change.updated_at.0, events);
        self.batch.changed.push(change);
    }

    /// What is to be committed, fenced for the shards that have moved.
    pub(in crate::store) fn take(&mut self) -> Batch {
        let mut batch = std::mem::take(&mut self.batch);
        for lease in self.leases.values_mut() {
            let head = self.heads.get(&lease.shard).copied().unwrap_or_default();
            if head != lease.journal_head || batch.journal.is_empty() {
                lease.journal_head = head;
                batch.shards.push(mark(lease));
            }
        }
        batch
    }

    pub(in crate::store) async fn commit(&mut self) -> Result<(), StoreError> {
        let batch = self.take();
        self.store.commit(Arc::new(batch)).await
    }
}

/// Leaves a shard's marks as they are.
pub(in crate::store) fn mark(lease: &Lease) -> ShardMark {
    ShardMark {
        shard: lease.shard,
        epoch: lease.epoch,
        journal_head: lease.journal_head,
        published_head: lease.published_head,
        reply_cursor: lease.reply_cursor,
    }
}

/// The first page, of any length that the cases need.
pub(in crate::store) async fn list(store: &impl Archive, filter: SagaFilter) -> SagaPage {
    store.list(&filter, &Page { size: 100, token: String::new() }).await.expect("a page")
}

/// The ids of a page, as their numbers.
pub(in crate::store) fn numbers(page: &SagaPage) -> Vec<u128> {
    page.rows.iter().map(|row| row.id.as_uuid().as_u128()).collect()
}

/// Everything that a commit can leave behind, counted.
pub(in crate::store) async fn written(subject: &impl super::Subject) -> [i64; 5] {
    [
        subject.sql("SELECT count(*) FROM sagas").await.expect("a count"),
        subject.sql("SELECT count(*) FROM journal").await.expect("a count"),
        subject.sql("SELECT count(*) FROM dead_letters").await.expect("a count"),
        subject.sql("SELECT count(*) FROM audit").await.expect("a count"),
        subject.sql("SELECT CAST(sum(journal_head) AS bigint) FROM shards").await.expect("a sum"),
    ]
}
