//! The loop that moves the sagas of a set of shards: gather, decide, commit, act.
//!
//! While a commit is under way the next inputs gather in the lane's queue, so batches grow with load and no timer
//! delays a lone saga. Nothing is done, sent or answered before the commit that it follows from.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use amends_core::{
    Definition, IdempotencyKey, Input, Millis, Payload, Rejected, Reply, Saga, SagaId, Shard, Status, Timestamp,
};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clocks::Pulse;
use super::control::Control;
use super::recovery::wake;
use super::resident::{OwnedShard, Residents};
use super::round::{Answer, Round, may_leave};
use super::{Dispatcher, PublishQueue, now};
use crate::courier::{Courier, Records};
use crate::engine::Ended;
use crate::metrics::Metrics;
use crate::service::ServiceError;
use crate::service::start::Started;
use crate::store::{Leases, Owner, SagaRow, ShardMark, Store};

/// Most messages of the queue that one round takes: bounds the transaction's size and the wait of the next message.
pub(super) const ROUND_MAX: usize = 256;

/// What a client is told to wait when a shard is full.
const RETRY_AFTER: amends_core::Millis = amends_core::Millis(200);

/// A message to a lane.
pub(crate) enum LaneInput {
    /// Accept a saga.
    Start(Box<StartRequest>, oneshot::Sender<Result<Started, ServiceError>>),
    /// Participants answered.
    Replies(Vec<Reply>),
    /// The next records of a shard's log.
    Records(Records),
    /// An operator acts.
    Operate(SagaId, Box<Input>, oneshot::Sender<Result<(), ServiceError>>),
    /// Somebody wants to see the journal grow.
    Follow(SagaId, oneshot::Sender<Following>),
}

impl LaneInput {
    /// What a log has brought.
    pub(super) const fn records(&mut self) -> Option<&mut Records> {
        match self {
            Self::Records(records) => Some(records),
            _ => None,
        }
    }
}

/// The number of a saga's last journal row, as it grows; `None` if the saga is not in memory.
pub(crate) type Following = Result<Option<watch::Receiver<u64>>, ServiceError>;

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
    pub(crate) owner: Owner,
    /// How long a claim holds without a heartbeat.
    pub(crate) ttl: Millis,
    /// One counter per shard of the installation: sagas in memory.
    pub(crate) in_flight: Arc<[Arc<AtomicUsize>]>,
    pub(crate) definitions: crate::Definitions,
    pub(crate) courier: Arc<dyn Courier>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) publish_queue: PublishQueue,
    pub(crate) ended: broadcast::Sender<Ended>,
    pub(crate) metrics: Metrics,
    /// Unfinished sagas per shard; starts beyond it are refused.
    pub(crate) in_flight_max: usize,
    /// Rung when a shard was dropped.
    pub(crate) bell: Arc<Notify>,
    pub(crate) cancel: CancellationToken,
}

/// One lane.
pub(crate) struct Lane {
    pub(crate) residents: Residents,
    pub(super) config: LaneConfig,
    pub(super) pulse: Pulse,
    pub(super) queue: mpsc::Receiver<LaneInput>,
    /// Apart from the queue, which is emptied while nothing can be committed: of a log nothing may be left out.
    records: mpsc::Receiver<Records>,
    control: mpsc::Receiver<Control>,
}

/// The ends of a lane's channels that the lane reads.
pub(crate) struct LaneQueues {
    pub(crate) inputs: mpsc::Receiver<LaneInput>,
    pub(crate) records: mpsc::Receiver<Records>,
    pub(crate) control: mpsc::Receiver<Control>,
}

impl Lane {
    pub(crate) fn new(
        residents: Residents,
        config: LaneConfig,
        LaneQueues { inputs, records, control }: LaneQueues,
    ) -> Self {
        Self { residents, config, pulse: Pulse::new(), queue: inputs, records, control }
    }

    /// Runs until cancelled, then takes no more and returns; what is committed is safe, the rest was not acknowledged.
    pub(crate) async fn run(mut self) {
        let mut inputs = Vec::with_capacity(ROUND_MAX);
        while let Some(control) = self.gather(&mut inputs).await {
            self.pulse.beat(Some(now()));
            if let Some(control) = control {
                self.control(control).await;
            }
            self.round(&mut inputs).await;
        }
    }

