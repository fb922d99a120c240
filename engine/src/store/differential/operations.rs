//! Operations on a store, made at random, and the batches that come of them.

use amends_core::{Status, Timestamp};
use proptest::prelude::*;

use crate::store::conformance::fixture::{self, COMPLETED, OVERDUE, PAID, STARTED, WAITING, id, saga, state};
use crate::store::{Batch, DeadLetterFilter, JournalRow, SagaChange, SagaFilter, SagaRow};

/// What a batch has wrong with it, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    StaleEpoch,
    NoMark,
    TakenSeq,
    TakenPosition,
    UnknownSaga,
    StartedTwice,
    ChangedTwice,
    MarksBack,
    NotSorted,
}

/// What happens to one saga in a batch.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) saga: u128,
    pub(super) status: Status,
    pub(super) events: usize,
    pub(super) changes: bool,
    pub(super) waits: bool,
    pub(super) paused: bool,
    pub(super) at: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Claim(u128, u8, bool),
    Heartbeat(u128),
    Release(u8, i64),
    Leave(u128),
    Halt(u8, bool),
    Commit(Vec<Move>, Option<Flaw>, Vec<(u128, bool)>),
    Load(Vec<u128>),
    Saga(u128),
    Recover(u8),
    JournalAfter(u8, i64, u32),
    List(SagaFilter, u32),
    Letters(DeadLetterFilter, u32),
    Suffix(u8),
    Definition(u32, u128),
    Topic(u8, u128, bool, bool),
}

const EVENTS: [&str; 7] = [
    STARTED,
    PAID,
    WAITING,
    COMPLETED,
    OVERDUE,
    "[]",
    r#"[{"odd":"\u0000"},7,{"step_started":{"step":"pay","attempt":3}}]"#,
];

/// Few sagas, so that they meet.
fn saga_number() -> impl Strategy<Value = u128> {
    1..9_u128
}

fn status() -> impl Strategy<Value = Status> {
    proptest::sample::select(&Status::ALL[..])
}

fn moves() -> impl Strategy<Value = Move> {
    (saga_number(), status(), 0..EVENTS.len(), any::<[bool; 3]>(), 0..6_i64).prop_map(
        |(saga, status, events, [changes, waits, paused], at)| Move {
            saga,
            status,
            events,
            changes,
            waits,
            paused,
            at,
        },
    )
}

fn flaw() -> impl Strategy<Value = Option<Flaw>> {
    use Flaw::{
        ChangedTwice, MarksBack, NoMark, NotSorted, StaleEpoch, StartedTwice, TakenPosition, TakenSeq, UnknownSaga,
    };
    let flaws =
        [StaleEpoch, NoMark, TakenSeq, TakenPosition, UnknownSaga, StartedTwice, ChangedTwice, MarksBack, NotSorted];
    proptest::option::weighted(0.3, proptest::sample::select(flaws.to_vec()))
}

fn text(texts: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    proptest::option::weighted(0.25, proptest::sample::select(texts).prop_map(str::to_owned))
}

