//! The same random operations on both stores, which must answer the same: one that passes where the other conflicts is
//! found here even if no case of the conformance suite has thought of it.

mod operations;

use std::fmt::Debug;
use std::sync::Arc;

use amends_core::{Epoch, Millis, Operation, SagaType, Shard, Timestamp};
use futures::join;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestCaseResult};
use uuid::Uuid;

use self::operations::{Flaw, Move, Op, add, op, spoil};
use super::conformance::fixture::{id, owner};
use super::conformance::{SHARDS, fixture};
use super::postgres::tests::Place;
use super::postgres::{PostgresOptions, PostgresStore};
use super::sqlite::SqliteStore;
use super::*;

/// The two stores, and what is needed to make batches that mostly pass.
struct Pair {
    lite: SqliteStore,
    post: PostgresStore,
    /// Transitions committed, by saga.
    seqs: [u64; 10],
    _place: Place,
}

/// Answers, as they are compared: errors by their kind, since the words are the databases' own.
fn answer<T: Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(StoreError::Conflict(_)) => "a conflict".to_owned(),
        Err(StoreError::Fenced(shard)) => format!("fenced in {shard}"),
        Err(StoreError::Corrupt(_)) => "corrupt".to_owned(),
        Err(error @ StoreError::Unavailable(_)) => panic!("{error}"),
    }
}

/// Two clocks do not read the same.
fn timeless(mut rows: Vec<ShardRow>) -> Vec<ShardRow> {
    rows.iter_mut().for_each(|row| row.lease_until = Timestamp(0));
    rows
}

fn sorted(mut stored: Vec<StoredSaga>) -> Vec<StoredSaga> {
    stored.sort_by_key(|stored| stored.row.id);
    stored
}

fn chosen(mask: u8) -> Vec<Shard> {
    (0..SHARDS).filter(|shard| mask & (1 << shard) != 0).map(Shard).collect()
}

macro_rules! both {
    ($pair:ident, $op:expr, |$store:ident| $call:expr) => {{
        let (lite, post) = join!(
            async {
                let $store = &$pair.lite;
                answer($call)
            },
            async {
                let $store = &$pair.post;
                answer($call)
            }
        );
        prop_assert_eq!(&lite, &post, "SQLite and Postgres differ on {:?}", $op);
        lite
    }};
}

impl Pair {
    async fn new() -> Self {
        let place = Place::new().await;
        PostgresStore::migrate(&place.url, Some(SHARDS)).await.unwrap();
        // One writer: sagas of one millisecond are told apart by numbers, of which each connection takes some ahead.
        let options = PostgresOptions { writers: 1, ..PostgresOptions::default() };
        let post = PostgresStore::connect(&place.url, options).await.unwrap();
        let lite = SqliteStore::open(":memory:", SHARDS).await.unwrap();
        Self { lite, post, seqs: [0; 10], _place: place }
    }

    async fn act(&mut self, op: &Op) -> TestCaseResult {
        let long = |long: bool| Millis(if long { 600_000 } else { 0 });
        match op {
            Op::Claim(who, shards, held) => {
                both!(self, op, |store| store.claim(&owner(*who), &chosen(*shards), long(*held)).await);
            }
            Op::Heartbeat(who) => {
                both!(self, op, |store| store
                    .heartbeat(&owner(*who), long(true))
                    .await
                    .map(|cluster| { (cluster.engines, timeless(cluster.shards)) }));
            }
            Op::Release(shards, by) => {
                let marks = self.marks(&chosen(*shards), *by).await;
                both!(self, op, |store| store.release(&marks).await);
            }
            Op::Leave(who) => {
                both!(self, op, |store| store.leave(&owner(*who)).await);
            }
            Op::Halt(shard, why) => {
                let epoch = Epoch(i64::from(*shard) / 2);
                let why = why.then_some("it's over");
                both!(self, op, |store| store.note_halt(Shard(u16::from(*shard)), epoch, why).await);
            }
            Op::Commit(moves, flaw, letters) => {
                let (batch, seqs) = self.batch(moves, *flaw, letters).await;
                let batch = Arc::new(batch);
                if both!(self, (op, &batch), |store| store.commit(batch.clone()).await) == "()" {
                    self.seqs = seqs;
                }
            }
            Op::Definition(version, checksum) => {
                let saga_type = SagaType::new("order").unwrap();
                let checksum = Uuid::from_u128(*checksum);
                let row = DefinitionRow { saga_type, version: *version, checksum, source: "s".to_owned() };
                both!(self, op, |store| store.save_definition(&row).await);
                both!(self, op, |store| store.definitions().await);
            }
            Op::Topic(name, id, replace, rewind) => {
                let name = ["a", "B"][usize::from(*name)].to_owned();
                let row = TopicRow { name, topic_id: Uuid::from_u128(*id), partitions: 4 };
                if *replace {
                    both!(self, op, |store| store.replace_topic(&row, *rewind).await);
                } else {
                    both!(self, op, |store| store.record_topic(&row).await);
                }
                both!(self, op, |store| store.topics().await);
            }
            query => self.ask(query).await?,
        }
        both!(self, op, |store| store.shards().await.map(timeless));
        Ok(())
    }

