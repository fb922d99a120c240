//! What participants answer: replies as they come, and the records of a shard's log, each accounted for once (I22, I23).

use amends_core::{Input, Reply, SagaId};
use uuid::Uuid;

use super::lane::Lane;
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

    /// The next records of a log. The cursor moves with what they bring about.
    pub(super) fn records(&mut self, round: &mut Round, records: Records, known: &[SagaRow]) {
        let Records { shard, epoch, next, replies, poison } = records;
        let current = self.residents.shards.get(&shard).filter(|owned| owned.epoch == epoch);
        // Of an older epoch, or a run that was read before: whoever owns the shard has them, or will.
        if current.is_none_or(|owned| next <= owned.reply_cursor) {
            return;
        }
        for (reply, source) in replies {
            let id = reply.saga_id;
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
