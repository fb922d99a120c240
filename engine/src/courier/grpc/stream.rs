//! Carries commands over one stream, many in a message.

use std::pin::pin;
use std::time::Duration;

use amends_core::CommandId;
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::participant_stream_service_client::ParticipantStreamServiceClient;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use super::link::{Link, absence};
use super::queue::Held;
use super::single::{unknown, unreadable};
use super::translate;
use super::waiting::Waiting;
use crate::courier::Inlet;

/// Messages on their way into the connection. Few: what waits here can no longer be taken back.
const OUTBOUND: usize = 2;

/// Largest message that is read: a participant's own bound is 4 MiB, and one that errs shall not lose its connection.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// How often commands are looked for that have had no answer in time: their places must become free again.
const SWEEP: Duration = Duration::from_millis(500);

/// How often a command may be on a connection that breaks before it is left to its time-out: it may be what breaks it.
const LOSSES_MAX: u32 = 3;

impl Link {
    /// Carries commands until the stream ends, and says why it did; `None` if no stream is served.
    pub(super) async fn stream(&mut self, inlet: &dyn Inlet) -> Option<String> {
        let mut waiting = Waiting::new(self.in_flight_max);
        let status = self.carry(inlet, &mut waiting).await;
        let mut back = waiting.into_unanswered();
        if status.code() == Code::Unimplemented {
            self.participant.put_back(back);
            return None;
        }
        back.iter_mut().for_each(|held| held.losses += 1);
        back.retain(|held| held.losses < LOSSES_MAX);
        // Before the link counts as lost: what is put back has waited for the next one.
        self.participant.put_back(back);
        self.breaker.open(Instant::now());
        Some(absence(&status))
    }

    /// Says with which status the stream ended.
    async fn carry(&mut self, inlet: &dyn Inlet, waiting: &mut Waiting) -> Status {
        let (to_participant, mut outbound) = mpsc::channel::<proto::ExecuteRequest>(OUTBOUND);
        let outbound = futures::stream::poll_fn(move |cx| outbound.poll_recv(cx));
        let mut client =
            ParticipantStreamServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX);
        // Some participants begin their side with the first answer only, so that commands leave before it has begun.
        let mut beginning = pin!(client.execute(outbound));
        let mut inbound: Option<Streaming<proto::ExecuteResponse>> = None;
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let participant = self.participant.clone();
        loop {
            let room = waiting.room();
            let idle = participant.is_idle();
            tokio::select! {
                begun = &mut beginning, if inbound.is_none() => match begun {
                    Ok(begun) => {
                        tracing::info!(participant = participant.name, "commands go over a stream");
                        inbound = Some(begun.into_inner());
                    }
                    Err(status) => return status,
                },
                message = next(&mut inbound) => match message {
                    Ok(Some(message)) => self.answers(inlet, waiting, message).await,
                    Ok(None) => return Status::unavailable("the participant has ended the stream"),
                    Err(status) => return status,
                },
                permit = to_participant.reserve(), if room > 0 && !idle => {
                    let Ok(permit) = permit else { return Status::unavailable("the connection is closed") };
                    let taken = participant.take(room);
                    if !taken.is_empty() {
                        permit.send(request(taken, waiting));
                    }
                }
                () = participant.arrived(), if room > 0 && idle => {}
                now = sweep.tick() => waiting.sweep(now),
            }
        }
    }

    async fn answers(&mut self, inlet: &dyn Inlet, waiting: &mut Waiting, message: proto::ExecuteResponse) {
        self.breaker.answered();
        let mut replies = Vec::with_capacity(message.answers.len());
        for answer in message.answers {
            let Some(reply) = answer.reply else { continue };
            let Ok(id) = Uuid::try_parse(&reply.command_id) else { continue };
            // Nobody waits for it any more, or it came twice.
            let Some(held) = waiting.answered(CommandId::from_uuid(id), answer.attempt) else { continue };
            if reply.outcome.is_none() {
                unknown(&held, "the answer has no outcome");
                continue;
            }
            match translate::reply(&held.command, reply) {
                Ok(reply) => replies.push(reply),
                Err(why) => unreadable(&held, why),
            }
        }
        if !replies.is_empty() {
            inlet.replies(replies).await;
        }
    }
}

fn request(taken: Vec<Held>, waiting: &mut Waiting) -> proto::ExecuteRequest {
    let calls = taken.into_iter().map(|held| {
        let command = &held.command;
        let call = proto::Call { command: Some(translate::command(command)), traceparent: command.traceparent() };
        waiting.add(held);
        call
    });
    proto::ExecuteRequest { calls: calls.collect() }
}

async fn next(
    inbound: &mut Option<Streaming<proto::ExecuteResponse>>,
) -> Result<Option<proto::ExecuteResponse>, Status> {
    match inbound {
        Some(inbound) => inbound.message().await,
        None => std::future::pending().await,
    }
}