    async fn ask(&self, op: &Op) -> TestCaseResult {
        match op {
            Op::Load(ids) => {
                let ids: Vec<_> = ids.iter().copied().map(id).collect();
                both!(self, op, |store| store.load(&ids).await.map(sorted));
            }
            Op::Saga(n) => {
                both!(self, op, |store| store.saga(id(*n)).await);
            }
            Op::Recover(shard) => {
                both!(self, op, |store| store.recover(Shard(u16::from(*shard))).await);
            }
            Op::JournalAfter(shard, after, limit) => {
                both!(self, op, |store| store.journal_after(Shard(u16::from(*shard)), *after, *limit).await);
            }
            Op::Suffix(n) => {
                // Which two of many is nobody's business.
                let few = |ids: Vec<SagaId>| if ids.len() < 2 { ids } else { Vec::new() };
                both!(self, op, |store| store.by_suffix(&format!("0{n}")).await.map(few));
            }
            Op::List(filter, size) => {
                let mut token = [String::new(), String::new()];
                loop {
                    let page = |at: usize| Page { size: *size, token: token[at].clone() };
                    let pages = [page(0), page(1)];
                    let (lite, post) = join!(self.lite.list(filter, &pages[0]), self.post.list(filter, &pages[1]));
                    let (lite, post) = (lite.unwrap(), post.unwrap());
                    prop_assert_eq!(&lite.rows, &post.rows, "{:?}", op);
                    prop_assert_eq!(lite.total, post.total, "{:?}", op);
                    prop_assert_eq!(lite.next.is_empty(), post.next.is_empty(), "{:?}", op);
                    if lite.next.is_empty() {
                        return Ok(());
                    }
                    token = [lite.next, post.next];
                }
            }
            Op::Letters(filter, size) => {
                let page = Page { size: *size, token: String::new() };
                both!(self, op, |store| store
                    .dead_letters(filter, &page)
                    .await
                    .map(|page| { (page.rows, page.next.is_empty()) }));
            }
            other => return Err(TestCaseError::fail(format!("{other:?} is no question"))),
        }
        Ok(())
    }

    /// The marks of some shards as they are stored, moved.
    async fn marks(&self, shards: &[Shard], by: i64) -> Vec<ShardMark> {
        let rows = self.lite.shards().await.unwrap().into_iter().filter(|row| shards.contains(&row.shard));
        let mark = |row: ShardRow| ShardMark {
            shard: row.shard,
            epoch: row.epoch,
            journal_head: row.journal_head,
            published_head: row.published_head + by,
            reply_cursor: row.reply_cursor + by,
        };
        rows.map(mark).collect()
    }

    /// A batch, and how many transitions each saga has after it.
    async fn batch(&self, moves: &[Move], flaw: Option<Flaw>, letters: &[(u128, bool)]) -> (Batch, [u64; 10]) {
        let mut batch = Batch { shards: self.marks(&chosen(15), 1).await, ..Batch::default() };
        let mut seqs = self.seqs;
        for step in moves {
            add(&mut batch, &mut seqs, step);
        }
        for (n, whole) in letters {
            let mut letter = fixture::letter(*n, *n as i64 % 3);
            if *whole {
                letter.operation = Some(Operation::Compensate);
            } else {
                (letter.saga_id, letter.step, letter.operation) = (None, None, None);
            }
            batch.dead_letters.push(letter);
        }
        if let Some(flaw) = flaw {
            spoil(&mut batch, flaw);
        }
        (batch, seqs)
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, max_shrink_iters: 60, failure_persistence: None, ..Config::default() })]
    #[test]
    fn both_stores_answer_the_same(ops in proptest::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new().await;
            let all = Op::Claim(1, 15, true);
            pair.act(&all).await?;
            for op in &ops {
                pair.act(op).await?;
            }
            for last in [Op::List(SagaFilter::default(), 3), Op::Letters(DeadLetterFilter::default(), 100)] {
                pair.act(&last).await?;
            }
            TestCaseResult::Ok(())
        })?;
    }
}
