//! Calls participants over gRPC.
//!
//! Each participant has a bounded queue and one or more links. A link finds out whether the participant is there
//! (`Describe`), and then carries commands over a stream, or as single calls where no stream is served. What is sent
//! when nobody is there stays in the queue, and the engine is told that its clocks stand still.
//!
//! An error of gRPC's own means that the outcome is unknown, and nothing is told to the engine: the command's time-out
//! decides. That holds for `INVALID_ARGUMENT`, too: a participant that cannot read a command has not refused it for
//! business reasons; the log has a warning. What certainly or probably reached nobody (no connection, `UNAVAILABLE`) is
//! tried again within the attempt's time. `RESOURCE_EXHAUSTED` is none of these: some servers say it of a message that
//! is too large, which no wait will mend.

mod breaker;
mod link;
mod notify;
mod participant;
mod queue;
mod single;
mod stream;
#[cfg(test)]
mod tests;
mod translate;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amends_core::{Command, Timestamp};
use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint, Uri};

use super::by_participant::worse;
use super::{Courier, CourierError, Inlet, Served};
use breaker::Breaker;
use link::Link;
use notify::Subscriber;
use participant::Participant;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// How often the other side is asked whether it is still there, and how long it may take to say so: a host that has
/// vanished without a word is found out within their sum.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// What one stream, and one connection, may have on its way here before this side has read it. HTTP/2's own 64 KiB
/// would stop a stream of answers many times per message.
const WINDOWS: (u32, u32) = (2 * 1024 * 1024, 4 * 1024 * 1024);

/// A participant that is reached over gRPC.
#[derive(Debug, Clone)]
pub struct GrpcTarget {
    /// Its name, e.g. `payment`.
    pub participant: String,
    /// Where it listens, e.g. `http://127.0.0.1:7500`. With several, each takes a share.
    pub urls: Vec<String>,
    /// What it serves, as far as that is known before it is asked; may be empty.
    pub commands: Vec<String>,
    /// Bounds.
    pub limits: GrpcLimits,
}

/// Bounds of one participant.
#[derive(Debug, Clone)]
pub struct GrpcLimits {
    /// Commands without an answer, over all connections.
    pub in_flight_max: usize,
    /// Commands that wait for a place, or for the participant.
    pub queue_max: usize,
    /// Connections per URL. One carries more than one core can produce; more spread the work over cores.
    pub connections: usize,
    /// Whether streams are used where they are served.
    pub streams: bool,
}

impl Default for GrpcLimits {
    fn default() -> Self {
        Self { in_flight_max: 256, queue_max: 8_192, connections: 1, streams: true }
    }
}

/// A target that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("participant {participant}: {why}")]
pub struct InvalidTarget {
    /// Whose.
    pub participant: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// Calls participants over gRPC. Also tells those that subscribe to domain events about them.
pub struct GrpcCourier {
    participants: BTreeMap<String, Arc<Participant>>,
    subscribers: Vec<Subscriber>,
    inlet: watch::Sender<Option<Arc<dyn Inlet>>>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl GrpcCourier {
    /// Begins to look for the participants. Commands are taken from now on, and leave after [`GrpcCourier::connect`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(targets: Vec<GrpcTarget>) -> Result<Self, InvalidTarget> {
        let inlet = watch::Sender::new(None);
        let mut courier = Self {
            participants: BTreeMap::new(),
            subscribers: Vec::new(),
            inlet,
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let mut links = Vec::new();
        for target in targets {
            links.extend(courier.add(&target)?);
        }
        for link in links {
            let cancel = courier.cancel.clone();
            courier.tasks.spawn(async move { cancel.run_until_cancelled(link.run()).await });
        }
        courier.tasks.close();
        Ok(courier)
    }

    fn add(&mut self, target: &GrpcTarget) -> Result<Vec<Link>, InvalidTarget> {
        let invalid = |why: String| InvalidTarget { participant: target.participant.clone(), why };
        if target.urls.is_empty() {
            return Err(invalid("has no URL; give one like http://127.0.0.1:7500".to_owned()));
        }
        if self.participants.contains_key(&target.participant) {
            return Err(invalid("is named twice; give all its URLs in one place".to_owned()));
        }
        let participant = Arc::new(Participant::new(target));
        let connections = target.limits.connections.max(1);
        let in_flight_max = target.limits.in_flight_max.div_ceil(connections * target.urls.len()).max(1);
        let mut links = Vec::new();
        for url in &target.urls {
            for _ in 0..connections {
                links.push(Link {
                    participant: participant.clone(),
                    channel: channel(url).map_err(invalid)?,
                    inlet: self.inlet.subscribe(),
                    in_flight_max,
                    breaker: Breaker::new(tokio::time::Instant::now()),
                    streams: target.limits.streams,
                });
            }
        }
        let channels = links.iter().step_by(connections).map(|link| link.channel.clone());
        self.subscribers.push(Subscriber::new(participant.clone(), channels));
        self.participants.insert(target.participant.clone(), participant);
        Ok(links)
    }

    /// Gives the engine's end. Once; a second call changes nothing for links that have begun.
    pub fn connect(&self, inlet: Arc<dyn Inlet>) {
        self.inlet.send_replace(Some(inlet));
    }

    /// Gives up what is under way and returns when nothing runs any more. Nothing is lost: what has no answer is sent
    /// again at the next start.
    pub async fn shutdown(&self) {
        self.cancel.cancel();
        self.tasks.wait().await;
        self.inlet.send_replace(None);
    }
}

impl Drop for GrpcCourier {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[async_trait]
impl Courier for GrpcCourier {
    /// Never waits.
    async fn send(&self, commands: Vec<Command>) -> Result<(), CourierError> {
        let mut result = Ok(());
        let mut rest = commands;
        while let Some(first) = rest.first() {
            let name = first.participant.clone();
            let (mine, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|command| command.participant == name);
            rest = others;
            let pushed = match self.participants.get(&name) {
                Some(participant) => participant.push(mine),
                None => Err(CourierError::Unserved(mine.into_iter().map(|one| one.command).next().unwrap_or(name))),
            };
            result = worse(result, pushed);
        }
        result
    }

    fn served(&self) -> Vec<Served> {
        self.participants.values().map(|participant| participant.served()).collect()
    }

    fn holds(&self, participant: &str, _sent: Timestamp) -> bool {
        self.participants.get(participant).is_some_and(|participant| participant.holds())
    }

    fn hindered(&self, participant: &str) -> Timestamp {
        self.participants.get(participant).map_or(Timestamp(0), |participant| participant.hindered.last())
    }
}

fn channel(url: &str) -> Result<Channel, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is not a URL: {error}"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(format!("{url}: TLS is not supported yet; use http behind a proxy that adds it")),
        _ => return Err(format!("{url:?} has no scheme; write http://{url}")),
    }
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1);
    Ok(endpoint.connect_lazy())
}
