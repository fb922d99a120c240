//! What the lock on a shard is good for, with a second connection that holds it (I27, I28).

use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_core::{Epoch, Millis, Shard};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, raw_sql};
use tokio::time::{sleep, timeout};

use super::session::IDLE_IN_TRANSACTION;
use super::tests::Specimen;
use super::{PostgresStore, shards};
use crate::store::conformance::fixture::{Scribe, letter, mark, owner, saga, shards as all_shards, written};
use crate::store::{Archive, Batch, DeadLetter, Lease, Leases, ShardMark, Store, StoreError, TopicBook, TopicRow};

/// Long enough for a statement to reach the server and wait there.
const A_WHILE: Duration = Duration::from_millis(300);

async fn sql(connection: &mut PgConnection, statement: &str) {
    raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.unwrap();
}

/// A batch for shard 0 that starts a saga.
async fn batch(specimen: &Specimen) -> Arc<Batch> {
    let mut scribe = Scribe::new(&specimen.store).await;
    scribe.start(&saga(1, 0, 5));
    Arc::new(scribe.take())
}

#[tokio::test]
async fn a_commit_waits_for_a_claim_under_way_and_is_fenced_by_it() {
    let specimen = Specimen::new().await;
    let batch = batch(&specimen).await;
    let mut other = specimen.place.connect().await;
    sql(&mut other, "BEGIN; UPDATE shards SET epoch = epoch + 1 WHERE shard = 0").await;
    let store = specimen.store.clone();
    let commit = tokio::spawn(async move { store.commit(batch).await });
    sleep(A_WHILE).await;
    assert!(!commit.is_finished(), "the commit must wait: the epoch may be about to change");
    sql(&mut other, "COMMIT").await;
    assert!(matches!(commit.await.unwrap(), Err(StoreError::Fenced(Shard(0)))));
    assert_eq!(written(&specimen).await, [0; 5]);
}

#[tokio::test]
async fn a_commit_goes_on_when_a_claim_under_way_is_given_up() {
    let specimen = Specimen::new().await;
    let batch = batch(&specimen).await;
    let mut other = specimen.place.connect().await;
    sql(&mut other, "BEGIN; UPDATE shards SET epoch = epoch + 1 WHERE shard = 0").await;
    let store = specimen.store.clone();
    let commit = tokio::spawn(async move { store.commit(batch).await });
    sleep(A_WHILE).await;
    sql(&mut other, "ROLLBACK").await;
    commit.await.unwrap().unwrap();
    assert_eq!(written(&specimen).await, [1, 1, 0, 0, 1]);
}

#[tokio::test]
async fn a_commit_keeps_what_a_heartbeat_under_way_has_written() {
    let specimen = Specimen::new().await;
    let leases = specimen.store.claim(&owner(1), &all_shards(), Millis(60_000)).await.unwrap();
    let marks = leases.iter().map(|lease| ShardMark { journal_head: 1, ..mark(lease) }).collect();
    let mut other = specimen.place.connect().await;
    sql(&mut other, "BEGIN; UPDATE shards SET lease_until = 7777 WHERE shard <> 1").await;
    let store = specimen.store.clone();
    let commit = tokio::spawn(async move { store.commit(Batch { shards: marks, ..Batch::default() }.into()).await });
    sleep(A_WHILE).await;
    sql(&mut other, "COMMIT").await;
    commit.await.unwrap().unwrap();
    let rows = specimen.store.shards().await.unwrap();
    assert!(rows.iter().all(|row| row.journal_head == 1 && (row.lease_until.0 == 7777) == (row.shard.0 != 1)));
}

/// What an engine does to all its shards at once, while a commit to some of them is under way.
async fn during_a_commit<T: Send + 'static>(
    specimen: &Specimen,
    act: impl AsyncFn(&PostgresStore, &[Lease]) -> Result<T, StoreError>,
) -> T {
    let leases = specimen.store.claim(&owner(1), &all_shards(), Millis(60_000)).await.unwrap();
    let mut other = specimen.place.connect().await;
    sql(&mut other, "BEGIN; UPDATE shards SET journal_head = 3 WHERE shard <> 1").await;
    let commit = async {
        sleep(A_WHILE).await;
        sql(&mut other, "COMMIT").await;
    };
    let (done, ()) = futures::join!(act(&specimen.store, &leases), commit);
    done.unwrap()
}

