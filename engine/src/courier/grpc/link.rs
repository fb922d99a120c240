//! One connection to a participant: finds out whether it is there, and carries commands for as long as it is.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::participant_service_client::ParticipantServiceClient;
use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::transport::Channel;
use tonic::{Code, Status, TimeoutExpired};

use super::breaker::Breaker;
use super::participant::Participant;
use crate::courier::Inlet;

/// How long a probe may take: longer than a participant that is there needs under load.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// The engine's end, once it is there.
pub(super) type InletCell = watch::Receiver<Option<Arc<dyn Inlet>>>;

/// One connection.
pub(super) struct Link {
    pub(super) participant: Arc<Participant>,
    pub(super) channel: Channel,
    pub(super) inlet: InletCell,
    /// Its share of the participant's calls under way.
    pub(super) in_flight_max: usize,
    pub(super) breaker: Breaker,
    /// Whether a stream is tried first.
    pub(super) streams: bool,
}

/// That the participant is there, for as long as this lives.
struct Connected {
    participant: Arc<Participant>,
    /// Not known where the engine stops, or fails.
    lost: Option<String>,
}

impl Connected {
    fn new(participant: Arc<Participant>) -> Self {
        participant.connect();
        Self { participant, lost: None }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let failed = || std::thread::panicking().then(|| "this engine failed".to_owned());
        if let Some(why) = self.lost.take().or_else(failed) {
            self.participant.disconnect(&why);
        }
    }
}

impl Link {
    /// Never returns; the courier ends it.
    pub(super) async fn run(mut self) {
        let Some(inlet) = self.inlet().await else { return };
        loop {
            // The transport panics at some malformed answers. What was under way is then left to its time-outs.
            if AssertUnwindSafe(self.serve(&*inlet)).catch_unwind().await.is_err() {
                tracing::error!(participant = self.participant.name, "a link panicked; it begins anew");
                self.breaker.open(Instant::now());
            }
        }
    }

    async fn serve(&mut self, inlet: &dyn Inlet) {
        self.reach().await;
        let mut connected = Connected::new(self.participant.clone());
        // Asked anew on each connection: a newer version of the participant may have learned it.
        let lost = if self.streams { self.stream(inlet).await } else { None };
        connected.lost = Some(match lost {
            Some(why) => why,
            None => {
                tracing::info!(participant = self.participant.name, "commands go as single calls");
                self.single(inlet).await
            }
        });
    }

    async fn inlet(&mut self) -> Option<Arc<dyn Inlet>> {
        // An error means that the courier is gone.
        self.inlet.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Probes until the participant is there.
    async fn reach(&mut self) {
        while let Some(probe_at) = self.breaker.probe_at() {
            sleep_until(probe_at).await;
            match self.describe().await {
                Ok(described) => {
                    self.participant.describe(described);
                    self.breaker.close();
                }
                Err(why) => {
                    tracing::debug!(participant = self.participant.name, why, "nobody there");
                    self.participant.because(&why);
                    self.breaker.open(Instant::now());
                }
            }
        }
    }

    /// Asks what is served. Any answer of the participant's own shows that it is there.
    async fn describe(&self) -> Result<Option<(Vec<String>, Vec<String>)>, String> {
        let mut client = ParticipantServiceClient::new(self.channel.clone());
        match timeout(PROBE_MAX, client.describe(proto::DescribeRequest {})).await {
            Err(_) => Err(format!("it does not answer within {} s", PROBE_MAX.as_secs())),
            Ok(Ok(described)) => {
                let described = described.into_inner();
                Ok(Some((described.commands, described.topics)))
            }
            Ok(Err(status)) if is_absence(&status) => Err(absence(&status)),
            Ok(Err(status)) => {
                tracing::info!(participant = self.participant.name, code = ?status.code(), "does not say what it serves");
                Ok(None)
            }
        }
    }
}

/// Whether a status says that nobody, or not the participant itself, was there. Codes without a cause come over the
/// wire, from the participant or from a proxy before it.
pub(super) fn is_absence(status: &Status) -> bool {
    let transport = std::error::Error::source(status).is_some();
    status.code() == Code::Unavailable || transport && !is_out_of_time(status)
}

/// Whether this side has stopped waiting.
pub(super) fn is_out_of_time(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What is said of it: of errors of the connection their cause, of answers their code only, since a participant's words
/// may hold what nobody shall see (I37).
pub(super) fn absence(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| format!("it answers {:?}", status.code()), |cause| format!("the connection failed: {cause}"))
}
