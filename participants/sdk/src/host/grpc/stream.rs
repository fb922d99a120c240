//! The streams: many calls in a message, and the answers as they come.
//!
//! A stream reads on only when what it has read is with the answerer and what it has to say is on its way; the rest waits
//! at the caller. So there is nothing to refuse for want of room, and what waits here is bounded by the places of open
//! commands and by one message.
//!
//! A host that stops takes nothing more from its streams, answers what it has taken, and ends them. What has no answer
//! then comes again. One whose database is away breaks its streams off, so that no caller waits for answers.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;

use amends_core::{Command, Reply};
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::participant_stream_service_server::ParticipantStreamService;
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::{Request, Response, Status, Streaming};
use tracing::Span;

use super::intake::{Caller, Closed, Shared, Waiting, span};
use super::service::{Participant, away, stopping};
use super::{OPEN_MAX, convert};

/// Messages on their way into the connection. One: what is ready meanwhile forms the next.
const OUTBOUND: usize = 1;

/// Most bytes of answers in a message, whose bound is 4 MiB, with room for what surrounds them.
const MESSAGE_MAX: usize = 4 * 1024 * 1024 - 1024;

/// What surrounds an answer in its message: a tag and a length.
const FRAME: usize = 6;

/// A reply to a command of a stream.
pub(super) struct Given {
    /// The number by which the stream knows the command.
    pub(super) number: u64,
    pub(super) reply: Reply,
}

#[async_trait]
impl ParticipantStreamService for Participant {
    type ExecuteStream = BoxStream<'static, Result<proto::ExecuteResponse, Status>>;

    async fn execute(
        &self,
        request: Request<Streaming<proto::ExecuteRequest>>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        self.0.commands()?;
        let (outbound, mut messages) = mpsc::channel(OUTBOUND);
        // On a task of its own, since nobody asks a response whose caller does not read whether the host has stopped.
        // It ends with its caller, or with the host.
        tokio::spawn(Exchange::new(Arc::clone(&self.0), request.into_inner()).run(outbound));
        Ok(Response::new(futures::stream::poll_fn(move |cx| messages.poll_recv(cx)).boxed()))
    }
}

/// One stream.
struct Exchange {
    shared: Arc<Shared>,
    /// `None` once no further command is taken.
    taking: Option<Taking>,
    given: mpsc::Receiver<Vec<Given>>,
    /// Commands that the answerer has, by number.
    open: HashMap<u64, Open>,
    number: u64,
    /// Answers that wait for the next message.
    ready: VecDeque<Ready>,
    /// Why it ends, if it does so badly.
    failed: Option<Status>,
}

/// The caller's side.
struct Taking {
    inbound: Streaming<proto::ExecuteRequest>,
    /// What is left of the last message.
    calls: VecDeque<proto::Call>,
    /// Given away with each command.
    giver: mpsc::Sender<Vec<Given>>,
}

/// What comes next from the caller.
enum Taken {
    /// There is room for the next call.
    Room(OwnedSemaphorePermit, mpsc::OwnedPermit<Command>),
    Message(proto::ExecuteRequest),
    /// It has said all, or its side broke.
    End(Option<Status>),
    /// The answerer takes nothing.
    Deserted(Status),
}

/// A command that the answerer has.
struct Open {
    waiting: Waiting,
    /// As the call had it.
    attempt: u32,
    _span: Span,
}

/// An answer, and the place of its command, which is free when the answer leaves.
struct Ready {
    answer: proto::Answer,
    _open: Option<Waiting>,
}

impl Exchange {
    fn new(shared: Arc<Shared>, inbound: Streaming<proto::ExecuteRequest>) -> Self {
        // Each open command is given one reply, so that this is never full.
        let (giver, given) = mpsc::channel(OPEN_MAX);
        let taking = Some(Taking { inbound, calls: VecDeque::new(), giver });
        Self { shared, taking, given, open: HashMap::new(), number: 0, ready: VecDeque::new(), failed: None }
    }

    /// Runs until all is answered that was taken, or nobody waits for it any more.
    async fn run(mut self, outbound: mpsc::Sender<Result<proto::ExecuteResponse, Status>>) {
        let shared = Arc::clone(&self.shared);
        let (mut gone, mut closed) = (pin!(outbound.closed()), pin!(shared.closed().fuse()));
        let mut all_given = false;
        while !all_given || !self.ready.is_empty() {
            tokio::select! {
                biased;
                () = &mut gone => return,
                why = &mut closed => match why {
                    Closed::Stopped => self.taking = None,
                    Closed::Away => self.deserted(away()),
                },
                given = self.given.recv(), if !all_given => match given {
                    Some(given) => given.into_iter().for_each(|given| self.answered(given)),
                    None => all_given = true,
                },
                permit = outbound.reserve(), if !self.ready.is_empty() => {
                    let Ok(permit) = permit else { return };
                    permit.send(Ok(self.message()));
                }
                taken = next(&mut self.taking, &shared), if self.ready.is_empty() => self.take(taken),
            }
        }
        if let Some(status) = self.failed.take() {
            // The caller may be gone by now.
            let _ = outbound.send(Err(status)).await;
        }
    }