#[tokio::test]
async fn an_owner_claims_all_of_its_own_though_a_commit_is_under_way() {
    let specimen = Specimen::new().await;
    let claim = async |store: &PostgresStore, _: &[Lease]| store.claim(&owner(1), &all_shards(), Millis(9)).await;
    let again = during_a_commit(&specimen, claim).await;
    assert_eq!(
        again.iter().map(|lease| (lease.epoch, lease.journal_head)).collect::<Vec<_>>(),
        [(Epoch(2), 3), (Epoch(2), 0), (Epoch(2), 3), (Epoch(2), 3)]
    );
}

#[tokio::test]
async fn a_heartbeat_renews_all_though_a_commit_is_under_way() {
    let specimen = Specimen::new().await;
    let beat = async |store: &PostgresStore, _: &[Lease]| store.heartbeat(&owner(1), Millis(0)).await;
    let cluster = during_a_commit(&specimen, beat).await;
    assert!(cluster.shards.iter().all(|row| row.free), "the lease of each is over at once");
}

#[tokio::test]
async fn a_release_frees_all_though_a_commit_is_under_way() {
    let specimen = Specimen::new().await;
    let release = async |store: &PostgresStore, leases: &[Lease]| {
        let marks: Vec<_> = leases.iter().map(|lease| ShardMark { reply_cursor: 5, ..mark(lease) }).collect();
        store.release(&marks).await
    };
    during_a_commit(&specimen, release).await;
    let rows = specimen.store.shards().await.unwrap();
    assert!(rows.iter().all(|row| row.owner.is_none() && row.reply_cursor == 5));
    assert_eq!(rows.iter().map(|row| row.journal_head).collect::<Vec<_>>(), [3, 0, 3, 3]);
}

#[tokio::test]
async fn who_leaves_frees_all_though_a_commit_is_under_way() {
    let specimen = Specimen::new().await;
    let leave = async |store: &PostgresStore, _: &[Lease]| store.leave(&owner(1)).await;
    during_a_commit(&specimen, leave).await;
    assert!(specimen.store.shards().await.unwrap().iter().all(|row| row.owner.is_none()));
}

#[tokio::test]
async fn a_rewind_fences_all_though_a_commit_is_under_way() {
    let specimen = Specimen::new().await;
    let rewind = async |store: &PostgresStore, _: &[Lease]| {
        let topic = TopicRow { name: "replies".to_owned(), topic_id: uuid::Uuid::nil(), partitions: 4 };
        store.replace_topic(&topic, true).await
    };
    during_a_commit(&specimen, rewind).await;
    assert!(specimen.store.shards().await.unwrap().iter().all(|row| row.epoch == Epoch(2)));
}

#[tokio::test]
async fn marks_are_read_when_the_commit_under_way_has_ended() {
    let specimen = Specimen::new().await;
    let mut other = specimen.place.connect().await;
    sql(&mut other, "BEGIN; UPDATE shards SET journal_head = 4 WHERE shard = 2").await;
    let store = specimen.store.clone();
    let reading = tokio::spawn(async move {
        let session = store.0.writers.take().await?;
        session.run(async |connection| shards::locked(connection, &[2]).await).await
    });
    sleep(A_WHILE).await;
    assert!(!reading.is_finished(), "a plain read would say that nothing was committed");
    sql(&mut other, "COMMIT").await;
    assert_eq!(reading.await.unwrap().unwrap()[0].journal_head, 4);
}

