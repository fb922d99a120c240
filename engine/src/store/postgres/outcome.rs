//! What became of a commit: an error of the network says nothing about it, so the database is asked.

use std::time::{Duration, Instant};

use super::commit;
use super::error::{is_to_be_repeated, is_unknown, store_error};
use super::session::{Purpose, Session, Sessions};
use super::shards;
use crate::store::{Batch, StoreError};

/// How long it is tried to find out what became of a commit. Then the caller decides; what it holds is not lost.
pub(super) const SETTLE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 15 });

/// Between two tries to reach the database.
const PAUSE: Duration = Duration::from_millis(100);

/// Tries of a statement that was rolled back for no reason of its own. Each is another's progress.
const REPEATS: u32 = 5;

/// What became of one try.
enum Outcome {
    Known(Result<(), StoreError>),
    /// Rolled back, and may simply run again.
    Again(StoreError),
    /// It may have been committed, or may still be.
    Unknown(StoreError),
}

/// Commits a batch. Whatever happens on the way, the answer is what the database holds; `Unavailable` says that the batch
/// is not committed, or that the database cannot be asked.
pub(super) async fn commit(writers: &Sessions, batch: &Batch) -> Result<(), StoreError> {
    let mut repeats = REPEATS;
    let mut unknown_since: Option<Instant> = None;
    loop {
        let session = match writers.take().await {
            Ok(session) => session,
            Err(error) => {
                if unknown_since.is_none_or(|since| since.elapsed() > SETTLE) {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match attempt(session, batch).await {
            Outcome::Known(Err(StoreError::Conflict(why))) if unknown_since.is_some() => {
                // What an earlier try of this very batch has left looks like a conflict to a later one.
                return match settle(writers, batch, Instant::now()).await? {
                    true => Ok(()),
                    false => Err(StoreError::Conflict(why)),
                };
            }
            Outcome::Known(answer) => return answer,
            Outcome::Again(error) if repeats == 0 => return Err(error),
            Outcome::Again(_) => repeats -= 1,
            Outcome::Unknown(error) => {
                tracing::warn!(%error, "the connection was lost in a commit; asking what became of it");
                let since = *unknown_since.get_or_insert_with(Instant::now);
                if settle(writers, batch, since).await? {
                    return Ok(());
                }
                if since.elapsed() > SETTLE {
                    return Err(error);
                }
            }
        }
    }
}

async fn attempt(mut session: Session<'_>, batch: &Batch) -> Outcome {
    let sent = tokio::time::timeout(Purpose::Write.patience(), commit::send(session.connection(), batch)).await;
    let error = match sent {
        Ok(Ok(())) => return Outcome::Known(session.settle(Ok(())).await),
        Ok(Err(error)) => error,
        Err(_) => return Outcome::Unknown(StoreError::Unavailable("it does not answer".to_owned())),
    };
    let (unknown, again) = (is_unknown(&error), is_to_be_repeated(&error));
    let error = store_error(error);
    // What the server itself says leaves a connection that can be used; unless it cannot write, then another may.
    let kept = if unknown { Err(StoreError::Unavailable(String::new())) } else { Err(error.clone()) };
    let _ = session.settle::<()>(kept).await;
    match error {
        error if unknown => Outcome::Unknown(error),
        error if again => Outcome::Again(error),
        error => Outcome::Known(Err(error)),
    }
}

/// Asks whether a batch was committed, waiting for it if it still is being. False: it was not, and may be sent again.
///
/// An earlier try that the server has not begun with yet cannot be waited for. It does no harm later: its journal rows'
/// positions are taken then, or it takes those of the next try, which then asks again; and marks only go up.
async fn settle(writers: &Sessions, batch: &Batch, since: Instant) -> Result<bool, StoreError> {
    let numbers: Vec<i32> = batch.shards.iter().map(|mark| i32::from(mark.shard.0)).collect();
    loop {
        let asked = async {
            let session = writers.take().await?;
            session.run(async |connection| shards::locked(connection, &numbers).await).await
        };
        match asked.await {
            Ok(stored) => return decide(batch, &stored),
            Err(error) if since.elapsed() > SETTLE => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// What the stored marks say of a batch. A shard under another epoch: it may have been committed before its owner
/// changed, but nothing may be acted upon, so it counts as fenced. The journal's heads are this owner's alone to move,
/// so where the batch has moved one, it is there. One that moves none leaves nothing that a second time would change.
fn decide(batch: &Batch, stored: &[shards::Locked]) -> Result<bool, StoreError> {
    let mut committed = false;
    for (mark, stored) in batch.shards.iter().zip(stored) {
        if mark.shard != stored.shard || mark.epoch != stored.epoch {
            return Err(StoreError::Fenced(mark.shard));
        }
        committed |= mark.journal_head == stored.journal_head
            && batch.journal.iter().any(|row| row.shard == mark.shard && row.position == stored.journal_head);
    }
    Ok(committed)
}
