//! Replies to sagas that another engine has by now: each goes to the partition of its saga's own shard.
//!
//! An engine asks for all the answers of a batch in one partition, that of one of its shards. Shards change hands, and so
//! what comes there may be for a shard that has gone elsewhere.

use std::time::Duration;

use amends_core::Shard;
use rdkafka::message::Header;

use super::decode::is_rerouted;
use super::outgoing::{Key, Outbound, Outgoing, Pace, headers};
use crate::courier::{CourierError, Poison, Source};

/// On a reply that was sent on to its own partition: the one where it was found. It is sent on only once.
pub(super) const REROUTED: &str = "amends-rerouted";

/// How long the others that came with them may be held up; then they are dead letters (I35).
const PATIENCE: Duration = Duration::from_secs(2);

impl Outgoing {
    /// `Ok` once all are in their own partitions.
    pub(super) async fn send_on(&self, replies: &[(Shard, Source)]) -> Result<(), CourierError> {
        let outbound = replies.iter().map(|(right, source)| {
            let kept = source.headers.iter().map(|header| (header.name.as_str(), header.value.as_deref()));
            Outbound {
                topic: &source.topic,
                partition: Some(i32::from(right.0)),
                key: source.key.as_deref().map(Key::Bytes),
                value: source.value.as_deref(),
                headers: headers(kept).insert(Header { key: REROUTED, value: Some(&source.partition.to_string()) }),
            }
        });
        let late = || CourierError::Unavailable("the broker has not acknowledged it in time".to_owned());
        let delivered = tokio::time::timeout(PATIENCE, self.deliver(outbound, Pace::Prompt)).await;
        delivered.unwrap_or_else(|_| Err(late()))
    }

    /// Sends on what was not sent on before; gives back what may not have arrived.
    pub(super) async fn send_on_once(&self, replies: Vec<(Shard, Source)>) -> Vec<Poison> {
        let (again, first): (Vec<_>, Vec<_>) = replies.into_iter().partition(|(_, source)| is_rerouted(source));
        let again =
            again.into_iter().map(|(right, source)| Poison::misrouted(source, right, &"it was sent on already"));
        let mut poison: Vec<_> = again.collect();
        if !first.is_empty()
            && let Err(why) = self.send_on(&first).await
        {
            tracing::warn!(count = first.len(), %why, "replies not sent on to their partitions");
            poison.extend(first.into_iter().map(|(right, source)| Poison::misrouted(source, right, &why)));
        }
        poison
    }
}
