//! Records in the topic of replies that are no replies, or not to what is outstanding: each gets its verdict, is kept bit
//! for bit where nobody wants it, and delays nobody.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use amends_tests::random::Random;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bus::{Draft, Record};
use crate::cluster::Cluster;
use crate::judge::judge_all;
use crate::load::Load;
use crate::plan::seed;
use crate::process::say;
use crate::settle::settle;

/// How long the rate is measured, without poison and with it.
const MEASURED: Duration = Duration::from_secs(10);

/// The first orders find caches cold and connections closed.
const WARM_UP: usize = 300;

/// Poison for each order: a tenth of the stream, since an order has four to five replies.
const PER_ORDER: f64 = 0.5;

const INJECT_EVERY: Duration = Duration::from_millis(250);

/// On a reply that was sent on to its own partition.
const REROUTED: &str = "amends-rerouted";

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    NullValue,
    RandomBytes,
    MissingHeaders,
    UnknownSaga,
    WrongCommand,
    WrongPartition,
}

const KINDS: [Kind; 6] = [
    Kind::NullValue,
    Kind::RandomBytes,
    Kind::MissingHeaders,
    Kind::UnknownSaga,
    Kind::WrongCommand,
    Kind::WrongPartition,
];

/// A saga that exists, and its shard.
type Known = (String, i32);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_gets_its_verdict_and_delays_nobody() {
    let seed = seed();
    let mut random = Random::new(seed);
    let cluster = Cluster::start("poison", 3, 2).await;
    let load = Load::start(&cluster, 0, None, seed);
    load.more(WARM_UP).await;

    let (begun, before) = (Instant::now(), ended(&cluster).await);
    tokio::time::sleep(MEASURED).await;
    let clean = (ended(&cluster).await - before) as f64 / begun.elapsed().as_secs_f64();

    let known: Vec<Known> = cluster.engine.rows("SELECT saga_id::text, shard FROM sagas LIMIT 500").await;
    let (begun, before, first) = (Instant::now(), ended(&cluster).await, load.accepted());
    let mut injected = Vec::new();
    while begun.elapsed() < MEASURED {
        tokio::time::sleep(INJECT_EVERY).await;
        let wanted = ((load.accepted() - first) as f64 * PER_ORDER) as usize;
        let fresh: Vec<(Kind, Draft)> =
            (injected.len()..wanted).map(|number| draft(number, &known, &mut random)).collect();
        let drafts: Vec<Draft> = fresh.iter().map(|(_, draft)| draft.clone()).collect();
        let places = cluster.bus.produce_replies(&drafts).await;
        injected.extend(fresh.into_iter().zip(places).map(|((kind, _), place)| (kind, place)));
    }
    let poisoned = (ended(&cluster).await - before) as f64 / begun.elapsed().as_secs_f64();
    say(&format!(
        "{clean:.0} orders/s without poison, {poisoned:.0} with {} poison records: {:.2}",
        injected.len(),
        poisoned / clean
    ));
    let outcome = load.finish(0).await;
    settle(&cluster).await;
    assert!(injected.len() > KINDS.len(), "there was no poison");
    verdicts(&cluster, &injected).await;
    judge_all(&cluster, outcome.submitted, seed).await;
}

async fn ended(cluster: &Cluster) -> i64 {
    cluster.engine.number("SELECT COUNT(*) FROM sagas WHERE status IN ('completed', 'compensated')").await
}

