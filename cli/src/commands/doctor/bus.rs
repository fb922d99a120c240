//! The bus: whether it answers, and whether its topics are the ones that the database knows.

use amends_engine::courier::kafka::admin;
use amends_engine::courier::kafka::tail;
use tokio::time::timeout;

use super::store::Recorded;
use super::{Findings, PATIENCE, count};
use crate::config::Settings;
use crate::{bus, installed};

/// Copies below which one broker's loss is a topic's loss.
const REPLICATION_MIN: i32 = 2;

pub(super) async fn look(settings: &Settings, recorded: Option<Recorded>, findings: &mut Findings) {
    let shards = recorded.as_ref().map_or(1, |recorded| recorded.shards);
    let config = match bus::config(settings, shards, installed::participants()) {
        Ok(config) => config,
        Err(error) => return findings.error("bus", &error),
    };
    let wanted = admin::wanted(&config, &installed::definitions());
    let names: Vec<String> = wanted.into_iter().map(|topic| topic.name).collect();
    let found = match timeout(PATIENCE * 3, tail::topics(&config, &names)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return findings.error("bus", &bus::unusable(&config, &error)),
        Err(_) => {
            let what = format!("{} does not answer in time", config.bootstrap);
            return findings.fail("bus", what, "look at the brokers' logs");
        }
    };
    findings.ok("bus", format!("{} answers", config.bootstrap));
    let missing: Vec<&str> =
        found.iter().filter(|topic| topic.partitions.is_empty()).map(|topic| topic.name.as_str()).collect();
    if !missing.is_empty() {
        let what = format!("{} missing: {}", count(missing.len(), "topic"), missing.join(", "));
        findings.fail("bus", what, "amends bus ensure");
    }
    let there = found.iter().filter(|topic| !topic.partitions.is_empty());
    let single = there.clone().filter(|topic| topic.replication < REPLICATION_MIN).count();
    if single > 0 {
        let what = format!("{} with a single copy: lost with its broker", count(single, "topic"));
        findings.warn("bus", what, "more brokers, then kafka-reassign-partitions.sh; new topics: bus.replication");
    }
    let Some(recorded) = recorded else { return };
    let mut wrong = 0;
    for topic in there {
        let row = recorded.topics.iter().find(|row| row.name == topic.name);
        let complaint = match row {
            None => Some("is not recorded"),
            Some(row) if topic.id.is_some_and(|id| id != row.topic_id && !row.topic_id.is_nil()) => {
                Some("was deleted and made anew")
            }
            Some(_) => None,
        };
        if let Some(complaint) = complaint {
            wrong += 1;
            let next = if row.is_some() { "amends bus ensure --adopt" } else { "amends bus ensure" };
            findings.fail("bus", format!("the topic {} {complaint}", topic.name), next);
        }
    }
    if wrong == 0 && missing.is_empty() {
        findings.ok("bus", format!("all {} topics are as recorded", found.len()));
    }
}
