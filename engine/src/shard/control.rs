//! How a lane takes shards and gives them up.

use amends_core::{Epoch, Shard};
use tokio::sync::oneshot;

use super::lane::Lane;
use super::now;
use super::recovery::recover;
use super::resident::Halt;

/// Messages that may wait for one lane; there are a few per shard at most.
pub(crate) const CONTROL_QUEUE: usize = 256;

/// What a lane is told about its shards.
pub(crate) enum Control {
    /// Take them over, if they are free. The sender is dropped, or told, when that has been tried.
    Claim(Vec<Shard>, oneshot::Sender<()>),
    /// Hand them over: finish what is under way, and free them.
    Release(Vec<Shard>, Option<oneshot::Sender<()>>),
    /// Another owner has it; nothing of it may be acted upon any more (I29).
    Drop(Shard, Epoch),
    /// Its log cannot be read on, or it can again.
    Halt(Shard, Epoch, Option<String>),
}

impl Lane {
    /// Does what it is told, between two rounds.
    pub(super) async fn control(&mut self, control: Control) {
        match control {
            Control::Claim(shards, done) => {
                if let Err(error) = recover(&mut self.residents, &self.config, &shards).await {
                    tracing::error!(%error, "cannot take shards over; trying again");
                    for shard in &shards {
                        self.drop_shard(*shard);
                    }
                }
                shards.iter().for_each(|shard| self.residents.not_claimed(*shard));
                let _ = done.send(());
            }
            Control::Release(shards, done) => {
                self.release(&shards).await;
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }
            Control::Drop(shard, epoch) => {
                if self.epoch(shard).is_some_and(|held| held <= epoch) {
                    tracing::warn!(%shard, "another owner has the shard; stepping down");
                    self.drop_shard(shard);
                }
            }
            Control::Halt(shard, epoch, why) => self.halt(shard, epoch, why).await,
        }
    }

    /// Lets go of a shard, and rings for those who decide what comes next.
    pub(super) fn drop_shard(&mut self, shard: Shard) {
        if self.residents.drop_shard(shard).is_some() {
            self.config.courier.revoked(shard);
        }
        self.config.bell.notify_one();
    }

    fn epoch(&self, shard: Shard) -> Option<Epoch> {
        self.residents.shards.get(&shard).map(|owned| owned.epoch)
    }

    async fn release(&mut self, shards: &[Shard]) {
        let mut marks = Vec::with_capacity(shards.len());
        for shard in shards {
            let Some(owned) = self.residents.drop_shard(*shard) else { continue };
            self.config.courier.revoked(*shard);
            marks.push(owned.mark(*shard));
        }
        if marks.is_empty() {
            return;
        }
        // Not freed means that the next owner waits for the end of the lease.
        if let Err(error) = self.config.leases.release(&marks).await {
            tracing::warn!(%error, "shards not handed over; their leases will end by themselves");
        }
    }

    async fn halt(&mut self, shard: Shard, epoch: Epoch, why: Option<String>) {
        if self.epoch(shard) != Some(epoch) {
            return;
        }
        match &why {
            Some(why) => {
                tracing::error!(%shard, why, "the shard stands still; amends doctor says what to do");
                self.residents.halt(shard, Halt { why: why.clone(), since: now() });
            }
            None => {
                tracing::info!(%shard, "the shard goes on");
                self.residents.go_on(shard, now());
            }
        }
        if let Err(error) = self.config.leases.note_halt(shard, epoch, why.as_deref()).await {
            tracing::warn!(%shard, %error, "the halt is not noted in the database");
        }
    }
}
