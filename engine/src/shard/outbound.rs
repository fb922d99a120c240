//! What leaves a lane after its commit: commands to the courier, domain events to their topics.
//!
//! Both leave in tasks of their own, in the order of the commits, so that the next round gathers and commits while
//! they travel. Both queues are bounded; a lane that runs far ahead of them waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use amends_core::{Command, DomainEvent};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::courier::{Courier, Publisher};

/// Rounds that may wait in a queue. Small: a round holds up to some thousand commands.
const QUEUE: usize = 64;

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
            while let Some(commands) = queue.recv().await {
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

/// A position that becomes true once everything before it is published.
type Mark = (Arc<AtomicI64>, i64);

/// Publishes domain events and moves the marks of their shards.
#[derive(Clone)]
pub(crate) struct PublishQueue(mpsc::Sender<(Vec<DomainEvent>, Vec<Mark>)>);

impl PublishQueue {
    /// Starts the task. It ends when the last handle is gone or, with events that cannot be published, on cancel:
    /// the mark has not moved, and the next owner publishes them.
    pub(crate) fn start(publisher: Arc<dyn Publisher>, cancel: CancellationToken, tasks: &TaskTracker) -> Self {
        let (sender, mut queue) = mpsc::channel::<(Vec<DomainEvent>, Vec<Mark>)>(QUEUE);
        tasks.spawn(async move {
            let mut rounds = Vec::with_capacity(QUEUE);
            while queue.recv_many(&mut rounds, QUEUE).await > 0 {
                let (events, marks): (Vec<_>, Vec<_>) = rounds.drain(..).unzip();
                let events: Vec<_> = events.into_iter().flatten().collect();
                if !publish(&*publisher, &events, &cancel).await {
                    return;
                }
                for (mark, position) in marks.into_iter().flatten() {
                    mark.store(position, Ordering::Release);
                }
            }
        });
        Self(sender)
    }

    /// Queues the events of a round with the marks that hold once they are out.
    pub(crate) async fn send(&self, events: Vec<DomainEvent>, marks: Vec<Mark>) {
        if !marks.is_empty() {
            let _ = self.0.send((events, marks)).await;
        }
    }
}

/// Publishes in order until it succeeds; false if cancelled before.
async fn publish(publisher: &dyn Publisher, events: &[DomainEvent], cancel: &CancellationToken) -> bool {
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
