//! What participants answer: replies as they come, and the records of a shard's log, each accounted for once (I22, I23).

use amends_core::{Input, Reply, SagaId};
use uuid::Uuid;

use super::lane::{Lane, LaneInput};
use super::now;
use super::round::{DEAD_LETTERS, Round};
use crate::courier::{Poison, Records, SourceRecord};
use crate::metrics::Verdict;
use crate::store::{DeadLetter, SagaRow};

/// A reply to a saga that does not exist.
const UNKNOWN_SAGA: &str = "UNKNOWN_SAGA";

impl Lane {
    /// Replies without a position: what is not applied now has been lost on the way, and its command comes again.
    pub(super) fn replies(&mut self, round: &mut Round, replies: Vec<Reply>) {
        for reply in replies {
            self.reply(round, reply);
        }
    }

    /// Sends on what logs have brought for sagas that are not this lane's, or no more: a shard may have been handed over
    /// while the reply was on its way. Rare, unless records are forged, so that it may wait for the broker for a moment.
    pub(super) async fn send_on(&self, inputs: &mut [LaneInput]) {
        let mut gone = Vec::new();
        for records in inputs.iter_mut().filter_map(LaneInput::records).filter(|records| self.is_next(records)) {
            let right = |reply: &Reply| self.residents.shard_of(reply.saga_id);
            let not_here = |(reply, _): &mut (Reply, _)| !self.residents.shards.contains_key(&right(reply));
            gone.extend(records.replies.extract_if(.., not_here).map(|(reply, source)| (right(&reply), source)));
        }
        if gone.is_empty() {
            return;
        }
        let Err(why) = self.config.courier.send_on(&gone).await else { return };
        tracing::warn!(count = gone.len(), %why, "replies not sent on to their shards");
        for (right, source) in gone {
            let from = |records: &&mut Records| {
                i32::from(records.shard.0) == source.partition && source.offset < records.next && self.is_next(records)
            };
            if let Some(records) = inputs.iter_mut().filter_map(LaneInput::records).find(from) {
                records.poison.push(Poison::misrouted(source, right, &why));
            }
        }
    }

    /// Whether records are of the shard's current epoch and not yet accounted for: else whoever owns the shard has them,
    /// or will.
    fn is_next(&self, records: &Records) -> bool {
        let current = self.residents.shards.get(&records.shard).filter(|owned| owned.epoch == records.epoch);
        current.is_some_and(|owned| records.next > owned.reply_cursor)
    }

    /// The next records of a log. The cursor moves with what they bring about.
    pub(super) fn records(&mut self, round: &mut Round, records: Records, known: &[SagaRow]) {
        if !self.is_next(&records) {
            return;
        }
        let Records { shard, next, replies, poison, .. } = records;
        for (reply, source) in replies {
            let id = reply.saga_id;
            // What is said of it holds only if the shard is still this lane's, whether anything follows from it or not.
            round.touch(self.residents.shard_of(id));
            if self.residents.contains(id) || known.iter().any(|row| row.id == id) {
                self.reply(round, reply);
            } else {
                let message = format!("there is no saga {id}");
                round.bury(letter(shard, Some(id), Poison { source, code: UNKNOWN_SAGA, message }));
                self.config.metrics.verdict(Verdict::DeadLettered);
            }
        }
        for poison in poison {
            tracing::warn!(%shard, code = poison.code, why = poison.message, "a record is no reply to anything");
            round.bury(letter(shard, None, poison));
            self.config.metrics.verdict(Verdict::DeadLettered);
        }
        if let Some(owned) = self.residents.shards.get_mut(&shard) {
            owned.reply_cursor = next;
            round.touch(shard);
        }
    }

    fn reply(&mut self, round: &mut Round, reply: Reply) {
        let id = reply.saga_id;
        let verdict = round.apply(&mut self.residents, id, &Input::Reply(reply));
        self.config.metrics.verdict(Verdict::of(&verdict));
        if let Err(verdict) = verdict {
            tracing::debug!(saga = %id, %verdict, "reply not applied");
        }
    }
}

/// A dead letter that keeps its record bit for bit (I33), named by its place in the log: written once.
fn letter(shard: amends_core::Shard, saga_id: Option<SagaId>, poison: Poison) -> DeadLetter {
    let SourceRecord { topic, partition, offset, .. } = &*poison.source;
    DeadLetter {
        id: Uuid::new_v5(&DEAD_LETTERS, format!("{topic}/{partition}/{offset}").as_bytes()),
        saga_id,
        shard,
        step: None,
        operation: None,
        attempts: 0,
        error_code: poison.code.to_owned(),
        error_message: poison.message,
        at: now(),
        record: serde_json::to_string(&*poison.source).unwrap_or_default(),
    }
}
