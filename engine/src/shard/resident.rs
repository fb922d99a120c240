//! The unfinished sagas that a lane holds in memory, their wake-ups, and the shards that they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use amends_core::{Epoch, Saga, SagaId, Shard, Timestamp, timers};
use tokio::sync::watch;

use crate::store::{Lease, ShardMark};

/// A shard that this engine owns.
#[derive(Debug)]
pub(crate) struct OwnedShard {
    epoch: Epoch,
    /// Last position given to a journal row.
    pub(crate) journal_head: i64,
    reply_cursor: i64,
    /// Written by the publisher, stored with the next commit.
    pub(crate) published: Arc<AtomicI64>,
    /// Sagas in memory; read by queries.
    pub(crate) sagas: Arc<AtomicUsize>,
}

impl OwnedShard {
    /// Takes the marks over from a lease.
    pub(crate) fn new(lease: &Lease, sagas: Arc<AtomicUsize>) -> Self {
        Self {
            epoch: lease.epoch,
            journal_head: lease.journal_head,
            reply_cursor: lease.reply_cursor,
            published: Arc::new(AtomicI64::new(lease.published_head)),
            sagas,
        }
    }

    /// Fence and marks for a commit.
    pub(crate) fn mark(&self, shard: Shard) -> ShardMark {
        ShardMark {
            shard,
            epoch: self.epoch,
            journal_head: self.journal_head,
            published_head: self.published.load(Ordering::Acquire),
            reply_cursor: self.reply_cursor,
        }
    }
}

/// One saga in memory.
pub(crate) struct Resident {
    /// As of its last decided transition.
    pub(crate) saga: Saga,
    /// Who wants to know when its journal grows.
    pub(crate) followers: Option<watch::Sender<u64>>,
    wake_at: Option<Timestamp>,
}

/// The sagas of a lane, by id, with one wake-up each at the earliest of their timers.
pub(crate) struct Residents {
    /// The shards of this lane.
    pub(crate) shards: BTreeMap<Shard, OwnedShard>,
    /// Shards of all lanes of this engine; read by the readiness probe.
    owned: Arc<AtomicUsize>,
    count: u16,
    sagas: HashMap<SagaId, Resident>,
    wakeups: BTreeSet<(Timestamp, SagaId)>,
}

impl Residents {
    /// An empty set; `count` is the number of shards of the whole installation.
    pub(crate) fn new(count: u16, owned: Arc<AtomicUsize>) -> Self {
        Self { shards: BTreeMap::new(), owned, count, sagas: HashMap::new(), wakeups: BTreeSet::new() }
    }

    /// The shard of a saga.
    pub(crate) fn shard_of(&self, id: SagaId) -> Shard {
        Shard::of(id, self.count)
    }

    pub(crate) fn contains(&self, id: SagaId) -> bool {
        self.sagas.contains_key(&id)
    }

    pub(crate) fn get(&self, id: SagaId) -> Option<&Resident> {
        self.sagas.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: SagaId) -> Option<&mut Resident> {
        self.sagas.get_mut(&id)
    }

    /// Takes a saga in and sets its wake-up.
    pub(crate) fn insert(&mut self, saga: Saga) {
        let id = saga.id;
        if let Some(shard) = self.shards.get(&self.shard_of(id)) {
            shard.sagas.fetch_add(1, Ordering::Relaxed);
        }
        self.sagas.insert(id, Resident { saga, followers: None, wake_at: None });
        self.reschedule(id);
    }

    /// Lets a saga go; its followers see the channel close.
    pub(crate) fn remove(&mut self, id: SagaId) -> Option<Resident> {
        let resident = self.sagas.remove(&id)?;
        if let Some(at) = resident.wake_at {
            self.wakeups.remove(&(at, id));
        }
        if let Some(shard) = self.shards.get(&self.shard_of(id)) {
            shard.sagas.fetch_sub(1, Ordering::Relaxed);
        }
        Some(resident)
    }

    /// Takes a shard in, without its sagas.
    pub(crate) fn own(&mut self, shard: Shard, owned: OwnedShard) {
        if self.shards.insert(shard, owned).is_none() {
            self.owned.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops a shard with all its sagas: another owner has it.
    pub(crate) fn drop_shard(&mut self, shard: Shard) {
        let gone: Vec<_> = self.sagas.keys().copied().filter(|id| self.shard_of(*id) == shard).collect();
        for id in gone {
            self.remove(id);
        }
        if self.shards.remove(&shard).is_some() {
            self.owned.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Sets a saga's wake-up anew after a transition.
    pub(crate) fn reschedule(&mut self, id: SagaId) {
        let Some(resident) = self.sagas.get_mut(&id) else { return };
        let next = timers(&resident.saga).map(|(at, _)| at).min();
        if next == resident.wake_at {
            return;
        }
        if let Some(at) = std::mem::replace(&mut resident.wake_at, next) {
            self.wakeups.remove(&(at, id));
        }
        if let Some(at) = next {
            self.wakeups.insert((at, id));
        }
    }

    /// When the next saga must be woken.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.wakeups.first().map(|(at, _)| *at)
    }

    /// The sagas to wake now, at most `limit`.
    pub(crate) fn due(&self, now: Timestamp, limit: usize) -> Vec<SagaId> {
        self.wakeups.iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, id)| *id).collect()
    }

    /// Sagas in memory of one shard.
    pub(crate) fn in_shard(&self, shard: Shard) -> usize {
        self.shards.get(&shard).map_or(0, |owned| owned.sagas.load(Ordering::Relaxed))
    }
}