fn draft(number: usize, known: &[Known], random: &mut Random) -> (Kind, Draft) {
    let kind = KINDS[number % KINDS.len()];
    let mut bytes = || (0..16).map(|_| random.within(0..256) as u8).collect::<Vec<u8>>();
    let uuid = |bytes: Vec<u8>| Uuid::from_slice(&bytes).expect("sixteen bytes").to_string();
    let (noise, command, stranger) = (bytes(), uuid(bytes()), uuid(bytes()));
    let (saga, shard) = &known[random.within(0..known.len() as u64) as usize];
    let shards = 16;
    let (saga, partition) = match kind {
        Kind::WrongCommand => (saga.clone(), *shard),
        Kind::WrongPartition => (saga.clone(), (*shard + 1) % shards),
        _ => (stranger, random.within(0..shards as u64) as i32),
    };
    let headers = [
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", format!("poison-{number}")),
        ("ce_type", "amends.reply".to_owned()),
        ("ce_source", "/nobody".to_owned()),
        ("ce_subject", saga.clone()),
        ("amends-command-id", command),
        ("amends-step", "charge_payment".to_owned()),
        ("amends-operation", "execute".to_owned()),
        ("amends-attempt", "1".to_owned()),
        ("amends-outcome", "done".to_owned()),
    ];
    let mut headers: Vec<(String, Vec<u8>)> =
        headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    let mut value = Some(br#"{"payment_id":"forged"}"#.to_vec());
    match kind {
        Kind::NullValue => value = None,
        Kind::RandomBytes => {
            headers = vec![("ce_subject".to_owned(), noise.clone()), ("amends-outcome".to_owned(), noise.clone())];
            value = Some(noise);
        }
        Kind::MissingHeaders => headers.retain(|(name, _)| name != "amends-command-id"),
        Kind::UnknownSaga | Kind::WrongCommand | Kind::WrongPartition => {}
    }
    (kind, Draft { partition, key: Some(saga.into_bytes()), value, headers })
}

/// Every record has one verdict (I23), every injected one the right verdict, and dead letters are their records (I33).
async fn verdicts(cluster: &Cluster, injected: &[(Kind, (i32, i64))]) {
    let records = cluster.bus.read_all(&[cluster.bus.replies()]).await;
    let by_place: BTreeMap<(i32, i64), &Record> =
        records.iter().map(|record| ((record.partition, record.offset), record)).collect();
    let letters = letters(cluster, &by_place).await;
    let mut copies = BTreeMap::<&str, &Record>::new();
    for record in records.iter().filter(|record| record.header(REROUTED).is_some()) {
        let id = record.header("ce_id").expect("copies keep their headers");
        assert!(copies.insert(id, record).is_none(), "{id} was sent on twice");
    }
    let (mut kept, rerouted) = (0, copies.len());
    for (kind, place) in injected {
        let record = by_place[place];
        let copy = record.header("ce_id").and_then(|id| copies.get(id));
        let at = copy.map_or(*place, |copy| (copy.partition, copy.offset));
        let code = letters.get(&at).map(String::as_str);
        let (expected, may_move) = match kind {
            Kind::NullValue | Kind::RandomBytes | Kind::MissingHeaders => (Some("INVALID_REPLY"), Some(false)),
            Kind::UnknownSaga => (Some("UNKNOWN_SAGA"), None),
            Kind::WrongCommand => (None, Some(false)),
            // The next partition's shard is another lane's.
            Kind::WrongPartition => (None, Some(true)),
        };
        assert_eq!(code, expected, "I23: the verdict on {kind:?}: {record:?}");
        assert!(may_move.is_none_or(|moved| moved == copy.is_some()), "{kind:?} sent on: {copy:?}");
        kept += usize::from(expected.is_some());
    }
    assert_eq!(letters.len(), kept, "dead letters that nobody has injected");
    let mut counted = BTreeMap::new();
    for verdict in ["applied", "duplicate", "stale", "dead-lettered"] {
        let count = cluster.metric("amends_replies_total", &format!("verdict=\"{verdict}\"")).await;
        counted.insert(verdict, usize::try_from(count).expect("a count"));
    }
    say(&format!("{} records: {counted:?}, {rerouted} misrouted", records.len()));
    assert!(rerouted > 0, "nothing was misrouted");
    assert_eq!(counted["dead-lettered"], kept, "I23: {counted:?}");
    assert_eq!(counted.values().sum::<usize>() + rerouted, records.len(), "I23: {counted:?}, {rerouted} misrouted");
}

/// The dead letters of records, by place, with their codes; each is its record, bit for bit.
async fn letters(cluster: &Cluster, records: &BTreeMap<(i32, i64), &Record>) -> BTreeMap<(i32, i64), String> {
    let sql = "SELECT error_code, record FROM dead_letters WHERE step IS NULL";
    let mut letters = BTreeMap::new();
    for (code, text) in cluster.engine.rows::<(String, String)>(sql).await {
        let kept: Value = serde_json::from_str(&text).expect("a dead letter is JSON");
        let place =
            (kept["partition"].as_i64().expect("a partition") as i32, kept["offset"].as_i64().expect("an offset"));
        let record = records[&place];
        let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes));
        let headers: Vec<Value> =
            record.headers.iter().map(|(name, value)| json!({ "name": name, "value": bytes(value) })).collect();
        let expected = json!({
            "topic": record.topic, "partition": record.partition, "offset": record.offset,
            "timestamp": record.timestamp, "key": bytes(&record.key), "value": bytes(&record.value),
            "headers": headers,
        });
        assert_eq!(kept, expected, "I33");
        assert!(letters.insert(place, code).is_none(), "two dead letters of {place:?}");
    }
    letters
}
