//! When something was last amiss on the way.

use std::sync::atomic::{AtomicI64, Ordering};

use amends_core::Timestamp;

use crate::shard::now;

/// A moment; the beginning of time if nothing ever was.
#[derive(Debug, Default)]
pub(super) struct Hindered(AtomicI64);

impl Hindered {
    /// Something is, or was until now.
    pub(super) fn note(&self) {
        self.0.store(now().0, Ordering::Release);
    }

    pub(super) fn last(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Acquire))
    }
}