fn filter() -> impl Strategy<Value = SagaFilter> {
    let time = || proptest::option::weighted(0.2, (0..7_i64).prop_map(Timestamp));
    (
        text(&["order", "other"]),
        proptest::collection::vec(status(), 0..3),
        text(&["pay", "ship", "none"]),
        text(&["k 1", "k'"]),
        text(&["SLOW", "answer", "%"]),
        (time(), time(), time()),
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(saga_type, mut statuses, step, key, error, (since, until, stuck_since), retrying)| {
            statuses.dedup();
            SagaFilter { saga_type, statuses, step, key, error, since, until, retrying, stuck_since }
        })
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let some = |most| proptest::collection::vec(saga_number(), 0..most);
    prop_oneof![
        2 => (1..4_u128, 0..16_u8, any::<bool>()).prop_map(|(who, shards, long)| Op::Claim(who, shards, long)),
        1 => (1..4_u128).prop_map(Op::Heartbeat),
        1 => (0..16_u8, -2..3_i64).prop_map(|(shards, by)| Op::Release(shards, by)),
        1 => (1..4_u128).prop_map(Op::Leave),
        1 => (0..4_u8, any::<bool>()).prop_map(|(shard, why)| Op::Halt(shard, why)),
        9 => (
            proptest::collection::vec(moves(), 0..5),
            flaw(),
            proptest::collection::vec((1..5_u128, any::<bool>()), 0..2)
        ).prop_map(|(moves, flaw, letters)| Op::Commit(moves, flaw, letters)),
        1 => some(5).prop_map(Op::Load),
        1 => saga_number().prop_map(Op::Saga),
        1 => (0..4_u8).prop_map(Op::Recover),
        1 => (0..4_u8, 0..5_i64, 0..4_u32).prop_map(|(shard, after, limit)| Op::JournalAfter(shard, after, limit)),
        4 => (filter(), 1..4_u32).prop_map(|(filter, size)| Op::List(filter, size)),
        1 => (text(&["ship", "pay"]), text(&["OUT", "none"]), 1..3_u32)
            .prop_map(|(step, error, size)| Op::Letters(DeadLetterFilter { step, error }, size)),
        1 => (0..10_u8).prop_map(Op::Suffix),
        1 => (1..3_u32, 0..2_u128).prop_map(|(version, checksum)| Op::Definition(version, checksum)),
        1 => (0..2_u8, 0..3_u128, any::<bool>(), proptest::bool::weighted(0.1))
            .prop_map(|(name, id, replace, rewind)| Op::Topic(name, id, replace, rewind)),
    ]
}

/// Adds a saga's move, as a round does.
pub(super) fn add(batch: &mut Batch, seqs: &mut [u64; 10], step: &Move) {
    let row = saga(step.saga, (step.saga % 4) as u16, step.at);
    let change = SagaChange {
        paused: step.paused,
        step: step.waits.then(|| fixture::step("pay")),
        attempt: u32::from(step.waits),
        next_at: step.waits.then_some(Timestamp(99)),
        error_code: step.waits.then(|| "SLOW".to_owned()),
        error_message: step.waits.then(|| "no answer".to_owned()),
        ..state(row.id, step.status, step.at)
    };
    let seq = &mut seqs[step.saga as usize];
    *seq += 1;
    let mark = &mut batch.shards[usize::from(row.shard.0)];
    mark.journal_head += 1;
    let (position, events) = (mark.journal_head, if *seq == 1 { STARTED } else { EVENTS[step.events] }.to_owned());
    batch.journal.push(JournalRow {
        shard: row.shard,
        position,
        saga_id: row.id,
        seq: *seq,
        at: Timestamp(step.at),
        format: 1,
        events,
    });
    if *seq == 1 {
        batch.started.push(SagaRow { state: change, ..row });
    } else if step.changes {
        match batch.changed.iter_mut().find(|known| known.id == change.id) {
            Some(known) => *known = change,
            None => batch.changed.push(change),
        }
    }
}

/// Makes a batch that must not pass, if it has what the flaw needs.
pub(super) fn spoil(batch: &mut Batch, flaw: Flaw) {
    match flaw {
        Flaw::StaleEpoch => batch.shards[2].epoch.0 -= 1,
        Flaw::NoMark => drop(batch.shards.remove(1)),
        Flaw::TakenSeq => batch.journal.iter_mut().for_each(|row| row.seq = 1),
        Flaw::TakenPosition => batch.journal.iter_mut().for_each(|row| row.position = 1),
        Flaw::UnknownSaga => batch.journal.iter_mut().for_each(|row| row.saga_id = id(77)),
        Flaw::StartedTwice => batch.started.extend(batch.started.clone()),
        Flaw::ChangedTwice => batch.changed.extend(batch.changed.clone()),
        Flaw::MarksBack => batch.shards[3].reply_cursor = -1,
        Flaw::NotSorted => batch.shards.reverse(),
    }
}
