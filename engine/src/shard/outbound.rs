//! What leaves a lane after its commit: commands to the courier, domain events and dead letters to their topics.
//!
//! Both leave in tasks of their own, in the order of the commits, so that the next round gathers and commits while
//! they travel. A lane never waits for its domain events: what does not fit is in the journal, and read from there.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amends_core::{Command, DomainEvent, Shard};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::catch_up::CatchUp;
use crate::courier::{Courier, Publisher};
use crate::store::DeadLetter;

/// Rounds of commands that may wait. Few: a round holds up to some thousand commands.
const QUEUE: usize = 64;

/// Rounds whose domain events may wait, and how many events and dead letters in all: about a second's worth under full
/// load. What does not fit is read from the journal, which costs both sides much more, so that it should be rare.
const PUBLISH_QUEUE: usize = 4_096;
const PUBLISH_MAX: usize = 32_768;

/// First and longest wait between tries to publish.
const PUBLISH_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Hands commands to the courier.
#[derive(Clone)]
pub(crate) struct Dispatcher(mpsc::Sender<Vec<Command>>);

impl Dispatcher {
    /// Starts the task. It ends when the last handle is gone.
    pub(crate) fn start(courier: Arc<dyn Courier>, tasks: &TaskTracker) -> Self {
        let (sender, mut queue) = mpsc::channel::<Vec<Command>>(QUEUE);
        tasks.spawn(async move {
            let mut rounds = Vec::with_capacity(QUEUE);
            // What queued up while a batch was on its way goes as one: batches grow with load.
            while queue.recv_many(&mut rounds, QUEUE).await > 0 {
                let commands = match rounds.len() {
                    1 => rounds.pop().unwrap_or_default(),
                    _ => rounds.drain(..).flatten().collect(),
                };
                let count = commands.len();
                // Not lost: each command's time-out sends it again.
                if let Err(error) = courier.send(commands).await {
                    tracing::warn!(%error, count, "commands not handed over; their time-outs will send them again");
                }
            }
        });
        Self(sender)
    }

    /// Queues the commands of a round.
    pub(crate) async fn send(&self, commands: Vec<Command>) {
        if !commands.is_empty() {
            // The task outlives every handle, so this cannot fail before shutdown.
            let _ = self.0.send(commands).await;
        }
    }
}

/// Up to where the domain events of a shard are out.
pub(crate) struct Published {
    pub(super) shard: Shard,
    head: AtomicI64,
    /// The journal holds events that were never queued: they come first.
    behind: AtomicBool,
    /// The shard is another owner's by now.
    over: AtomicBool,
}

impl Published {
    pub(crate) fn new(shard: Shard, head: i64) -> Self {
        Self { shard, head: AtomicI64::new(head), behind: AtomicBool::new(false), over: AtomicBool::new(false) }
    }

    /// The last journal position whose events are out.
    pub(crate) fn head(&self) -> i64 {
        self.head.load(Ordering::Acquire)
    }

    /// Everything up to a position is out.
    pub(super) fn reached(&self, position: i64) {
        self.head.fetch_max(position, Ordering::AcqRel);
    }

    /// What is left to publish is the next owner's.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(super) fn caught_up(&self) {
        self.behind.store(false, Ordering::SeqCst);
    }
}

/// Positions that are reached once something is told.
type Marks = Vec<(Arc<Published>, i64)>;

/// What one round has to tell the world, and the positions that are reached once it is told.
struct Outgoing {
    events: Vec<DomainEvent>,
    letters: Vec<DeadLetter>,
    marks: Marks,
    _room: OwnedSemaphorePermit,
}

/// Publishes domain events and moves the marks of their shards.
#[derive(Clone)]
pub(crate) struct PublishQueue {
    queue: mpsc::Sender<Outgoing>,
    /// For events and dead letters.
    room: Arc<Semaphore>,
    behind: Arc<Behind>,
}

/// The shards whose events are to be read from the journal.
#[derive(Default)]
struct Behind {
    shards: Mutex<Vec<Arc<Published>>>,
    bell: Notify,
}

