//! Who asked for what: finds, for a reply, the one that waits for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use amends_core::{Command, CommandId, Reply};

/// The same command may be asked more than once at a time: its copies are told apart by nothing but their order.
type Key = (CommandId, u32);

/// One entry of [`Asked`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    key: Key,
    number: u64,
}

/// Those who wait for a reply. Copies of one command get their replies in the order in which they asked; all of them
/// are given the same answer, so that it does not matter which is whose.
pub(super) struct Asked<T> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    waiting: HashMap<Key, Vec<(u64, T)>>,
    next: u64,
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { waiting: HashMap::new(), next: 0 }) }
    }
}

impl<T> Asked<T> {
    /// Notes who waits for the reply to a command; to be called before the command is given away.
    pub(super) fn ask(&self, command: &Command, who: T) -> Ask {
        let mut inner = self.lock();
        let ask = Ask { key: (command.id, command.attempt), number: inner.next };
        inner.next += 1;
        inner.waiting.entry(ask.key).or_insert_with(|| Vec::with_capacity(1)).push((ask.number, who));
        ask
    }

    /// Takes out the first that waits for this reply, if there is one.
    pub(super) fn answered(&self, reply: &Reply) -> Option<T> {
        let mut inner = self.lock();
        let Entry::Occupied(mut entry) = inner.waiting.entry((reply.command_id, reply.attempt)) else { return None };
        let waiting = entry.get_mut();
        if waiting.len() > 1 {
            return Some(waiting.remove(0).1);
        }
        entry.remove().pop().map(|(_, who)| who)
    }

    /// Forgets one that does not wait any more.
    #[cfg(feature = "grpc")]
    pub(super) fn forget(&self, ask: Ask) {
        if let Entry::Occupied(mut entry) = self.lock().waiting.entry(ask.key) {
            entry.get_mut().retain(|(number, _)| *number != ask.number);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    /// Forgets all.
    #[cfg(feature = "grpc")]
    pub(super) fn clear(&self) {
        self.lock().waiting.clear();
    }

    /// How many commands are waited for, copies not counted.
    #[cfg(all(test, feature = "grpc"))]
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
