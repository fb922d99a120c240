//! The unfinished sagas that a lane holds in memory, their wake-ups, and the shards that they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amends_core::{Epoch, Saga, SagaId, Shard, Timer, Timestamp, timers};
use tokio::sync::watch;

use super::lease::Holdings;
use super::outbound::Published;
use crate::store::{Lease, ShardMark};

/// A shard that stands still.
#[derive(Debug, Clone)]
pub(crate) struct Halt {
    pub(crate) why: String,
    /// Since then the clocks of its attempts stand still, too.
    pub(crate) since: Timestamp,
}

/// A shard that this engine owns.
pub(crate) struct OwnedShard {
    pub(crate) epoch: Epoch,
    /// Last position given to a journal row.
    pub(crate) journal_head: i64,
    /// Next record of the shard's log.
    pub(crate) reply_cursor: i64,
    /// Moved by the publisher, stored with the next commit.
    pub(crate) published: Arc<Published>,
    /// Why it stands still, if it does: nothing of it moves then.
    pub(crate) halted: Option<Halt>,
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
            published: Arc::new(Published::new(lease.shard, lease.published_head)),
            halted: None,
            sagas,
        }
    }

    /// Fence and marks for a commit.
    pub(crate) fn mark(&self, shard: Shard) -> ShardMark {
        ShardMark {
            shard,
            epoch: self.epoch,
            journal_head: self.journal_head,
            published_head: self.published.head(),
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
    /// The timers that go off later than the saga's state says. Mostly none.
    stays: Vec<(Timer, Stay)>,
}

/// How a timer is put off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stay {
    /// It does not go off before.
    pub(crate) until: Timestamp,
    /// When the command that it waits for was sent again, if it was.
    pub(crate) sent: Option<Timestamp>,
    /// Whether its clock stands still, since the command is held back.
    pub(crate) held: bool,
}

impl Resident {
    /// How a timer is put off; not at all, unless something says otherwise.
    pub(crate) fn stay(&self, timer: &Timer) -> Stay {
        self.stays.iter().find(|(of, _)| of == timer).map(|(_, stay)| *stay).unwrap_or_default()
    }

    /// The timers, and when each is due.
    fn timers(&self) -> impl Iterator<Item = (Timestamp, Timer)> {
        timers(&self.saga).map(|(at, timer)| (at.max(self.stay(&timer).until), timer))
    }

    /// The timers that are due, and when each would be by the saga's state.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<(Timestamp, Timer)> {
        timers(&self.saga).filter(|(at, timer)| (*at).max(self.stay(timer).until) <= now).collect()
    }

    fn put_off(&mut self, timer: Timer, stay: Stay) {
        match self.stays.iter_mut().find(|(of, _)| *of == timer) {
            Some((_, old)) => *old = stay,
            None => self.stays.push((timer, stay)),
        }
    }
}

/// The sagas of a lane, by id, with one wake-up each at the earliest of their timers.
pub(crate) struct Residents {
    /// The shards of this lane.
    pub(crate) shards: BTreeMap<Shard, OwnedShard>,
    /// The same for all lanes of this engine, for others to read.
    holdings: Holdings,
    count: u16,
    sagas: HashMap<SagaId, Resident>,
    wakeups: BTreeSet<(Timestamp, SagaId)>,
}

impl Residents {
    /// An empty set; `count` is the number of shards of the whole installation.
    pub(crate) fn new(count: u16, holdings: Holdings) -> Self {
        Self { shards: BTreeMap::new(), holdings, count, sagas: HashMap::new(), wakeups: BTreeSet::new() }
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
        let resident = Resident { saga, followers: None, wake_at: None, stays: Vec::new() };
        self.sagas.insert(id, resident);
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
        self.holdings.set(shard, Some(owned.epoch));
        self.shards.insert(shard, owned);
    }

    /// Drops a shard with all its sagas.
    pub(crate) fn drop_shard(&mut self, shard: Shard) -> Option<OwnedShard> {
        for id in self.of_shard(shard) {
            self.remove(id);
        }
        self.holdings.set(shard, None);
        let owned = self.shards.remove(&shard)?;
        owned.published.end();
        Some(owned)
    }

    /// Says that nothing came of a claim.
    pub(crate) fn not_claimed(&self, shard: Shard) {
        if !self.shards.contains_key(&shard) {
            self.holdings.set(shard, None);
        }
    }

    /// Stops a shard: its sagas stay, and nothing wakes them.
    pub(crate) fn halt(&mut self, shard: Shard, halt: Halt) {
        let Some(owned) = self.shards.get_mut(&shard) else { return };
        owned.halted = Some(halt);
        for id in self.of_shard(shard) {
            self.reschedule(id);
        }
    }

    /// Lets a shard go on; the clocks of its attempts have stood still meanwhile.
    pub(crate) fn go_on(&mut self, shard: Shard, now: Timestamp) {
        let Some(halt) = self.shards.get_mut(&shard).and_then(|owned| owned.halted.take()) else { return };
        let stood = now.since(halt.since);
        for id in self.of_shard(shard) {
            let Some(resident) = self.sagas.get(&id) else { continue };
            // The saga's deadline is a promise to the client: it does not stand still.
            let attempts = resident.timers().filter(|(_, timer)| !matches!(timer, Timer::Deadline));
            let later = |(at, timer): (Timestamp, Timer)| {
                let stay = Stay { until: at.after(stood), ..resident.stay(&timer) };
                (timer, stay)
            };
            let stays = attempts.map(later).collect();
            self.put_off(id, stays);
        }
    }

    fn of_shard(&self, shard: Shard) -> Vec<SagaId> {
        self.sagas.keys().copied().filter(|id| self.shard_of(*id) == shard).collect()
    }

    /// Puts timers of a saga off.
    pub(crate) fn put_off(&mut self, id: SagaId, stays: Vec<(Timer, Stay)>) {
        if let Some(resident) = self.sagas.get_mut(&id) {
            stays.into_iter().for_each(|(timer, stay)| resident.put_off(timer, stay));
        }
        self.reschedule(id);
    }

    /// Sets a saga's wake-up anew, since it has moved.
    pub(crate) fn moved(&mut self, id: SagaId) {
        if let Some(Resident { saga, stays, .. }) = self.sagas.get_mut(&id)
            && !stays.is_empty()
        {
            stays.retain(|(of, _)| timers(saga).any(|(_, timer)| timer == *of));
        }
        self.reschedule(id);
    }

    /// Sets a saga's wake-up anew.
    fn reschedule(&mut self, id: SagaId) {
        let shard = self.shard_of(id);
        let halted = self.shards.get(&shard).is_some_and(|owned| owned.halted.is_some());
        let Some(resident) = self.sagas.get_mut(&id) else { return };
        let next = if halted { None } else { resident.timers().map(|(at, _)| at).min() };
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
