//! Waits for a saga to end: one call for who starts it and wants to know what became of it.
//!
//! Where the saga's owner is this engine, it tells those who wait when the end is committed, and nothing is read. Where
//! it is another, that one is followed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amends_core::{Epoch, Saga, SagaId, Status};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::query;
use super::start::Started;
use crate::{Ended, Engine};

/// The longest wait: shorter than what the HTTP API allows a request.
pub const WAIT_MAX: Duration = Duration::from_secs(25);

/// How often one who waits makes sure that the shard is still this engine's, under the same epoch: only then is the end
/// told here.
const RECHECK: Duration = Duration::from_millis(500);

/// How often a saga is looked at that is in nobody's memory: only operators move those.
const REVISIT: Duration = Duration::from_millis(500);

/// Those who wait, by saga.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Seats>);

type Seats = HashMap<SagaId, Vec<oneshot::Sender<Arc<Saga>>>>;

/// The place of one who waits; taken before the saga is started, so that no end is missed.
pub struct Seat {
    waiting: Arc<Waiting>,
    saga: SagaId,
    taken: Instant,
    /// The ownership under which this engine tells the end.
    epoch: Option<Epoch>,
    told: oneshot::Receiver<Arc<Saga>>,
}

impl Waiting {
    /// Begins to tell those who wait, until `cancel`.
    pub(crate) fn start(mut ended: Receiver<Ended>, cancel: CancellationToken, tasks: &TaskTracker) -> Arc<Self> {
        let waiting = Arc::new(Self::default());
        let told = Arc::clone(&waiting);
        tasks.spawn(async move {
            loop {
                let ended = tokio::select! {
                    ended = ended.recv() => ended,
                    () = cancel.cancelled() => Err(RecvError::Closed),
                };
                match ended {
                    Ok(ended) => told.tell(&ended.saga),
                    // Nobody knows whose end it was: all look for themselves.
                    Err(RecvError::Lagged(_)) => told.seats().clear(),
                    Err(RecvError::Closed) => return told.seats().clear(),
                }
            }
        });
        waiting
    }

    /// Takes a place.
    pub(crate) fn seat(self: &Arc<Self>, saga: SagaId, epoch: Option<Epoch>) -> Seat {
        let (tell, told) = oneshot::channel();
        self.seats().entry(saga).or_default().push(tell);
        Seat { waiting: Arc::clone(self), saga, taken: Instant::now(), epoch, told }
    }

    fn tell(&self, saga: &Arc<Saga>) {
        let waiting = self.seats().remove(&saga.id);
        for one in waiting.into_iter().flatten() {
            // Who has gone meanwhile does not want to know.
            let _ = one.send(Arc::clone(saga));
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.told.close();
        let mut seats = self.waiting.seats();
        if let Some(waiting) = seats.get_mut(&self.saga) {
            waiting.retain(|one| !one.is_closed());
            if waiting.is_empty() {
                seats.remove(&self.saga);
            }
        }
    }
}

/// Waits until a saga that was just accepted has ended or parked, at most for `limit` and never longer than
/// [`WAIT_MAX`], both since the place was taken: what it took to start the saga counts. Answers the saga as it then is, if that is known without reading it.
pub async fn until_settled(engine: &Engine, mut seat: Seat, started: &Started, limit: Duration) -> Option<Arc<Saga>> {
    if is_settled(started.status) {
        return None;
    }
    let left = limit.min(WAIT_MAX).saturating_sub(seat.taken.elapsed());
    timeout(left, wait(engine, &mut seat)).await.ok().flatten()
}

async fn wait(engine: &Engine, seat: &mut Seat) -> Option<Arc<Saga>> {
    while seat.epoch.is_some() && engine.epoch(seat.saga) == seat.epoch {
        match timeout(RECHECK, &mut seat.told).await {
            Ok(Ok(saga)) => return Some(saga),
            // Nothing will be told: the engine stops, or fell behind.
            Ok(Err(_)) => break,
            Err(_) => {}
        }
    }
    loop {
        let was_in_memory = match engine.follow(seat.saga).await {
            // In its owner's memory it is unfinished.
            Ok(Some(mut rows)) => {
                while rows.changed().await.is_ok() {}
                true
            }
            Ok(None) => false,
            Err(_) if engine.is_draining() => return None,
            Err(_) => false,
        };
        let saga = query::load_id(engine, seat.saga).await.ok()??.saga();
        if is_settled(saga.status) {
            return Some(Arc::new(saga));
        }
        if !was_in_memory {
            sleep(REVISIT).await;
        }
    }
}

/// Whether nothing more will happen by itself.
fn is_settled(status: Status) -> bool {
    status.is_terminal() || status == Status::Parked
}

#[cfg(test)]
mod tests {
    use amends_core::Definition;
    use uuid::Uuid;

    use super::*;

    fn saga(number: u128) -> Arc<Saga> {
        let source = "saga = \"one\"\nversion = 1\n[[step]]\nname = \"only\"\ncommand = \"a.b\"\nkind = \"pivot\"\n";
        let definition = Arc::new(Definition::parse(source).unwrap());
        Arc::new(Saga::new(SagaId::from_uuid(Uuid::from_u128(number)), definition))
    }

    #[tokio::test]
    async fn everybody_who_waits_is_told_and_nobody_stays_behind() {
        let waiting = Arc::new(Waiting::default());
        let seat = |number| waiting.seat(saga(number).id, None);
        let (first, second, other) = (seat(1), seat(1), seat(2));
        drop((seat(1), seat(3)));
        assert_eq!(waiting.seats().len(), 2);
        waiting.tell(&saga(1));
        for mut seat in [first, second] {
            assert_eq!(seat.told.try_recv().unwrap().id, saga(1).id);
        }
        assert_eq!(waiting.seats().len(), 1);
        drop(other);
        assert!(waiting.seats().is_empty());
    }

    #[tokio::test]
    async fn those_who_wait_look_for_themselves_when_ends_were_lost() {
        let (sender, receiver) = tokio::sync::broadcast::channel(1);
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        for number in 1..=3 {
            sender.send(Ended { saga: saga(number) }).unwrap();
        }
        let waiting = Waiting::start(receiver, cancel.clone(), &tasks);
        let mut seat = waiting.seat(saga(1).id, None);
        assert!((&mut seat.told).await.is_err());
        cancel.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