#[tokio::test]
async fn a_paused_owner_holds_up_nobody_but_its_shard_and_that_not_for_long() {
    let specimen = Specimen::new().await;
    let store = &specimen.store;
    store.claim(&owner(1), &all_shards(), Millis(50)).await.unwrap();
    // Stopped in the middle of a commit, with all the settings that its connection has.
    let mut paused = store.0.writers.take().await.unwrap();
    sql(paused.connection(), "BEGIN; UPDATE shards SET journal_head = 1 WHERE shard = 0").await;
    sleep(Duration::from_millis(100)).await;
    let begin = Instant::now();
    let others = store.claim(&owner(2), &all_shards(), Millis(60_000)).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "a claim waits for nobody's lock");
    assert_eq!(others.iter().map(|lease| lease.shard.0).collect::<Vec<_>>(), [1, 2, 3]);
    let last = loop {
        let last = store.claim(&owner(2), &[Shard(0)], Millis(60_000)).await.unwrap();
        if let Some(last) = last.first() {
            break last.clone();
        }
        assert!(begin.elapsed() < IDLE_IN_TRANSACTION + Duration::from_secs(3), "the paused owner holds on");
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((last.epoch, last.journal_head), (Epoch(2), 0), "what it had begun is gone");
    assert!(raw_sql("COMMIT").execute(paused.connection()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_heartbeats_and_claims_do_not_stand_in_each_others_way() {
    let specimen = Specimen::new().await;
    let store = &specimen.store;
    let leases = store.claim(&owner(1), &all_shards(), Millis(60_000)).await.unwrap();
    let batch = Arc::new(Batch { shards: leases.iter().map(mark).collect(), ..Batch::default() });
    let commits = async {
        for _ in 0..200 {
            store.commit(batch.clone()).await.unwrap();
        }
    };
    let beats = async {
        for _ in 0..200 {
            store.heartbeat(&owner(1), Millis(60_000)).await.unwrap();
        }
    };
    let claims = async {
        for n in 0..200 {
            assert!(store.claim(&owner(2 + n % 2), &all_shards(), Millis(60_000)).await.unwrap().is_empty());
        }
    };
    let all = async { futures::join!(commits, beats, claims) };
    timeout(Duration::from_secs(60), all).await.expect("nobody waits for a deadlock to be found");
}

#[tokio::test]
async fn the_database_refuses_rows_without_the_marks_of_their_shard() {
    let specimen = Specimen::new().await;
    let store = &specimen.store;
    let mut scribe = Scribe::new(store).await;
    scribe.start(&saga(1, 0, 5));
    scribe.commit().await.unwrap();
    let before = written(&specimen).await;
    let row = "INSERT INTO journal (saga, position, at, shard, seq, format, events)
               SELECT number, 2, 0, 0, 2, 1, '[]' FROM sagas";
    for refused in [
        row.to_owned(),
        format!("UPDATE shards SET journal_head = 2 WHERE shard = 1; {row}"),
        "UPDATE sagas SET status = 'parked'".to_owned(),
        "INSERT INTO sagas SELECT number + 1, started_at, updated_at, next_at, gen_random_uuid(), digest, shard, version,
           attempt, paused, overdue, saga_type, key, status FROM sagas".to_owned(),
    ] {
        let error = specimen.place.sql(&refused).await.unwrap_err();
        assert!(error.contains("only together with the marks of the shard"), "{refused}: {error}");
    }
    assert_eq!(written(&specimen).await, before);
    specimen.place.sql(&format!("UPDATE shards SET journal_head = 2 WHERE shard = 0; {row}")).await.unwrap();
}

#[tokio::test]
async fn a_mark_that_would_go_back_is_a_conflict() {
    let specimen = Specimen::new().await;
    let store = &specimen.store;
    let lease = store.claim(&owner(1), &[Shard(0)], Millis(60_000)).await.unwrap().remove(0);
    let ahead = ShardMark { reply_cursor: 10, ..mark(&lease) };
    store.commit(Batch { shards: vec![ahead], ..Batch::default() }.into()).await.unwrap();
    // What a try that the server had not begun with would do later, when its owner has long gone on.
    let letters = vec![DeadLetter { shard: Shard(0), ..letter(1, 5) }];
    let late = Batch { shards: vec![mark(&lease)], dead_letters: letters, ..Batch::default() };
    assert!(matches!(store.commit(late.into()).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.shards().await.unwrap()[0].reply_cursor, 10);
    assert_eq!(written(&specimen).await, [0; 5]);
}
