//! Which shards the engine wants read, by its leases: what the thread that reads brings itself in line with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use amends_core::{Epoch, Shard};

use super::checks::{Finding, Findings};
use super::link::Link;
use crate::store::Lease;

/// Which shards the engine wants read.
#[derive(Default)]
pub(super) struct Wanted {
    version: AtomicU64,
    shards: Mutex<BTreeMap<u16, Want>>,
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Want {
    pub(super) epoch: Epoch,
    /// Where its log is read on.
    pub(super) cursor: i64,
    /// Whose answer tells whether it can be.
    pub(super) question: u64,
}

impl Wanted {
    /// The engine has taken a shard over.
    pub(super) fn assign(&self, lease: &Lease, findings: &Findings, link: &Link) {
        let shard = lease.shard.0;
        let mut shards = self.lock();
        let question = findings.ask(link, [(shard, lease.reply_cursor)]);
        shards.insert(shard, Want { epoch: lease.epoch, cursor: lease.reply_cursor, question });
        drop(shards);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The engine has lost it.
    pub(super) fn revoke(&self, shard: Shard, findings: &Findings) {
        self.lock().remove(&shard.0);
        findings.forget(shard.0);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Asks for a check of where shards are read, each given with the question of its assignment. Of one that is over
    /// nothing is asked: the shard's next begins elsewhere.
    pub(super) fn ask_again(
        &self,
        findings: &Findings,
        link: &Link,
        positions: impl Iterator<Item = (u16, u64, i64)>,
    ) -> u64 {
        let shards = self.lock();
        let current = |shard: &u16, question| shards.get(shard).is_some_and(|want| want.question == question);
        let current = positions.filter(|(shard, question, _)| current(shard, *question));
        findings.ask(link, current.map(|(shard, _, position)| (shard, position)))
    }

    /// Whether the engine has it, as far as it has said.
    pub(super) fn has(&self, shard: Shard) -> bool {
        self.lock().contains_key(&shard.0)
    }

    /// Whether the engine has it and its log can be read.
    pub(super) fn is_read(&self, shard: Shard, findings: &Findings) -> bool {
        self.lock().get(&shard.0).is_some_and(|want| findings.of(shard.0, want.question) == Finding::Fine)
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<u16, Want> {
        self.lock().clone()
    }

    /// Changes with each change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Want>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(epoch: i64, reply_cursor: i64) -> Lease {
        Lease { shard: Shard(7), epoch: Epoch(epoch), journal_head: 0, published_head: 0, reply_cursor }
    }

    /// The thread that reads may not have heard yet that a shard was given away and has come back with another cursor.
    #[test]
    fn nothing_is_asked_for_an_assignment_that_is_over() {
        let (wanted, findings, link) = (Wanted::default(), Findings::default(), Link::default());
        wanted.assign(&lease(1, 79), &findings, &link);
        let old = wanted.all()[&7];
        wanted.ask_again(&findings, &link, [(7, old.question, 81)].into_iter());
        assert_eq!(findings.positions()[&7], 81);
        wanted.revoke(Shard(7), &findings);
        wanted.ask_again(&findings, &link, [(7, old.question, 82)].into_iter());
        assert!(findings.positions().is_empty());
        wanted.assign(&lease(2, 0), &findings, &link);
        wanted.ask_again(&findings, &link, [(7, old.question, 83)].into_iter());
        assert_eq!(findings.positions()[&7], 0, "where the new one begins");
    }
}
