//! Hands the records of one assignment to the engine, in their order: one task for each shard and epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use amends_core::{Epoch, Shard};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::decode::{Verdict, judge};
use super::outgoing::Outgoing;
use super::wanted::Wanted;
use crate::courier::{Inlet, Records, Source};

/// Runs that may wait for a shard's engine. Each is bounded by what one poll gathers.
pub(super) const QUEUE: usize = 4;

/// Runs that came while the engine was busy are joined up to this many records: as many as a round of a lane likes.
const JOINED: usize = 512;

/// What the poll thread hands over.
pub(super) enum Handover {
    /// The next records.
    Run(Vec<Source>),
    /// The shard stands still, or no longer.
    Halt(Option<String>),
}

/// One assignment, as its task sees it.
pub(super) struct Assignment {
    pub(super) shard: Shard,
    pub(super) epoch: Epoch,
    pub(super) shards: u16,
    /// The shards that the engine has.
    pub(super) wanted: Arc<Wanted>,
    /// The position after what the engine has taken.
    pub(super) taken: Arc<AtomicI64>,
    pub(super) inlet: Arc<dyn Inlet>,
    pub(super) outgoing: Arc<Outgoing>,
    /// Ends the task, whatever it waits for.
    pub(super) over: CancellationToken,
}

impl Assignment {
    /// Hands over until the assignment is over.
    pub(super) async fn run(self, queue: mpsc::Receiver<Handover>) {
        self.over.run_until_cancelled(self.hand_over(queue)).await;
    }

    async fn hand_over(&self, mut queue: mpsc::Receiver<Handover>) {
        let mut next = queue.recv().await;
        while let Some(item) = next.take() {
            match item {
                Handover::Halt(why) => self.inlet.halt(self.shard, self.epoch, why).await,
                Handover::Run(mut run) => {
                    while run.len() < JOINED {
                        match queue.try_recv() {
                            Ok(Handover::Run(more)) => run.extend(more),
                            Ok(halt) => {
                                next = Some(halt);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.records(run).await;
                }
            }
            if next.is_none() {
                next = queue.recv().await;
            }
        }
    }

    async fn records(&self, run: Vec<Source>) {
        let Some(next) = run.last().map(|source| source.offset + 1) else { return };
        let mut records =
            Records { shard: self.shard, epoch: self.epoch, next, replies: Vec::new(), poison: Vec::new() };
        let mut elsewhere = Vec::new();
        records.replies.reserve(run.len());
        for source in run {
            match judge(&source, self.shards) {
                Verdict::Reply(right, reply) if right == self.shard || self.wanted.has(right) => {
                    records.replies.push((reply, source));
                }
                Verdict::Reply(right, _) => elsewhere.push((right, source)),
                Verdict::Poison(poison) => records.poison.push(poison),
            }
        }
        if !elsewhere.is_empty() {
            records.poison.extend(self.outgoing.send_on_once(elsewhere).await);
        }
        self.inlet.records(records).await;
        self.taken.store(next, Ordering::Release);
    }
}
