//! What the links to one participant share: its queue, and what is known of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use amends_core::Command;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::queue::{Held, Queue};
use super::{GrpcLimits, GrpcTarget};
use crate::courier::by_participant::worse;
use crate::courier::hindered::Hindered;
use crate::courier::{CourierError, Served};
use crate::shard::now;

/// Most commands that leave in one message: beyond it a message saves nothing, and its last command would wait for all.
const MESSAGE_COMMANDS_MAX: usize = 256;

/// Bytes of commands in one message, roughly: well below the 4 MiB at which common receivers refuse.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// One participant.
pub(super) struct Participant {
    pub(super) name: String,
    target: String,
    pub(super) limits: GrpcLimits,
    queue: Mutex<Queue>,
    /// Something may be in the queue. Who takes and leaves something behind wakes the next.
    arrived: Notify,
    catalogue: RwLock<Catalogue>,
    /// Links that are through to it.
    connected: AtomicUsize,
    held: AtomicBool,
    /// Its queue was full. What waited for a connection is held, and what broke one too often has to count.
    pub(super) hindered: Hindered,
    /// Why the last link lost it.
    why: Mutex<String>,
}

/// What it serves.
#[derive(Debug, Default)]
struct Catalogue {
    /// `None`: not known yet.
    commands: Option<BTreeSet<String>>,
    /// `None`: not known yet.
    topics: Option<BTreeSet<String>>,
}

impl Participant {
    pub(super) fn new(target: &GrpcTarget) -> Self {
        let known = |names: &[String]| (!names.is_empty()).then(|| names.iter().cloned().collect());
        Self {
            name: target.participant.clone(),
            target: target.urls.join(", "),
            limits: target.limits.clone(),
            queue: Mutex::default(),
            arrived: Notify::new(),
            catalogue: RwLock::new(Catalogue { commands: known(&target.commands), topics: None }),
            connected: AtomicUsize::new(0),
            held: AtomicBool::new(true),
            hindered: Hindered::default(),
            why: Mutex::new("it has not been reached yet".to_owned()),
        }
    }

    /// Queues commands. Tells of what it could not take; the rest is in.
    pub(super) fn push(&self, commands: Vec<Command>) -> Result<(), CourierError> {
        let (at, instant) = (now(), Instant::now());
        let mut result = Ok(());
        let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
        let mut queue = self.queue();
        for command in commands {
            if catalogue.commands.as_ref().is_some_and(|known| !known.contains(&command.command)) {
                result = worse(result, Err(CourierError::Unserved(command.command)));
            } else if !queue.push(Held::new(command, at, instant), self.limits.queue_max) {
                result = worse(result, Err(self.full()));
            }
        }
        drop(queue);
        self.arrived.notify_one();
        result
    }

    fn full(&self) -> CourierError {
        self.hindered.note();
        CourierError::Unavailable(format!("{} commands wait for {} already", self.limits.queue_max, self.name))
    }

    /// Takes what a link has room for.
    pub(super) fn take(&self, room: usize) -> Vec<Held> {
        let mut queue = self.queue();
        let taken = queue.take(room.min(MESSAGE_COMMANDS_MAX), MESSAGE_BYTES_MAX, now(), Instant::now());
        let left = queue.len() > 0;
        if self.held.load(Ordering::Relaxed) && !queue.has_standing() && self.is_connected() {
            self.held.store(false, Ordering::Relaxed);
        }
        drop(queue);
        if left {
            self.arrived.notify_one();
        }
        taken
    }

    /// Gives back what was on its way, in the order in which it had left.
    pub(super) fn put_back(&self, commands: Vec<Held>) {
        if !commands.is_empty() {
            let mut queue = self.queue();
            commands.into_iter().rev().for_each(|held| queue.put_back(held));
            drop(queue);
            self.arrived.notify_one();
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue().len() == 0
    }

    /// Waits until something may be in the queue.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// A link is through. If it is the first, all that is queued has waited for that.
    pub(super) fn connect(&self) {
        let mut queue = self.queue();
        if self.connected.fetch_add(1, Ordering::Relaxed) == 0 {
            queue.stood();
            self.held.store(queue.has_standing(), Ordering::Relaxed);
        }
    }

    /// A link that was through has lost it.
    pub(super) fn disconnect(&self, why: &str) {
        let _queue = self.queue();
        if self.connected.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::warn!(participant = self.name, why, "nobody there; commands are held back");
            self.held.store(true, Ordering::Relaxed);
        }
        self.because(why);
    }

    /// Notes why a link is not through.
    pub(super) fn because(&self, why: &str) {
        why.clone_into(&mut self.why.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed) > 0
    }

    /// Whether the clocks of its commands stand still: no link is through, or commands are left that waited for one.
    pub(super) fn holds(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Notes what it says of itself. A participant that does not say what it serves is taken at the configuration's word.
    pub(super) fn describe(&self, described: Option<(Vec<String>, Vec<String>)>) {
        let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        let (commands, topics) = described.unwrap_or_default();
        if !commands.is_empty() {
            catalogue.commands = Some(commands.into_iter().collect());
        }
        catalogue.topics = Some(topics.into_iter().collect());
    }

    /// Whether it subscribes to a topic; `None` while nobody knows.
    pub(super) fn subscribes(&self, topic: &str) -> Option<bool> {
        let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
        catalogue.topics.as_ref().map(|topics| topics.contains(topic))
    }

    pub(super) fn served(&self) -> Served {
        let commands = self.catalogue.read().unwrap_or_else(PoisonError::into_inner).commands.clone();
        let why = || self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Served {
            participant: self.name.clone(),
            courier: "grpc",
            target: self.target.clone(),
            commands: commands.unwrap_or_default().into_iter().collect(),
            held: (!self.is_connected()).then(why),
        }
    }

    /// A lock that a panic has poisoned guards what is still whole: no method leaves it half changed.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