    fn take(&mut self, taken: Taken) {
        let Some(taking) = &mut self.taking else { return };
        match taken {
            Taken::Room(place, queued) => {
                if let Some(call) = taking.calls.pop_front() {
                    let giver = taking.giver.clone();
                    self.enter(call, giver, place, queued);
                }
            }
            Taken::Message(message) => taking.calls = message.calls.into(),
            Taken::End(failed) => {
                self.failed = failed;
                self.taking = None;
            }
            Taken::Deserted(why) => self.deserted(why),
        }
    }

    /// Expects no further answer.
    fn deserted(&mut self, why: Status) {
        self.failed = Some(why);
        self.taking = None;
        self.open.clear();
    }

    /// Gives one command to the answerer.
    fn enter(
        &mut self,
        call: proto::Call,
        giver: mpsc::Sender<Vec<Given>>,
        place: OwnedSemaphorePermit,
        queued: mpsc::OwnedPermit<Command>,
    ) {
        let message = call.command.unwrap_or_default();
        let (id, attempt) = (message.id.clone(), message.attempt);
        let command = match convert::command(message) {
            Ok(command) => command,
            Err(invalid) => {
                // A single call's caller is told by its status, which an answer has no place for.
                tracing::warn!(id, %invalid, "a command cannot be read; its outcome counts as unknown");
                self.ready.push_back(Ready { answer: unknown(id, attempt), _open: None });
                return;
            }
        };
        let span = span(&command, Some(call.traceparent.as_str()).filter(|trace| !trace.is_empty()));
        self.number += 1;
        let waiting = self.shared.enter(command, Caller::Stream(giver, self.number), place, queued);
        self.open.insert(self.number, Open { waiting, attempt, _span: span });
    }

    fn answered(&mut self, Given { number, reply }: Given) {
        let Some(Open { waiting, attempt, .. }) = self.open.remove(&number) else { return };
        let (saga_id, step) = (reply.saga_id, reply.step.clone());
        let mut answer = proto::Answer { reply: Some(convert::reply(reply)), attempt };
        if size(&answer) > MESSAGE_MAX {
            tracing::error!(%saga_id, %step, bytes = size(&answer), "an answer fits into no message; it is left out");
            answer = unknown(answer.reply.unwrap_or_default().command_id, attempt);
        }
        self.ready.push_back(Ready { answer, _open: Some(waiting) });
    }

    /// Takes what is ready, as far as it fits into a message.
    fn message(&mut self) -> proto::ExecuteResponse {
        let mut answers = Vec::with_capacity(self.ready.len());
        let mut bytes = 0;
        while let Some(ready) = self.ready.front() {
            bytes += size(&ready.answer);
            if bytes > MESSAGE_MAX {
                break;
            }
            answers.extend(self.ready.pop_front().map(|ready| ready.answer));
        }
        proto::ExecuteResponse { answers }
    }
}

/// What the caller brings next, and never anything if nothing more is taken. Can be called off.
async fn next(taking: &mut Option<Taking>, shared: &Shared) -> Taken {
    let Some(taking) = taking else { return std::future::pending().await };
    if !taking.calls.is_empty() {
        return match room(shared).await {
            Ok((place, queued)) => Taken::Room(place, queued),
            Err(why) => Taken::Deserted(why),
        };
    }
    match taking.inbound.message().await {
        Ok(Some(message)) => Taken::Message(message),
        Ok(None) => Taken::End(None),
        Err(status) => Taken::End(Some(status)),
    }
}

/// Waits for room for one command, or says why none is taken any more.
async fn room(shared: &Shared) -> Result<(OwnedSemaphorePermit, mpsc::OwnedPermit<Command>), Status> {
    let place = Arc::clone(&shared.open).acquire_owned().await.map_err(|_| stopping())?;
    // An answerer that has ended by itself answers nothing any more.
    let queued = shared.commands()?.reserve_owned().await.map_err(|_| stopping())?;
    Ok((place, queued))
}

fn size(answer: &proto::Answer) -> usize {
    answer.encoded_len() + FRAME
}

fn unknown(command_id: String, attempt: u32) -> proto::Answer {
    proto::Answer { reply: Some(proto::Reply { command_id, outcome: None }), attempt }
}
