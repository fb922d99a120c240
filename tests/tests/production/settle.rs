//! The end of a run: every saga comes to rest, operators do what is theirs, and the last messages arrive.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::process::{eventually, say};

/// Brings every saga to its end: parked ones are tried again as an operator would; where a user cannot be told, that is
/// passed over. Then waits until nothing is on its way any more.
pub(crate) async fn settle(cluster: &Cluster) {
    let mut redriven = 0;
    loop {
        eventually("I39: every saga has ended or is parked", || async {
            let moving = "SELECT COUNT(*) FROM sagas WHERE status IN ('running', 'compensating')";
            (cluster.engine.number(moving).await == 0).then_some(())
        })
        .await;
        let parked: Vec<(String, String, String)> = cluster
            .engine
            .rows(
                "SELECT s.saga_id::text, COALESCE(s.step, ''), j.events FROM sagas s JOIN journal j ON j.saga = s.number AND \
                 j.seq = 1 WHERE s.status = 'parked'",
            )
            .await;
        if parked.is_empty() {
            break;
        }
        for (saga, step, events) in parked {
            let untold =
                events.contains("unreachable_") && matches!(step.as_str(), "send_confirmation" | "notify_cancelled");
            let (verb, body) =
                if untold { ("skip", json!({ "step": step, "reason": "no such user" })) } else { ("retry", json!({})) };
            act(cluster, &saga, verb, &body).await;
            redriven += 1;
        }
    }
    quiet(cluster).await;
    say(&format!("{redriven} parked sagas were helped on"));
}

async fn act(cluster: &Cluster, saga: &str, verb: &str, body: &Value) {
    let url = format!("{}/v1/sagas/{saga}:{verb}", cluster.first_running().url());
    eventually(&format!("saga {saga} takes {verb}"), || async {
        let answer = cluster.http.post(&url).json(body).send().await.ok()?;
        let status = answer.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        assert_eq!(status, StatusCode::OK, "{url}: {}", answer.text().await.unwrap_or_default());
        Some(())
    })
    .await;
}

/// Domain events are out, have reached their subscribers, and every reply is accounted for.
async fn quiet(cluster: &Cluster) {
    eventually("I26: the marks of what is published reach the journals' heads", || async {
        // The mark is stored with the next commit of its shard; what counts is that the subscribers have all.
        let pending = "SELECT COUNT(*) FROM orders WHERE status = 'pending'";
        let held = "SELECT COUNT(*) FROM reservations WHERE state = 'reserved'";
        let open = cluster.participants.number(pending).await + cluster.participants.number(held).await;
        (open == 0).then_some(())
    })
    .await;
    let replies = cluster.bus.replies();
    eventually("I22: the cursors reach the ends of the log", || async {
        let ends = cluster.bus.ends(&replies).await;
        let shards = cluster.engine.shards().await;
        shards.iter().all(|shard| ends.get(&shard.shard) == Some(&shard.reply_cursor)).then_some(())
    })
    .await;
}
