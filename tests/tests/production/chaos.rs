//! Processes and services fail under load; each time the cluster is whole again by itself, and in the end nothing
//! acknowledged is lost and nothing is done twice.

use std::time::{Duration, Instant};

use amends_tests::random::Random;
use tokio::task::JoinSet;
use xtask::services::StopMode;

use crate::cluster::{Cluster, blocking};
use crate::judge::judge_all;
use crate::load::Load;
use crate::plan::seed;
use crate::process::{eventually, say};
use crate::settle::settle;

/// Orders of each run, and how many a second: what a build without optimisation does on two cores, with room to recover.
const ORDERS: usize = 5_000;
const RATE: u32 = 75;

/// What docs/guarantees.md promises: a lease, and a heartbeat or two.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(15);

/// How often workers are killed, and the time between: some lose their lives before a commit, some after.
const WORKER_KILLS: u64 = 8;
const BETWEEN_KILLS_MS: std::ops::Range<u64> = 200..1_500;

/// How long an engine is stopped: several leases.
const STOPPED: Duration = Duration::from_secs(30);

/// Between two faults, so that one is seen to be survived before the next.
const ORDERS_BETWEEN: usize = 200;

/// Until every shard has an owner that is not at `gone`; tells how long that took.
async fn taken_over(cluster: &Cluster, what: &str, gone: &str) {
    let begun = Instant::now();
    eventually(&format!("{what}: every shard has another owner"), || async {
        let shards = cluster.engine.shards().await;
        let owned = |address: &str| !address.is_empty() && address != gone;
        shards.iter().all(|shard| owned(&shard.address)).then_some(())
    })
    .await;
    let took = begun.elapsed();
    say(&format!("{what}: every shard is owned again after {took:.1?}"));
    assert!(took <= TAKEN_OVER_MAX, "{what}: {took:?} without an owner");
}

/// Until an engine has its share again.
async fn rejoined(cluster: &Cluster, address: &str) {
    let begun = Instant::now();
    eventually("the engine owns shards again", || async {
        cluster.engine.shards().await.iter().any(|shard| shard.address == address).then_some(())
    })
    .await;
    let took = begun.elapsed();
    say(&format!("{address} owns shards again after {took:.1?}"));
    assert!(took <= TAKEN_OVER_MAX, "{address} rejoined after {took:?}");
}

/// Until as many orders have ended as were under way when the fault was over: what it held up is made up for.
async fn flows_again(cluster: &Cluster, what: &str) {
    let begun = Instant::now();
    let ended = "SELECT COUNT(*) FROM sagas WHERE status IN ('completed', 'compensated')";
    let held_up = "SELECT COUNT(*) FROM sagas WHERE status IN ('running', 'compensating')";
    let wanted = cluster.engine.number(ended).await + cluster.engine.number(held_up).await;
    eventually(&format!("{what}: orders end again"), || async {
        (cluster.engine.number(ended).await >= wanted).then_some(())
    })
    .await;
    say(&format!("{what}: what it held up has ended after {:.1?}", begun.elapsed()));
}

