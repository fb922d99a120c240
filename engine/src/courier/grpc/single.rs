//! Carries commands as single calls, each on a task of its own.

use std::time::Duration;

use amends_core::Reply;
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::participant_service_client::ParticipantServiceClient;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::link::{Link, absence, is_absence, is_out_of_time};
use super::queue::{Held, SPAN_MIN};
use super::translate;
use crate::courier::Inlet;

/// How long a command rests that found nobody, before jitter of as much again: doubled each time, up to the second. A
/// participant that names a wait of its own is given it, up to the same.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How long calls under way are waited for once the participant seems gone. Those that hang longer are given up; their
/// time-outs send them again.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// What came of a call.
enum Finished {
    /// The participant's answer.
    Answered(Reply),
    /// The outcome is unknown, and the engine's time-out decides.
    Unknown,
    /// So it is, and nobody has said so.
    Silent,
    /// Nobody was there to take it.
    Absent(Box<Held>, Status),
    /// It has rested, and may leave again.
    Rested(Box<Held>),
}

impl Link {
    /// Carries commands until nobody seems to be there, and says why.
    pub(super) async fn single(&mut self, inlet: &dyn Inlet) -> String {
        let client = ParticipantServiceClient::new(self.channel.clone());
        let mut calls = JoinSet::new();
        let mut replies = Vec::new();
        let mut why = String::new();
        let participant = self.participant.clone();
        while self.breaker.probe_at().is_none() {
            let room = self.in_flight_max.saturating_sub(calls.len());
            if room > 0 {
                for held in participant.take(room) {
                    calls.spawn(call(client.clone(), held));
                }
            }
            tokio::select! {
                Some(finished) = calls.join_next() => self.settle(finished, &mut calls, &mut replies, &mut why),
                () = participant.arrived(), if calls.len() < self.in_flight_max => {}
            }
            while let Some(finished) = calls.try_join_next() {
                self.settle(finished, &mut calls, &mut replies, &mut why);
            }
            give(inlet, &mut replies).await;
        }
        let drain = async {
            while let Some(finished) = calls.join_next().await {
                self.settle(finished, &mut calls, &mut replies, &mut why);
            }
        };
        let _ = tokio::time::timeout(DRAIN_MAX, drain).await;
        give(inlet, &mut replies).await;
        why
    }

    fn settle(
        &mut self,
        finished: Result<Finished, JoinError>,
        calls: &mut JoinSet<Finished>,
        replies: &mut Vec<Reply>,
        why: &mut String,
    ) {
        match finished {
            Ok(Finished::Answered(reply)) => {
                self.breaker.answered();
                replies.push(reply);
            }
            Ok(Finished::Unknown) => self.breaker.answered(),
            // A slow participant is not one that is gone; whether the connection is alive, HTTP/2 finds out.
            Ok(Finished::Silent) => {}
            Ok(Finished::Absent(held, status)) => {
                *why = absence(&status);
                self.breaker.failed(Instant::now());
                if self.breaker.probe_at().is_some() {
                    self.participant.put_back(vec![*held]);
                } else {
                    calls.spawn(rest(held, status));
                }
            }
            // Once its time is up, the engine's own time-out says whether it is sent again.
            Ok(Finished::Rested(held)) if held.due <= Instant::now() => {}
            Ok(Finished::Rested(held)) => self.participant.put_back(vec![*held]),
            Err(error) => tracing::error!(participant = self.participant.name, %error, "a call panicked"),
        }
    }
}

/// Hands over what has come.
async fn give(inlet: &dyn Inlet, replies: &mut Vec<Reply>) {
    if !replies.is_empty() {
        inlet.replies(std::mem::take(replies)).await;
    }
}

async fn call(mut client: ParticipantServiceClient<Channel>, held: Held) -> Finished {
    let mut request = Request::new(translate::command(&held.command));
    request.set_timeout(held.due.saturating_duration_since(Instant::now()).max(SPAN_MIN));
    if let Ok(trace) = MetadataValue::try_from(held.command.traceparent()) {
        request.metadata_mut().insert("traceparent", trace);
    }
    match client.execute(request).await {
        Ok(reply) => answered(&held, reply.into_inner()),
        Err(status) if is_absence(&status) => Finished::Absent(Box::new(held), status),
        Err(status) if is_out_of_time(&status) => Finished::Silent,
        Err(status) => {
            match status.code() {
                code @ (Code::DeadlineExceeded | Code::Cancelled | Code::Aborted | Code::ResourceExhausted) => {
                    let command = &held.command;
                    tracing::debug!(saga = %command.saga_id, command = command.command, ?code, "outcome unknown");
                }
                code => unknown(&held, &format!("it answers {code:?}")),
            }
            Finished::Unknown
        }
    }
}

fn answered(held: &Held, reply: proto::Reply) -> Finished {
    match translate::reply(&held.command, reply) {
        Ok(reply) => Finished::Answered(reply),
        Err(why) => {
            unreadable(held, why);
            Finished::Unknown
        }
    }
}

/// Says what no retry will heal. The words of a participant are left out (I37).
pub(super) fn unknown(held: &Held, why: &str) {
    let command = &held.command;
    tracing::warn!(
        saga = %command.saga_id, step = %command.step, command = command.command, attempt = command.attempt, why,
        "the participant could not take a command; the outcome counts as unknown",
    );
}

pub(super) fn unreadable(held: &Held, why: &str) {
    let command = &held.command;
    tracing::error!(
        saga = %command.saga_id, step = %command.step, command = command.command, attempt = command.attempt, why,
        "a reply cannot be read; the outcome counts as unknown",
    );
}

/// Waits before the next try, longer each time.
async fn rest(mut held: Box<Held>, status: Status) -> Finished {
    held.losses += 1;
    let asked = status.get_error_details().retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
    let rest = (REST.0 * 2_u32.pow(held.losses.min(8))).max(asked).min(REST.1);
    sleep(rest).await;
    Finished::Rested(held)
}