    /// Waits for word about the shards, for inputs or a due timer; `None` once the lane shall end.
    async fn gather(&mut self, inputs: &mut Vec<LaneInput>) -> Option<Option<Control>> {
        let wakeup = self.residents.next_wakeup().map(|at| at.max(now()));
        self.pulse.beat(wakeup);
        let wait = wakeup.map(|at| Duration::from(at.since(now())));
        let wakeup = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let woken = tokio::select! {
            biased;
            () = self.config.cancel.cancelled() => None,
            control = self.control.recv() => control.map(Some),
            Some(records) = self.records.recv() => {
                inputs.push(LaneInput::Records(records));
                Some(None)
            }
            received = self.queue.recv_many(inputs, ROUND_MAX) => (received > 0).then_some(None),
            () = wakeup => Some(None),
        };
        // What has arrived by both ways shares the transaction.
        while inputs.len() < ROUND_MAX
            && let Ok(records) = self.records.try_recv()
        {
            inputs.push(LaneInput::Records(records));
        }
        while inputs.len() < ROUND_MAX
            && let Ok(input) = self.queue.try_recv()
        {
            inputs.push(input);
        }
        woken
    }

    async fn round(&mut self, inputs: &mut Vec<LaneInput>) {
        self.send_on(inputs).await;
        let woken = match wake(&mut self.residents, &self.config, inputs).await {
            Ok(woken) => woken,
            Err(error) => {
                // Of a log nothing may be left out: the shard is claimed again, and read from its cursor.
                let unread = inputs.iter().filter_map(|input| match input {
                    LaneInput::Records(records) => Some(records.shard),
                    _ => None,
                });
                unread.collect::<Vec<_>>().into_iter().for_each(|shard| self.drop_shard(shard));
                return refuse_all(inputs, &error.into());
            }
        };
        let mut round = Round::new(now());
        for input in inputs.drain(..) {
            match input {
                LaneInput::Start(request, answer) => self.start(&mut round, *request, answer, &woken.known),
                LaneInput::Replies(replies) => self.replies(&mut round, replies),
                LaneInput::Records(records) => self.records(&mut round, records, &woken.known),
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
        if let Err(error) = self.moves(shard) {
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

    fn operate(
        &mut self,
        round: &mut Round,
        id: SagaId,
        input: &Input,
        answer: oneshot::Sender<Result<(), ServiceError>>,
        known: &[SagaRow],
    ) {
        if let Err(error) = self.moves(self.residents.shard_of(id)) {
            return drop(answer.send(Err(error)));
        }
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

    fn follow(&mut self, id: SagaId) -> Result<Option<watch::Receiver<u64>>, ServiceError> {
        let shard = self.residents.shard_of(id);
        if !self.residents.shards.contains_key(&shard) {
            return Err(ServiceError::NotOwner { shard });
        }
        let Some(resident) = self.residents.get_mut(id) else { return Ok(None) };
        let seq = resident.saga.seq;
        Ok(Some(resident.followers.get_or_insert_with(|| watch::channel(seq).0).subscribe()))
    }

    /// Whether the sagas of a shard can move here, now.
    fn moves(&self, shard: Shard) -> Result<(), ServiceError> {
        match self.residents.shards.get(&shard) {
            None => Err(ServiceError::NotOwner { shard }),
            Some(OwnedShard { halted: Some(halt), .. }) => {
                Err(ServiceError::Unavailable(format!("shard {shard} stands still: {}", halt.why)))
            }
            Some(_) => Ok(()),
        }
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
        self.config.publish_queue.send(round.domain_events, round.dead_letters, marks.collect());
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

/// Answers everybody who waits. Callers see to records themselves.
pub(super) fn refuse_all(inputs: &mut Vec<LaneInput>, error: &ServiceError) {
    for input in inputs.drain(..) {
        match input {
            LaneInput::Start(_, answer) => drop(answer.send(Err(error.clone()))),
            LaneInput::Operate(_, _, answer) => drop(answer.send(Err(error.clone()))),
            LaneInput::Follow(_, answer) => drop(answer.send(Err(error.clone()))),
            LaneInput::Replies(_) | LaneInput::Records(_) => {}
        }
    }
}
