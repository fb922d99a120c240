//! Sends requests to the engine that owns the saga's shard, until the caller's time is up.
//!
//! A forwarded request is never forwarded again: an engine that does not own the shard says so, and this one looks for
//! the owner anew. So there are no loops, only a caller that waits a little while a shard changes hands.

pub(crate) mod caller;
mod peers;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use amends_core::{Input, Millis, SagaId, Shard, Status as SagaStatus, Timestamp};
use amends_proto::amends::v1 as proto;
use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{ConnectError, Request, Response, Status};

use super::start::{StartSaga, Started};
use super::{ServiceError, wait};
use crate::api::errors;
use crate::shard::orphaned_max;
use crate::store::{Archive, Owner};
use peers::{Client, Peers};

/// What a request allows for a shard to be taken over once its lease has ended: its sagas are read first. An engine that
/// is alone takes back what it has dropped within the same.
const TAKE_OVER_MAX: Duration = Duration::from_secs(3);

/// First and longest wait between two tries, before jitter, which adds up to as much again.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));

/// How long another engine may take to begin to follow a saga.
const FOLLOW_MAX: Duration = Duration::from_secs(2);

/// What an engine does with requests for the shards that it owns; others are [`ServiceError::NotOwner`].
#[async_trait]
pub(crate) trait Here: Send + Sync {
    /// Accepts a saga.
    async fn start_here(&self, request: &StartSaga) -> Result<Started, ServiceError>;

    /// Brings an operator's input to a saga.
    async fn operate_here(&self, saga: SagaId, input: Input) -> Result<(), ServiceError>;

    /// Follows a saga; `None` if it is not in memory.
    async fn follow_here(&self, saga: SagaId) -> Result<Option<watch::Receiver<u64>>, ServiceError>;
}

/// Finds owners and calls them.
pub(crate) struct Forward {
    peers: Peers,
    /// This engine's own address: nothing is sent there.
    own: String,
    /// How long a request looks for an owner: until one that died without a word must have been replaced. A caller that
    /// has less time leaves before.
    wait_max: Duration,
    /// Ends what follows sagas elsewhere.
    cancel: CancellationToken,
}

/// What came of a call to another engine.
enum Told<T> {
    /// Its answer.
    Answer(Result<T, ServiceError>),
    /// It is not the owner, or nobody is there: certainly nothing was done.
    NotThere(String),
    /// The connection broke, or the time was up: it may have been done.
    Unclear(String),
}

impl Forward {
    /// `lease` is the engines'; `None` if there is no other.
    pub(crate) fn new(
        archive: Arc<dyn Archive>,
        own: String,
        lease: Option<Millis>,
        cancel: CancellationToken,
    ) -> Self {
        Self { peers: Peers::new(archive), own, wait_max: wait_max(lease), cancel }
    }

    /// Accepts a saga, here or where its shard is. Safe to repeat: its id is made, so that it is started once.
    pub(crate) async fn start(
        &self,
        here: &impl Here,
        request: &StartSaga,
        id: SagaId,
        shard: Shard,
    ) -> Result<Started, ServiceError> {
        let message = proto::PeerStartRequest {
            r#type: request.saga_type.clone(),
            id: id.to_string(),
            idempotency_key: request.key.as_ref().map(|key| key.as_str().to_owned()).unwrap_or_default(),
            input: request.input.as_str().to_owned(),
            deadline_ms: request.deadline.map_or(0, |span| span.0),
        };
        let call = |mut client: Client, left: Duration| {
            let message = timed(message.clone(), left);
            async move {
                match told(client.start(message).await, shard) {
                    Told::Answer(Ok(answer)) => Told::Answer(started(&answer, request)),
                    Told::Answer(Err(error)) => Told::Answer(Err(error)),
                    Told::NotThere(why) => Told::NotThere(why),
                    // The same again does no harm.
                    Told::Unclear(why) => Told::NotThere(why),
                }
            }
        };
        self.route(shard, || here.start_here(request), call).await
    }

    /// Brings an operator's input to a saga, here or where its shard is. Repeated only if it was certainly not done.
    pub(crate) async fn operate(
        &self,
        here: &impl Here,
        saga: SagaId,
        shard: Shard,
        input: Input,
    ) -> Result<(), ServiceError> {
        let text = serde_json::to_string(&input).map_err(|error| {
            tracing::error!(%error, "an input cannot be written");
            ServiceError::Internal
        })?;
        let message = proto::PeerOperateRequest { saga_id: saga.to_string(), input: text };
        let call = |mut client: Client, left: Duration| {
            let message = timed(message.clone(), left);
            async move {
                match told(client.operate(message).await, shard) {
                    Told::Answer(answer) => Told::Answer(answer.map(|_| ())),
                    Told::NotThere(why) => Told::NotThere(why),
                    Told::Unclear(why) => Told::Unclear(why),
                }
            }
        };
        self.route(shard, || here.operate_here(saga, input.clone()), call).await
    }

