//! The commit of a round, however long the database takes.

use std::sync::Arc;
use std::time::Duration;

use super::lane::{Lane, refuse_all};
use super::round::Round;
use crate::service::ServiceError;
use crate::store::{ShardMark, StoreError};

/// First and longest wait between tries to commit while the database cannot write.
const COMMIT_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

impl Lane {
    /// Commits a round. `None` if nothing of it may be acted upon.
    pub(super) async fn commit(&mut self, round: &mut Round) -> Option<Vec<ShardMark>> {
        let mut wait = COMMIT_RETRY.0;
        let mut uncertain = false;
        loop {
            let batch = Arc::new(std::mem::take(&mut round.batch));
            let timer = self.config.metrics.commit_seconds.start_timer();
            let result = self.config.store.commit(batch.clone()).await;
            timer.observe_duration();
            round.batch = Arc::unwrap_or_clone(batch);
            let Err(error) = result else {
                // Shared with the database until now; from here on it is what the world is told.
                round.dead_letters = std::mem::take(&mut round.batch.dead_letters);
                return Some(std::mem::take(&mut round.batch.shards));
            };
            self.config.metrics.commit_failures.inc();
            for answer in round.answers.drain(..) {
                answer.fail(ServiceError::Unavailable(error.to_string()));
            }
            match error {
                StoreError::Unavailable(_) => {
                    tracing::error!(%error, "cannot commit; nothing is acted upon until it succeeds");
                    uncertain = true;
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.config.cancel.cancelled() => return None,
                    }
                    wait = (wait * 2).min(COMMIT_RETRY.1);
                    self.refuse_waiting(&error);
                }
                // What one log has brought may concern any of the round's shards, and its cursor moves with all of it or not
                // at all (I22): so all of them are dropped, claimed anew and read again, be they still this engine's or not.
                StoreError::Fenced(shard) => {
                    tracing::warn!(%shard, "another owner has the shard; stepping down");
                    return self.drop_round(round);
                }
                StoreError::Conflict(_) | StoreError::Corrupt(_) => {
                    // After an unknown result a conflict is what a commit that did succeed looks like. Either way the
                    // store is right.
                    tracing::error!(%error, uncertain, "the store holds something else; reading the shards again");
                    return self.drop_round(round);
                }
            }
        }
    }

    /// Drops the shards of a round that was not committed. Nothing is left to act upon.
    fn drop_round(&mut self, round: &mut Round) -> Option<Vec<ShardMark>> {
        for mark in std::mem::take(&mut round.batch.shards) {
            self.drop_shard(mark.shard);
        }
        None
    }

    /// While nothing can be committed, callers are answered at once instead of waiting in the queue. A reply dropped
    /// here is no more than one lost on the way: its command's time-out brings it again.
    fn refuse_waiting(&mut self, error: &StoreError) {
        let mut inputs = Vec::new();
        while let Ok(input) = self.queue.try_recv() {
            inputs.push(input);
        }
        refuse_all(&mut inputs, &ServiceError::Unavailable(error.to_string()));
    }
}