/// Ends the load, lets every order come to its end, and judges.
async fn conclude(mut cluster: Cluster, load: Load, seed: u64) {
    cluster.assert_alive();
    let outcome = load.finish(ORDERS).await;
    say(&format!(
        "{} orders in {:.1?}, {} requests sent again",
        outcome.submitted.len(),
        outcome.took,
        outcome.repeated
    ));
    settle(&cluster).await;
    judge_all(&cluster, outcome.submitted, seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_and_workers_that_die_or_sleep_lose_nothing() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut cluster = Cluster::start("processes", 3, 2).await;
    let load = Load::start(&cluster, 0, Some(RATE), seed);
    load.more(ORDERS_BETWEEN).await;

    let address = cluster.engines[0].address();
    cluster.engines[0].kill();
    taken_over(&cluster, "kill -9 of an engine", &address).await;
    load.more(ORDERS_BETWEEN).await;
    cluster.start_engine(0);
    cluster.ready().await;
    rejoined(&cluster, &address).await;
    load.more(ORDERS_BETWEEN).await;

    for kill in 0..WORKER_KILLS {
        let victim = usize::from(kill % 2 == 1);
        cluster.workers[victim].kill();
        cluster.start_worker(victim);
        tokio::time::sleep(Duration::from_millis(random.within(BETWEEN_KILLS_MS))).await;
    }
    load.more(ORDERS_BETWEEN).await;

    let address = cluster.engines[1].address();
    let held = cluster.engine.shards().await.iter().filter(|shard| shard.address == address).count();
    assert!(held > 0, "an engine without shards proves nothing");
    let stopped_at = Instant::now();
    cluster.engines[1].signal("STOP");
    taken_over(&cluster, "SIGSTOP of an engine", &address).await;
    tokio::time::sleep(STOPPED.saturating_sub(stopped_at.elapsed())).await;
    cluster.engines[1].signal("CONT");
    rejoined(&cluster, &address).await;
    let log = cluster.log_of("engine-1");
    assert!(log.contains("stepping down"), "I29: the engine that was stopped does not say that it steps down");

    load.more(ORDERS_BETWEEN).await;
    conclude(cluster, load, seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_that_restart_and_engines_that_are_replaced_lose_nothing() {
    let seed = seed();
    let mut cluster = Cluster::start("services", 3, 2).await;
    let load = Load::start(&cluster, 0, Some(RATE), seed);
    load.more(ORDERS_BETWEEN).await;

    // Killed, since a broker without others takes most of a minute to stop in order.
    let services = cluster.services.clone();
    blocking(move || {
        services.kill_kafka().expect("kafka is gone");
        services.start_kafka().expect("kafka is back");
    })
    .await;
    flows_again(&cluster, "restart of kafka").await;

    let services = cluster.services.clone();
    blocking(move || services.restart_postgres(StopMode::Immediate).expect("postgres is back")).await;
    taken_over(&cluster, "restart of postgres, immediate", "").await;
    flows_again(&cluster, "restart of postgres, immediate").await;

    for number in 0..cluster.engines.len() {
        let address = cluster.engines[number].address();
        cluster.engines[number].terminate().await;
        taken_over(&cluster, "SIGTERM of an engine", &address).await;
        cluster.start_engine(number);
        cluster.ready().await;
        rejoined(&cluster, &address).await;
        load.more(ORDERS_BETWEEN).await;
    }
    for number in 0..cluster.workers.len() {
        cluster.workers[number].terminate().await;
        cluster.start_worker(number);
        cluster.ready().await;
        load.more(ORDERS_BETWEEN).await;
    }
    conclude(cluster, load, seed).await;
}

/// Two requests under one key at the same moment, on two engines: one saga (I3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_on_all_engines_at_once_is_one_order() {
    let cluster = Cluster::start("race", 3, 1).await;
    let body = r#"{"user_id":"racer","items":[{"product_id":"MOUSE001","quantity":1,"price":"9.99"}]}"#;
    for round in 0..20 {
        let mut clients = JoinSet::new();
        for engine in &cluster.engines {
            let request =
                cluster.http.post(format!("{}/orders", engine.url())).header("content-type", "application/json");
            clients.spawn(request.header("idempotency-key", format!("race-{round}")).body(body).send());
        }
        let mut sagas = Vec::new();
        for answer in clients.join_all().await {
            let answer = answer.expect("an answer");
            assert_eq!(answer.status().as_u16(), 201, "{}", answer.text().await.unwrap_or_default());
            let body: serde_json::Value = answer.json().await.expect("JSON");
            sagas.push(body["saga_id"].to_string());
        }
        sagas.dedup();
        assert_eq!(sagas.len(), 1, "I3: {sagas:?}");
    }
    assert_eq!(cluster.engine.number("SELECT COUNT(*) FROM sagas").await, 20, "I3");
    settle(&cluster).await;
    assert_eq!(cluster.participants.number("SELECT COUNT(*) FROM payments").await, 20, "I14");
}