    /// Follows a saga, here or where its shard is. `None` if nobody can: whoever watches looks again.
    pub(crate) async fn follow(
        &self,
        here: &impl Here,
        saga: SagaId,
        shard: Shard,
    ) -> Result<Option<watch::Receiver<u64>>, ServiceError> {
        match here.follow_here(saga).await {
            Err(ServiceError::NotOwner { .. }) => {}
            answer => return answer,
        }
        let Ok(Some(owner)) = self.peers.owner(shard).await else { return Ok(None) };
        if owner.address == self.own {
            self.peers.forget(shard, &owner);
            return Ok(None);
        }
        let Ok(mut client) = self.peers.client(&owner) else { return Ok(None) };
        let begun = async {
            let mut rows = client.follow(proto::PeerFollowRequest { saga_id: saga.to_string() }).await?.into_inner();
            let first = rows.message().await?;
            Ok::<_, Status>(first.map(|first| (first.seq, rows)))
        };
        let (seq, mut rows) = match tokio::time::timeout(FOLLOW_MAX, begun).await {
            Ok(Ok(Some(begun))) => begun,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(status)) => {
                tracing::debug!(%shard, address = owner.address, code = ?status.code(), "cannot follow a saga there");
                self.peers.forget(shard, &owner);
                return Ok(None);
            }
            Err(_) => return Ok(None),
        };
        let (follower, receiver) = watch::channel(seq);
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            let pump = async {
                while let Ok(Some(row)) = rows.message().await {
                    follower.send_replace(row.seq);
                }
            };
            tokio::select! {
                () = pump => {}
                () = follower.closed() => {}
                () = cancel.cancelled() => {}
            }
        });
        Ok(Some(receiver))
    }

    /// Tries here and at the owner in turn, until somebody answers or the time is up.
    async fn route<T, L, C>(
        &self,
        shard: Shard,
        local: impl Fn() -> L,
        call: impl Fn(Client, Duration) -> C,
    ) -> Result<T, ServiceError>
    where
        L: Future<Output = Result<T, ServiceError>>,
        C: Future<Output = Told<T>>,
    {
        let give_up = caller::give_up(Instant::now() + self.wait_max);
        let waits = ExponentialBuilder::new().with_min_delay(WAITS.0).with_max_delay(WAITS.1).with_jitter();
        let mut waits = waits.without_max_times().build();
        let mut why;
        loop {
            match local().await {
                Err(ServiceError::NotOwner { .. }) => {}
                answer => return answer,
            }
            match self.peers.owner(shard).await {
                Ok(None) => why = "nobody owns it at present".to_owned(),
                Err(error) => why = error.to_string(),
                Ok(Some(owner)) if owner.address == self.own => {
                    why = "it is about to be taken over".to_owned();
                    self.peers.forget(shard, &owner);
                }
                Ok(Some(owner)) => match self.call(&owner, &call, give_up).await {
                    Told::Answer(answer) => return answer,
                    Told::Unclear(why) => {
                        self.peers.forget(shard, &owner);
                        let message = format!(
                            "the engine that owns shard {shard} was asked and did not answer ({why}); \
                            it may have been done: look before you try again"
                        );
                        return Err(ServiceError::Unavailable(message));
                    }
                    Told::NotThere(reason) => {
                        why = reason;
                        self.peers.forget(shard, &owner);
                    }
                },
            }
            let wait = waits.next().unwrap_or(WAITS.1);
            if Instant::now() + wait >= give_up {
                let message = format!("shard {shard} cannot be reached: {why}; try again");
                return Err(ServiceError::Unavailable(message));
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn call<T, C>(&self, owner: &Owner, call: impl Fn(Client, Duration) -> C, give_up: Instant) -> Told<T>
    where
        C: Future<Output = Told<T>>,
    {
        match self.peers.client(owner) {
            Ok(client) => call(client, give_up.saturating_duration_since(Instant::now())).await,
            Err(error) => Told::NotThere(format!("{:?} is no address: {error}", owner.address)),
        }
    }
}

/// Never so long that an API gives up first: its answer would say less.
fn wait_max(lease: Option<Millis>) -> Duration {
    (lease.map_or(Duration::ZERO, orphaned_max) + TAKE_OVER_MAX).min(wait::WAIT_MAX)
}

fn timed<T>(message: T, left: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    request
}

fn told<T>(result: Result<Response<T>, Status>, shard: Shard) -> Told<T> {
    let status = match result {
        Ok(answer) => return Told::Answer(Ok(answer.into_inner())),
        Err(status) => status,
    };
    match errors::error(&status, shard) {
        Some(ServiceError::NotOwner { .. }) => Told::NotThere("it is changing hands".to_owned()),
        Some(error) => Told::Answer(Err(error)),
        None if never_sent(&status) => Told::NotThere("its owner cannot be reached".to_owned()),
        None => Told::Unclear(format!("{:?}", status.code())),
    }
}

/// Whether no connection was made, so that nobody can have heard of the request.
fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn started(answer: &proto::PeerStartResponse, request: &StartSaga) -> Result<Started, ServiceError> {
    let read = || {
        let status = SagaStatus::ALL.into_iter().find(|status| status.as_str() == answer.status)?;
        let started_at = Timestamp(answer.started_at_ms);
        // Without a key the id is this request's own: what existed is what an unheard try before has made.
        let existed = answer.existed && request.key.is_some();
        Some(Started { id: answer.id.parse().ok()?, existed, status, started_at })
    };
    read().ok_or_else(|| {
        tracing::error!("another engine's answer cannot be read");
        ServiceError::Internal
    })
}
