//! What goes into a store and comes out of it.

use amends_core::{Epoch, IdempotencyKey, Operation, SagaId, SagaType, Shard, Status, StepName, Timestamp, Transition};
use uuid::Uuid;

/// An engine process, as owners are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Fresh per process start (I30).
    pub incarnation: Uuid,
    /// Where others reach it, e.g. `127.0.0.1:7400`.
    pub address: String,
}

/// The engines and the shards at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// All members whose membership has not expired, by incarnation.
    pub engines: Vec<Owner>,
    /// All shards, in order.
    pub shards: Vec<ShardRow>,
}

/// A shard taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which.
    pub shard: Shard,
    /// The proof of ownership that every commit carries.
    pub epoch: Epoch,
    /// Last journal position committed.
    pub journal_head: i64,
    /// Last journal position whose domain events were published.
    pub published_head: i64,
    /// Next reply to read from the courier.
    pub reply_cursor: i64,
}

/// What one transaction of a lane writes.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The shards touched, in ascending order, with the epoch under which they are written and their new marks.
    pub shards: Vec<ShardMark>,
    /// One row per transition.
    pub journal: Vec<JournalRow>,
    /// New sagas, as they stand at the end of the batch.
    pub started: Vec<SagaRow>,
    /// Known sagas whose status changed or that begin to wait.
    pub changed: Vec<SagaChange>,
    /// What cannot be finished.
    pub dead_letters: Vec<DeadLetter>,
    /// What operators did.
    pub audit: Vec<AuditEntry>,
}

/// Fence and marks of one shard within a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMark {
    /// Which.
    pub shard: Shard,
    /// The epoch that must be the stored one.
    pub epoch: Epoch,
    /// The new last journal position.
    pub journal_head: i64,
    /// The new last published position.
    pub published_head: i64,
    /// The next reply to read.
    pub reply_cursor: i64,
}

/// One transition as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// The saga's shard.
    pub shard: Shard,
    /// Position within the shard, from 1, ascending.
    pub position: i64,
    /// The saga.
    pub saga_id: SagaId,
    /// Position within the saga, from 1, gapless.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Encoding of `events`.
    pub format: i16,
    /// The transition's events, a JSON array.
    pub events: String,
}

/// What the list of sagas shows and what a start is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaRow {
    /// Its name.
    pub id: SagaId,
    /// Its shard.
    pub shard: Shard,
    /// Its type.
    pub saga_type: SagaType,
    /// The version of the definition that it pins.
    pub version: u32,
    /// The client's key, if any.
    pub key: Option<IdempotencyKey>,
    /// Digest of the input: tells the same request from another one under the same key.
    pub digest: Uuid,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// Where it stands.
    pub state: SagaChange,
}

/// The part of a saga's row that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaChange {
    /// The saga.
    pub id: SagaId,
    /// Where it stands.
    pub status: Status,
    /// Whether commands are held back.
    pub paused: bool,
    /// Whether its deadline passed after the pivot.
    pub overdue: bool,
    /// When this was written.
    pub updated_at: Timestamp,
    /// The step that it waits at, if it waits.
    pub step: Option<StepName>,
    /// Sends of that step's command so far.
    pub attempt: u32,
    /// When the next is due.
    pub next_at: Option<Timestamp>,
    /// What last went wrong.
    pub error_code: Option<String>,
    /// The same for people.
    pub error_message: Option<String>,
}

/// A saga read back.
#[derive(Debug, Clone)]
pub struct StoredSaga {
    /// Its row.
    pub row: SagaRow,
    /// Its journal, in order; empty where the call says so.
    pub journal: Vec<Transition>,
    /// Why its journal cannot be read by this program, if so: then `journal` holds what comes before. One such saga
    /// must not stop the others of its shard (I35).
    pub unreadable: Option<String>,
}

/// What could not be finished: the command of a saga that parked, or a record that is no reply to anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Derived from saga, step, operation and seq, or from topic, partition and offset: written once.
    pub id: Uuid,
    /// The saga, if it is known.
    pub saga_id: Option<SagaId>,
    /// Its shard, or the one whose partition brought the record.
    pub shard: Shard,
    /// The step, if it is known.
    pub step: Option<StepName>,
    /// Which of its commands, if it is known.
    pub operation: Option<Operation>,
    /// Sends so far.
    pub attempts: u32,
    /// What went wrong.
    pub error_code: String,
    /// The same for people.
    pub error_message: String,
    /// When it was parked.
    pub at: Timestamp,
    /// The command, or the record bit for bit (I33, [`crate::courier::SourceRecord`]); JSON.
    pub record: String,
}

/// What an operator did (I36).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The saga.
    pub saga_id: SagaId,
    /// The journal row that it caused.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// What, e.g. `retry`.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// Which sagas to list; an empty filter means all.
#[derive(Debug, Clone, Default)]
pub struct SagaFilter {
    /// Only of this type.
    pub saga_type: Option<String>,
    /// Only in one of these; empty means any.
    pub statuses: Vec<Status>,
    /// Only at this step (that of the last journal row about a step, or that the saga waits at).
    pub step: Option<String>,
    /// Only with this key.
    pub key: Option<String>,
    /// Only with this text in the error's code or message, in any case.
    pub error: Option<String>,
    /// Only started at or after.
    pub since: Option<Timestamp>,
    /// Only started before.
    pub until: Option<Timestamp>,
    /// Only those that wait for a next attempt.
    pub retrying: bool,
    /// Only those parked, overdue, or unfinished and not moved since this time.
    pub stuck_since: Option<Timestamp>,
}

/// Which dead letters to list.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Only of this step.
    pub step: Option<String>,
    /// Only with this text in code or message.
    pub error: Option<String>,
}

/// A slice of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// At most this many.
    pub size: u32,
    /// The token that the page before gave; empty for the first. Opaque; a broken one is `Conflict`.
    pub token: String,
}

/// A page of sagas. `state.step` is filled for running sagas too, from their last journal row.
#[derive(Debug, Clone, Default)]
pub struct SagaPage {
    /// Newest first.
    pub rows: Vec<SagaRow>,
    /// Where the next page begins; empty if this was the last.
    pub next: String,
    /// Rows on all pages, or -1 if there are more than 10,000.
    pub total: i64,
}

/// A page of dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterPage {
    /// Newest first.
    pub rows: Vec<DeadLetter>,
    /// Where the next page begins; empty if this was the last.
    pub next: String,
}

/// A shard as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRow {
    /// Which.
    pub shard: Shard,
    /// Who has it, if anybody.
    pub owner: Option<Owner>,
    /// Until when.
    pub lease_until: Timestamp,
    /// It has no owner, or one whose lease has expired by the database's clock.
    pub free: bool,
    /// Why it stands still, if it does.
    pub halted: Option<String>,
    /// Counts its owners.
    pub epoch: Epoch,
    /// Its marks.
    pub journal_head: i64,
    /// Up to where domain events are published.
    pub published_head: i64,
    /// Next reply to read from the courier.
    pub reply_cursor: i64,
}

/// A topic as it was when it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRow {
    /// Its name.
    pub name: String,
    /// The broker's id of it.
    pub topic_id: Uuid,
    /// Its partitions.
    pub partitions: i32,
}

/// A definition as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionRow {
    /// Its type.
    pub saga_type: SagaType,
    /// Its version.
    pub version: u32,
    /// Digest of its meaning.
    pub checksum: Uuid,
    /// Its TOML.
    pub source: String,
}
