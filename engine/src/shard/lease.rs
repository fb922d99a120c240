//! Who owns what: the task that says that this engine lives, and has its lanes take and give shards.
//!
//! The epoch in the database is the only proof of ownership; what this task knows is a moment old and may be wrong.
//! It only decides what to ask for. A lane that asks in vain, or writes under an epoch that is over, is told so.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use amends_core::{Epoch, Millis, Shard};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::share::plan;
use crate::store::{Cluster, Leases, Owner, StoreError};

/// Least pause between two heartbeats, whoever rings: a claim that fails is asked for again, but not without end.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Heartbeats within one lease: a few may be lost before others think that the engine is gone, and what an engine gives
/// up is found by the next within a beat.
const BEATS: u32 = 6;

/// No lease shorter than this is asked for by an engine that has company: a beat must fit in several times.
pub const LEASE_MIN: Millis = Millis(1_000);

/// How long a shard is nobody's, at the most, once its owner has died: its lease ends, and another finds that with its
/// next heartbeat. What the take-over costs comes on top.
pub(crate) fn orphaned_max(ttl: Millis) -> Duration {
    let ttl = Duration::from(ttl);
    ttl + ttl / BEATS
}

/// What the lanes hold, by shard: the epoch, or one of the two words below. Read by everybody, written by the lanes.
#[derive(Clone)]
pub(crate) struct Holdings(Arc<[AtomicI64]>);

/// No lane holds it.
const NONE: i64 = 0;
/// A lane has been asked to claim it.
const ASKED: i64 = -1;

impl Holdings {
    pub(crate) fn new(shards: u16) -> Self {
        Self((0..shards).map(|_| AtomicI64::new(NONE)).collect())
    }

    /// The epoch under which a lane holds it.
    pub(crate) fn epoch(&self, shard: Shard) -> Option<Epoch> {
        let word = self.0.get(usize::from(shard.0))?.load(Ordering::Acquire);
        (word > NONE).then_some(Epoch(word))
    }

    /// Shards that lanes hold.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().filter(|word| word.load(Ordering::Relaxed) > NONE).count()
    }

    pub(super) fn set(&self, shard: Shard, epoch: Option<Epoch>) {
        if let Some(word) = self.0.get(usize::from(shard.0)) {
            word.store(epoch.map_or(NONE, |epoch| epoch.0), Ordering::Release);
        }
    }

    /// Marks a free one as asked for; false if it is not free.
    fn ask(&self, shard: Shard) -> bool {
        let word = self.0.get(usize::from(shard.0));
        word.is_some_and(|word| word.compare_exchange(NONE, ASKED, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    /// All of them, as they are now.
    fn snapshot(&self) -> Vec<i64> {
        self.0.iter().map(|word| word.load(Ordering::Acquire)).collect()
    }
}

/// The task's state.
pub(crate) struct Keeper {
    pub(crate) leases: Arc<dyn Leases>,
    pub(crate) owner: Owner,
    /// How long a claim holds without a heartbeat; `None` for an engine that is alone: then its store keeps others out
    /// while it lives, and the next one must not wait for a dead owner's lease.
    pub(crate) ttl: Option<Millis>,
    pub(crate) holdings: Holdings,
    pub(crate) lanes: Vec<mpsc::Sender<Control>>,
    /// Rung when a lane has dropped a shard.
    pub(crate) bell: Arc<Notify>,
    pub(crate) cancel: CancellationToken,
}

impl Keeper {
    /// Beats until cancelled. `ready` is told once the first claims have been tried.
    pub(crate) async fn run(self, ready: oneshot::Sender<()>) {
        let mut ready = Some(ready);
        while !self.cancel.is_cancelled() {
            match self.beat().await {
                Ok(asked) if ready.is_some() => {
                    // An error means that the lane has ended: shutdown.
                    futures::future::join_all(asked).await;
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(());
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "no heartbeat; if this goes on, others will take the shards over");
                    self.bell.notify_one();
                }
            }
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep(PAUSE_MIN) => {}
            }
            let pause = async {
                match self.ttl {
                    Some(ttl) => tokio::time::sleep((Duration::from(ttl) / BEATS).saturating_sub(PAUSE_MIN)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = pause => {}
                () = self.bell.notified() => {}
            }
        }
    }

    /// One heartbeat, and what follows from it. Answers with a receiver per lane that was asked to claim.
    async fn beat(&self) -> Result<Vec<oneshot::Receiver<()>>, StoreError> {
        // Read before the database: what is held already then must show there, or somebody else has it.
        let held = self.holdings.snapshot();
        let cluster = self.leases.heartbeat(&self.owner, self.ttl.unwrap_or_default()).await?;
        self.drop_lost(&cluster, &held);
        let plan = plan(&cluster, self.owner.incarnation, |shard| self.holdings.epoch(shard).is_some());
        if !plan.release.is_empty() {
            tracing::info!(shards = ?numbers(&plan.release), "handing over what is beyond the even share");
            for (lane, shards) in self.by_lane(plan.release) {
                self.tell(lane, Control::Release(shards, None));
            }
        }
        let claim = plan.claim.into_iter().filter(|shard| self.holdings.ask(*shard)).collect();
        let mut asked = Vec::new();
        for (lane, shards) in self.by_lane(claim) {
            let (done, tried) = oneshot::channel();
            if !self.tell(lane, Control::Claim(shards.clone(), done)) {
                shards.iter().for_each(|shard| self.holdings.set(*shard, None));
            }
            asked.push(tried);
        }
        Ok(asked)
    }

    /// Never waits: a lane that is busy with a database that does not answer must not stop the heartbeats. What does not
    /// fit is asked for again by a later beat.
    fn tell(&self, lane: usize, control: Control) -> bool {
        self.lanes[lane].try_send(control).is_ok()
    }

    /// Has the lanes drop what others own by now. A paused engine that goes on learns it here, or by its next commit.
    fn drop_lost(&self, cluster: &Cluster, held: &[i64]) {
        for row in &cluster.shards {
            let held = held.get(usize::from(row.shard.0)).copied().unwrap_or(NONE);
            let own = row.owner.as_ref().is_some_and(|owner| owner.incarnation == self.owner.incarnation);
            if held > NONE && (!own || row.epoch.0 > held) {
                let lane = usize::from(row.shard.0) % self.lanes.len();
                self.tell(lane, Control::Drop(row.shard, Epoch(held)));
            }
        }
    }

    fn by_lane(&self, shards: Vec<Shard>) -> Vec<(usize, Vec<Shard>)> {
        let mut lanes = vec![Vec::new(); self.lanes.len()];
        for shard in shards {
            lanes[usize::from(shard.0) % self.lanes.len()].push(shard);
        }
        lanes.into_iter().enumerate().filter(|(_, shards)| !shards.is_empty()).collect()
    }
}

fn numbers(shards: &[Shard]) -> Vec<u16> {
    shards.iter().map(|shard| shard.0).collect()
}
