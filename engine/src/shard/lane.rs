//! The loop that moves the sagas of a set of shards: gather, decide, commit, act.
//!
//! While a commit is under way the next inputs gather in the lane's queue, so batches grow with load and no timer
//! delays a lone saga. Nothing is done, sent or answered before the commit that it follows from.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use amends_core::{
    Definition, IdempotencyKey, Input, Payload, Rejected, Reply, Saga, SagaId, Shard, Status, Timestamp, timers,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::recovery::{recover, wake};
use super::resident::Residents;
use super::round::{Answer, Round, may_leave};
use super::{Dispatcher, PublishQueue, now};
use crate::engine::Ended;
use crate::metrics::Metrics;
use crate::service::ServiceError;
use crate::service::start::Started;
use crate::store::{Archive, Leases, Owner, SagaRow, ShardMark, Store, StoreError};

/// Most messages of the queue that one round takes: bounds the transaction's size and the wait of the next message.
const ROUND_MAX: usize = 256;

/// First and longest wait between tries to commit while the database cannot write.
const COMMIT_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a client is told to wait when a shard is full.
const RETRY_AFTER: amends_core::Millis = amends_core::Millis(200);

/// A message to a lane.
pub(crate) enum LaneInput {
    /// Accept a saga.
    Start(Box<StartRequest>, oneshot::Sender<Result<Started, ServiceError>>),
    /// Participants answered.
    Replies(Vec<Reply>),
    /// An operator acts.
    Operate(SagaId, Box<Input>, oneshot::Sender<Result<(), ServiceError>>),
    /// Somebody wants to see the journal grow.
    Follow(SagaId, oneshot::Sender<Option<watch::Receiver<u64>>>),
}

/// A checked request for a new saga.
pub(crate) struct StartRequest {
    pub(crate) id: SagaId,
    pub(crate) definition: Arc<Definition>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) input: Payload,
    pub(crate) deadline_at: Option<Timestamp>,
}

/// What a lane needs from outside.
pub(crate) struct LaneConfig {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) leases: Arc<dyn Leases>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) owner: Owner,
    /// One counter per shard of the installation: sagas in memory.
    pub(crate) in_flight: Arc<[Arc<AtomicUsize>]>,
    pub(crate) definitions: crate::Definitions,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) publish_queue: PublishQueue,
    pub(crate) ended: broadcast::Sender<Ended>,
    pub(crate) metrics: Metrics,
    /// Unfinished sagas per shard; starts beyond it are refused.
    pub(crate) in_flight_max: usize,
    pub(crate) cancel: CancellationToken,
}

/// One lane.
pub(crate) struct Lane {
    pub(crate) residents: Residents,
    config: LaneConfig,
    queue: mpsc::Receiver<LaneInput>,
}

impl Lane {
    pub(crate) fn new(residents: Residents, config: LaneConfig, queue: mpsc::Receiver<LaneInput>) -> Self {
        Self { residents, config, queue }
    }

    /// Runs until cancelled, then takes no more and returns; what is committed is safe, the rest was not acknowledged.
    pub(crate) async fn run(mut self) {
        let mut inputs = Vec::with_capacity(ROUND_MAX);
        while self.gather(&mut inputs).await {
            self.round(&mut inputs).await;
        }
    }

