//! What every store asks of a batch before it writes any of it.

use std::collections::HashSet;

use amends_core::Shard;

use super::{Batch, StoreError};

impl Batch {
    /// Refuses a batch that writes to a shard whose epoch it does not bring (I28), changes a saga twice, or changes one
    /// without the transition that says so (I6), for a store of that many shards.
    pub(super) fn check(&self, shards: u16) -> Result<(), StoreError> {
        if !self.shards.is_sorted_by(|one, next| one.shard < next.shard) {
            return Err(StoreError::Conflict("the shards of the batch are not in ascending order".to_owned()));
        }
        if let Some(unknown) = self.shards.last().filter(|last| last.shard.0 >= shards) {
            return Err(StoreError::Fenced(unknown.shard));
        }
        let brought = |shard: &Shard| self.shards.binary_search_by_key(shard, |mark| mark.shard).is_ok();
        let journal = self.journal.iter().map(|row| row.shard);
        let started = self.started.iter().map(|row| row.shard);
        let letters = self.dead_letters.iter().map(|letter| letter.shard);
        if let Some(shard) = journal.chain(started).chain(letters).find(|shard| !brought(shard)) {
            return Err(StoreError::Conflict(format!("the batch writes to shard {shard} without its epoch")));
        }
        if self.changed.is_empty() {
            return Ok(());
        }
        let moved: HashSet<_> = self.journal.iter().map(|row| row.saga_id).collect();
        if let Some(alone) = self.changed.iter().find(|change| !moved.contains(&change.id)) {
            return Err(StoreError::Conflict(format!("the batch changes saga {} without a journal row", alone.id)));
        }
        let mut changed = HashSet::with_capacity(self.changed.len());
        if let Some(twice) = self.changed.iter().find(|change| !changed.insert(change.id)) {
            return Err(StoreError::Conflict(format!("the batch changes saga {} twice", twice.id)));
        }
        Ok(())
    }
}