impl PublishQueue {
    /// Starts the task. It ends when the last handle is gone or, with events that cannot be published, on cancel:
    /// the mark has not moved, and the next owner publishes them.
    pub(crate) fn start(
        publisher: Arc<dyn Publisher>,
        catch_up: CatchUp,
        cancel: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(PUBLISH_QUEUE);
        let behind = Arc::new(Behind::default());
        tasks.spawn(run(publisher, catch_up, waiting, behind.clone(), cancel));
        Self { queue, room: Arc::new(Semaphore::new(PUBLISH_MAX)), behind }
    }

    /// Queues what a round has to tell, with the positions that hold once it is out. Never waits: what does not fit, and
    /// what would overtake something older, is left in the journal.
    pub(crate) fn send(&self, events: Vec<DomainEvent>, letters: Vec<DeadLetter>, marks: Marks) {
        let late = marks.iter().any(|(published, _)| published.behind.load(Ordering::SeqCst));
        let left = if late {
            // A mark goes where its events go. Dead letters are not in the journal.
            self.queue(Vec::new(), letters, Vec::new());
            marks
        } else {
            self.queue(events, letters, marks)
        };
        left.iter().for_each(|(published, _)| self.catch_up(published));
    }

    /// Gives the marks back if there is no room.
    fn queue(&self, events: Vec<DomainEvent>, letters: Vec<DeadLetter>, marks: Marks) -> Marks {
        if letters.is_empty() && marks.is_empty() {
            return marks;
        }
        let count = u32::try_from(events.len() + letters.len()).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().try_acquire_many_owned(count) else { return marks };
        match self.queue.try_send(Outgoing { events, letters, marks, _room: room }) {
            Ok(()) => Vec::new(),
            Err(TrySendError::Full(outgoing) | TrySendError::Closed(outgoing)) => outgoing.marks,
        }
    }

    /// Has the events of a shard read from its journal, from its mark on.
    pub(crate) fn catch_up(&self, published: &Arc<Published>) {
        if !published.behind.swap(true, Ordering::SeqCst) {
            self.behind.shards.lock().unwrap_or_else(PoisonError::into_inner).push(published.clone());
        }
        self.behind.bell.notify_one();
    }
}

async fn run(
    publisher: Arc<dyn Publisher>,
    catch_up: CatchUp,
    mut queue: mpsc::Receiver<Outgoing>,
    behind: Arc<Behind>,
    cancel: CancellationToken,
) {
    let mut rounds = Vec::new();
    loop {
        tokio::select! {
            // What was queued is older than what was left in the journal.
            biased;
            received = queue.recv_many(&mut rounds, PUBLISH_QUEUE) => {
                if received == 0 || !tell(&*publisher, &mut rounds, &cancel).await {
                    return;
                }
            }
            () = behind.bell.notified() => {
                let late = std::mem::take(&mut *behind.shards.lock().unwrap_or_else(PoisonError::into_inner));
                for published in late {
                    if !catch_up.run(&published, &*publisher, &cancel).await {
                        return;
                    }
                }
            }
        }
    }
}

/// Tells what some rounds have to tell; false if cancelled before.
async fn tell(publisher: &dyn Publisher, rounds: &mut Vec<Outgoing>, cancel: &CancellationToken) -> bool {
    let (mut events, mut letters, mut marks) = (Vec::new(), Vec::new(), Vec::new());
    for round in rounds.drain(..) {
        events.extend(round.events);
        letters.extend(round.letters);
        marks.extend(round.marks);
    }
    if let Err(error) = publisher.show_dead_letters(&letters).await {
        tracing::warn!(%error, count = letters.len(), "dead letters not shown; they are in the database");
    }
    if !publish(publisher, &events, cancel).await {
        return false;
    }
    for (published, position) in marks {
        if !published.behind.load(Ordering::SeqCst) && !published.is_over() {
            published.reached(position);
        }
    }
    true
}

/// Publishes in order until it succeeds; false if cancelled before.
pub(super) async fn publish(publisher: &dyn Publisher, events: &[DomainEvent], cancel: &CancellationToken) -> bool {
    let mut wait = PUBLISH_RETRY.0;
    while !events.is_empty() {
        let Err(error) = publisher.publish(events).await else { break };
        tracing::warn!(%error, count = events.len(), "domain events not published; trying again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => return false,
        }
        wait = (wait * 2).min(PUBLISH_RETRY.1);
    }
    true
}

#[cfg(test)]
mod tests;