    /// Waits for inputs or a due timer; false once the lane shall end.
    async fn gather(&mut self, inputs: &mut Vec<LaneInput>) -> bool {
        let wait = self.residents.next_wakeup().map(|at| Duration::from(at.since(now())));
        let wakeup = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.config.cancel.cancelled() => false,
            received = self.queue.recv_many(inputs, ROUND_MAX) => received > 0,
            () = wakeup => true,
        }
    }

    async fn round(&mut self, inputs: &mut Vec<LaneInput>) {
        let woken = match wake(&mut self.residents, &self.config, inputs).await {
            Ok(woken) => woken,
            Err(error) => return refuse_all(inputs, &error),
        };
        let mut round = Round::new(now());
        for input in inputs.drain(..) {
            match input {
                LaneInput::Start(request, answer) => self.start(&mut round, *request, answer, &woken.known),
                LaneInput::Replies(replies) => self.replies(&mut round, replies),
                LaneInput::Operate(id, input, answer) => self.operate(&mut round, id, &input, answer, &woken.known),
                LaneInput::Follow(id, answer) => drop(answer.send(self.follow(id))),
            }
        }
        self.fire_timers(&mut round);
        round.leaving.extend(woken.resident);
        round.seal(&self.residents);
        let marks = if round.is_empty() { Some(Vec::new()) } else { self.commit(&mut round).await };
        if let Some(marks) = marks {
            self.perform(round, marks).await;
        }
    }

    fn start(
        &mut self,
        round: &mut Round,
        request: StartRequest,
        answer: oneshot::Sender<Result<Started, ServiceError>>,
        known: &[SagaRow],
    ) {
        let id = request.id;
        let shard = self.residents.shard_of(id);
        if let Some(resident) = self.residents.get(id) {
            let saga = &resident.saga;
            let found = (saga.input.digest(), saga.status, saga.started_at);
            return answer_existing(round, answer, &request, found);
        }
        if let Some(row) = known.iter().find(|row| row.id == id) {
            return answer_existing(round, answer, &request, (row.digest, row.state.status, row.started_at));
        }
        if !self.residents.shards.contains_key(&shard) {
            let error = ServiceError::Unavailable(format!("shard {shard} is changing hands; try again"));
            return drop(answer.send(Err(error)));
        }
        if self.residents.in_shard(shard) >= self.config.in_flight_max {
            return drop(answer.send(Err(ServiceError::Overloaded { retry_after: RETRY_AFTER })));
        }
        self.residents.insert(Saga::new(id, request.definition));
        let input = Input::Start { key: request.key, input: request.input, deadline_at: request.deadline_at };
        if let Err(rejected) = round.apply(&mut self.residents, id, &input) {
            tracing::error!(saga = %id, %rejected, "a fresh saga refused its start");
            self.residents.remove(id);
            return drop(answer.send(Err(ServiceError::Internal)));
        }
        round.accept(&self.residents, id);
        let (status, started_at) =
            self.residents.get(id).map_or((Status::Running, now()), |found| (found.saga.status, found.saga.started_at));
        round.answers.push(Answer::Started(answer, Started { id, existed: false, status, started_at }));
    }

    fn replies(&mut self, round: &mut Round, replies: Vec<Reply>) {
        for reply in replies {
            let id = reply.saga_id;
            let verdict = round.apply(&mut self.residents, id, &Input::Reply(reply));
            self.config.metrics.reply(&verdict);
            if let Err(verdict) = verdict {
                tracing::debug!(saga = %id, %verdict, "reply not applied");
            }
        }
    }

    fn operate(
        &mut self,
        round: &mut Round,
        id: SagaId,
        input: &Input,
        answer: oneshot::Sender<Result<(), ServiceError>>,
        known: &[SagaRow],
    ) {
        if !self.residents.contains(id) {
            let unreadable = known.iter().any(|row| row.id == id && !row.state.status.is_terminal());
            let error = if unreadable {
                ServiceError::NotAllowed(format!("saga {id} cannot be read by this program; its log says why"))
            } else {
                ServiceError::NotAllowed(format!("saga {id} has ended; nothing can be done to it any more"))
            };
            return drop(answer.send(Err(error)));
        }
        match round.apply(&mut self.residents, id, input) {
            Ok(()) => round.answers.push(Answer::Operated(answer)),
            Err(rejected) => {
                let error = match rejected {
                    Rejected::UnknownStep(_) => ServiceError::invalid("step", rejected),
                    _ => ServiceError::NotAllowed(rejected.to_string()),
                };
                drop(answer.send(Err(error)));
            }
        }
    }

    fn follow(&mut self, id: SagaId) -> Option<watch::Receiver<u64>> {
        let resident = self.residents.get_mut(id)?;
        let seq = resident.saga.seq;
        Some(resident.followers.get_or_insert_with(|| watch::channel(seq).0).subscribe())
    }

    fn fire_timers(&mut self, round: &mut Round) {
        let now = now();
        for id in self.residents.due(now, ROUND_MAX) {
            let Some(resident) = self.residents.get(id) else { continue };
            let due: Vec<_> = timers(&resident.saga)
                .filter(|(at, _)| *at <= now)
                .map(|(_, timer)| Input::TimerFired(timer))
                .collect();
            for timer in &due {
                // Void is the normal end of a timer whose step moved on within this very round.
                if let Err(verdict) = round.apply(&mut self.residents, id, timer) {
                    tracing::trace!(saga = %id, %verdict, "timer");
                }
            }
        }
    }

    /// Commits a round, however long the database takes. `None` if nothing of it may be acted upon.
    async fn commit(&mut self, round: &mut Round) -> Option<Vec<ShardMark>> {
        let mut wait = COMMIT_RETRY.0;
        let mut uncertain = false;
        loop {
            let batch = Arc::new(std::mem::take(&mut round.batch));
            let timer = self.config.metrics.commit_seconds.start_timer();
            let result = self.config.store.commit(batch.clone()).await;
            timer.observe_duration();
            round.batch = Arc::unwrap_or_clone(batch);
            let Err(error) = result else { return Some(std::mem::take(&mut round.batch.shards)) };
            self.config.metrics.commit_failures.inc();
            for answer in round.answers.drain(..) {
                answer.fail(ServiceError::Unavailable(error.to_string()));
            }
            match error {
                StoreError::Unavailable(_) => {
                    tracing::error!(%error, "cannot commit; nothing is acted upon until it succeeds");
                    uncertain = true;
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.config.cancel.cancelled() => return None,
                    }
                    wait = (wait * 2).min(COMMIT_RETRY.1);
                    self.refuse_waiting(&error);
                }
                StoreError::Fenced(shard) => {
                    tracing::warn!(%shard, "another owner has the shard; stepping down");
                    self.residents.drop_shard(shard);
                    round.forget(&self.residents, shard);
                    if round.is_empty() {
                        return None;
                    }
                }
                StoreError::Conflict(_) | StoreError::Corrupt(_) => {
                    // After an unknown result a conflict is what a commit that did succeed looks like. Either way the
                    // store is right: what this lane holds of these shards is read again.
                    tracing::error!(%error, uncertain, "the store holds something else; reading the shards again");
                    let shards: Vec<_> = round.batch.shards.iter().map(|mark| mark.shard).collect();
                    self.take_over(&shards).await;
                    return None;
                }
            }
        }
    }

    /// Claims shards, anew if they are this engine's already, and reads their sagas.
    pub(crate) async fn take_over(&mut self, shards: &[Shard]) {
        let mut wait = COMMIT_RETRY.0;
        while let Err(error) = recover(&mut self.residents, &self.config, shards).await {
            tracing::error!(%error, "cannot take shards over; trying again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.config.cancel.cancelled() => return,
            }
            wait = (wait * 2).min(COMMIT_RETRY.1);
        }
    }

    /// While nothing can be committed, callers are answered at once instead of waiting in the queue. A reply dropped
    /// here is no more than one lost on the way: its command's time-out brings it again.
    fn refuse_waiting(&mut self, error: &StoreError) {
        let mut inputs = Vec::new();
        while let Ok(input) = self.queue.try_recv() {
            inputs.push(input);
        }
        refuse_all(&mut inputs, error);
    }

    fn count(&self, round: &Round) {
        let metrics = &self.config.metrics;
        let rows = round.batch.journal.len();
        if rows > 0 {
            metrics.round_transitions.observe(rows as f64);
        }
        metrics.transitions.inc_by(rows as u64);
        metrics.accepted.inc_by(round.batch.started.len() as u64);
        metrics.commands.inc_by(round.commands.len() as u64);
        for ended in &round.ended {
            metrics.ended(ended.saga.status);
        }
    }

    /// Acts on what is committed.
    async fn perform(&mut self, round: Round, marks: Vec<ShardMark>) {
        self.count(&round);
        for answer in round.answers {
            answer.ok();
        }
        self.config.dispatcher.send(round.commands).await;
        let marks = marks.iter().filter_map(|mark| {
            let published = self.residents.shards.get(&mark.shard)?.published.clone();
            Some((published, mark.journal_head))
        });
        self.config.publish_queue.send(round.domain_events, marks.collect()).await;
        for id in round.followed {
            let resident = self.residents.get(id);
            if let Some((followers, seq)) = resident.and_then(|found| Some((found.followers.as_ref()?, found.saga.seq)))
            {
                followers.send_replace(seq);
            }
        }
        for id in round.leaving {
            if self.residents.get(id).is_some_and(|resident| may_leave(&resident.saga)) {
                self.residents.remove(id);
            }
        }
        for ended in round.ended {
            // No receiver is no fault: nobody looks.
            let _ = self.config.ended.send(ended);
        }
    }
}

/// Answers a repeated start: the same request gets the same saga, another one under its key a conflict (I3).
fn answer_existing(
    round: &mut Round,
    answer: oneshot::Sender<Result<Started, ServiceError>>,
    request: &StartRequest,
    (digest, status, started_at): (Uuid, Status, Timestamp),
) {
    if digest == request.input.digest() {
        let started = Started { id: request.id, existed: true, status, started_at };
        return round.answers.push(Answer::Started(answer, started));
    }
    let key = request.key.as_ref().map_or("", IdempotencyKey::as_str);
    let message =
        format!("the key {key:?} belongs to another {} already, with another input", request.definition.saga_type);
    drop(answer.send(Err(ServiceError::AlreadyExists(message))));
}

fn refuse_all(inputs: &mut Vec<LaneInput>, error: &StoreError) {
    let error = ServiceError::Unavailable(error.to_string());
    for input in inputs.drain(..) {
        match input {
            LaneInput::Start(_, answer) => drop(answer.send(Err(error.clone()))),
            LaneInput::Operate(_, _, answer) => drop(answer.send(Err(error.clone()))),
            LaneInput::Follow(_, answer) => drop(answer.send(None)),
            LaneInput::Replies(_) => {}
        }
    }
}
