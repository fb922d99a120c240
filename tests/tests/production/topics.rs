//! The topic of replies is deleted, gets more partitions, or loses what was not read: its shards stand still and say why,
//! nothing is skipped silently, and the remedy that the alarm names sets them going again.

use crate::bus::Draft;
use crate::cluster::Cluster;
use crate::judge::judge_all;
use crate::load::Load;
use crate::plan::seed;
use crate::process::{eventually, say};
use crate::settle::settle;

const RATE: u32 = 20;

/// Orders between two faults.
const ORDERS: usize = 60;

const SHARDS: i32 = 16;

/// Waits until every shard stands still for such a reason, and looks whether everybody is told.
async fn stands_still(cluster: &Cluster, because: &str, remedy: &str) {
    let why = eventually(&format!("every shard stands still: {because}"), || async {
        let shards = cluster.engine.shards().await;
        let reasons: Vec<String> = shards.into_iter().filter_map(|shard| shard.halted).collect();
        let all = reasons.len() == SHARDS as usize && reasons.iter().all(|why| why.contains(because));
        all.then(|| reasons[0].clone())
    })
    .await;
    say(&format!("halted: {why}"));
    assert!(why.contains(remedy), "the alarm names no remedy: {why}");
    // By any engine, in the list for people too.
    let told = cluster.operator(&["shards", "-o", "json"]).await;
    assert!(told.contains(because), "amends shards does not say why: {told}");
    let table = cluster.operator(&["shards", "--no-trunc"]).await;
    assert!(table.contains(because), "amends shards hides it from people: {table}");
    let doctor = cluster.attempt(&["doctor"]).await.expect_err("a shard that stands still is a finding");
    assert!(doctor.contains("stands still"), "amends doctor does not see it: {doctor}");
}

/// Waits until no shard stands still and orders end again.
async fn goes_on(cluster: &Cluster, load: &Load) {
    eventually("every shard goes on", || async {
        cluster.engine.shards().await.iter().all(|shard| shard.halted.is_none()).then_some(())
    })
    .await;
    let ended = "SELECT COUNT(*) FROM sagas WHERE status = 'completed'";
    let before = cluster.engine.number(ended).await;
    load.more(ORDERS).await;
    eventually("orders end again", || async {
        (cluster.engine.number(ended).await > before + ORDERS as i64 / 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_not_whole_halts_its_shards_until_an_operator_decides() {
    let seed = seed();
    let mut cluster = Cluster::start("topics", 2, 1).await;
    let replies = cluster.bus.replies();
    // Every partition holds something, so that every cursor has moved.
    let everywhere: Vec<Draft> = (0..SHARDS).map(|partition| Draft { partition, ..Draft::default() }).collect();
    cluster.bus.produce_replies(&everywhere).await;
    let load = Load::start(&cluster, 0, Some(RATE), seed);
    load.more(ORDERS).await;

    // Behind retention: records expire while no engine is there to read them.
    (0..2).for_each(|number| cluster.engines[number].kill());
    cluster.bus.produce_replies(&everywhere).await;
    cluster.bus.expire(&replies).await;
    let before = cursors(&cluster).await;
    (0..2).for_each(|number| cluster.start_engine(number));
    cluster.ready().await;
    stands_still(&cluster, "deleted before they were read", "amends bus ensure --adopt").await;
    assert_eq!(cursors(&cluster).await, before, "records were skipped silently");
    cluster.operator(&["bus", "ensure", "--adopt"]).await;
    goes_on(&cluster, &load).await;

    cluster.bus.delete(&|topic| topic == replies).await;
    stands_still(&cluster, "does not exist", "amends bus ensure").await;
    let before = cursors(&cluster).await;
    let refused = cluster.attempt(&["bus", "ensure"]).await.expect_err("what the topic held is lost");
    assert!(refused.contains("--adopt"), "amends bus ensure names no remedy: {refused}");
    // Somebody makes one of the same name.
    cluster.bus.create(&replies, SHARDS).await;
    stands_still(&cluster, "was deleted and made anew", "amends bus ensure --adopt").await;
    assert_eq!(cursors(&cluster).await, before, "records were skipped silently");
    cluster.operator(&["bus", "ensure", "--adopt"]).await;
    goes_on(&cluster, &load).await;

    cluster.bus.widen(&replies, SHARDS as usize + 4).await;
    stands_still(&cluster, "partitions, but there are", "delete the topic").await;
    cluster.bus.delete(&|topic| topic == replies).await;
    cluster.operator(&["bus", "ensure", "--adopt"]).await;
    goes_on(&cluster, &load).await;

    let outcome = load.finish(0).await;
    settle(&cluster).await;
    judge_all(&cluster, outcome.submitted, seed).await;
}

async fn cursors(cluster: &Cluster) -> Vec<i64> {
    cluster.engine.shards().await.into_iter().map(|shard| shard.reply_cursor).collect()
}
