//! The way in, which single calls and streams share: commands to the answerer, and who waits for the replies.

use std::sync::Arc;

use amends_core::{Command, Reply};
use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tonic::Status;
use tracing::Span;

use super::service::{away, stopping};
use super::stream::Given;
use super::{OPEN_MAX, Served};
use crate::host::ReplySink;
use crate::host::asked::{Ask, Asked};

/// What the calls share.
pub(super) struct Shared {
    pub(super) served: Served,
    pub(super) asked: Asked<Caller>,
    gate: watch::Sender<Gate>,
    /// A place for each command that waits for its answer.
    pub(super) open: Arc<Semaphore>,
}

/// Whether commands are taken.
pub(super) enum Gate {
    /// Yes, and this is their way to the answerer.
    Open(mpsc::Sender<Command>),
    /// No: the participant's database is away. The way is kept for when it is back.
    Away(mpsc::Sender<Command>),
    /// Never again: the host is told to stop.
    Stopped,
}

/// Why a gate is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    Away,
    Stopped,
}

impl Gate {
    pub(super) const fn closed(&self) -> Option<Closed> {
        match self {
            Self::Open(_) => None,
            Self::Away(_) => Some(Closed::Away),
            Self::Stopped => Some(Closed::Stopped),
        }
    }

    /// The same, away or not; one that has stopped stays so.
    fn suspended(self, suspended: bool) -> Self {
        match self {
            Self::Open(commands) | Self::Away(commands) if suspended => Self::Away(commands),
            Self::Open(commands) | Self::Away(commands) => Self::Open(commands),
            Self::Stopped => Self::Stopped,
        }
    }
}

/// Who is given a reply.
pub(super) enum Caller {
    /// A single call.
    Call(oneshot::Sender<Reply>),
    /// A stream, and the number by which it knows the command. Its channel has room for every open command, so that
    /// nobody ever waits for it.
    Stream(mpsc::Sender<Vec<Given>>, u64),
}

/// A command that waits for its answer; its place is free when this ends, however it does.
pub(super) struct Waiting {
    shared: Arc<Shared>,
    ask: Ask,
    _place: OwnedSemaphorePermit,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.asked.forget(self.ask);
    }
}

impl Shared {
    pub(super) fn new(served: Served, commands: mpsc::Sender<Command>) -> Self {
        let gate = watch::Sender::new(Gate::Open(commands));
        Self { served, asked: Asked::default(), gate, open: Arc::new(Semaphore::new(OPEN_MAX)) }
    }

    /// The way to the answerer, or why no command is taken. Held for long, it would keep a host that stops from seeing
    /// its last command.
    pub(super) fn commands(&self) -> Result<mpsc::Sender<Command>, Status> {
        match &*self.gate.borrow() {
            Gate::Open(commands) => Ok(commands.clone()),
            Gate::Away(_) => Err(away()),
            Gate::Stopped => Err(stopping()),
        }
    }

    /// No command is taken from now on.
    pub(super) fn stop(&self) {
        self.gate.send_replace(Gate::Stopped);
    }

    /// No command is taken for some time, or they are again.
    fn suspend(&self, suspended: bool) {
        self.gate.send_modify(|gate| *gate = std::mem::replace(gate, Gate::Stopped).suspended(suspended));
    }

    /// Shows whether commands are taken.
    pub(super) fn gate(&self) -> watch::Receiver<Gate> {
        self.gate.subscribe()
    }

    /// Waits until no command is taken.
    pub(super) async fn closed(&self) -> Closed {
        let mut gate = self.gate();
        let closed = gate.wait_for(|gate| gate.closed().is_some()).await;
        // An error would mean that the sender, which this owns, is gone.
        closed.ok().and_then(|gate| gate.closed()).unwrap_or(Closed::Stopped)
    }

    /// Waits until the participant's database is away: no answer comes then for as long as that lasts.
    pub(super) async fn away(&self) {
        // Again, there is no error.
        let _ = self.gate().wait_for(|gate| gate.closed() == Some(Closed::Away)).await;
    }

    /// Notes who waits, and gives the command away.
    pub(super) fn enter(
        self: &Arc<Self>,
        command: Command,
        caller: Caller,
        place: OwnedSemaphorePermit,
        queued: mpsc::OwnedPermit<Command>,
    ) -> Waiting {
        let ask = self.asked.ask(&command, caller);
        queued.send(command);
        Waiting { shared: Arc::clone(self), ask, _place: place }
    }
}

/// The span of a command that is under way. `trace` is its W3C trace context.
pub(super) fn span(command: &Command, trace: Option<&str>) -> Span {
    let Command { saga_id, step, operation, attempt, .. } = command;
    tracing::debug_span!("command", %saga_id, %step, operation = operation.as_str(), attempt, trace)
}

/// The way of replies to those who wait for them.
pub(super) struct Replies(pub(super) Arc<Shared>);

#[async_trait]
impl ReplySink for Replies {
    async fn send(&self, replies: Vec<Reply>) {
        // What one stream is given at a time leaves in one message.
        let mut streams: Vec<(mpsc::Sender<Vec<Given>>, Vec<Given>)> = Vec::new();
        for reply in replies {
            match self.0.asked.answered(&reply) {
                None => {}
                // The caller may be gone; it will send its command again.
                Some(Caller::Call(call)) => drop(call.send(reply)),
                Some(Caller::Stream(stream, number)) => {
                    match streams.iter_mut().find(|(known, _)| known.same_channel(&stream)) {
                        Some((_, given)) => given.push(Given { number, reply }),
                        None => streams.push((stream, vec![Given { number, reply }])),
                    }
                }
            }
        }
        for (stream, given) in streams {
            // There is room; the stream may be gone, as a caller may.
            let _ = stream.try_send(given);
        }
    }

    /// Whoever waits is told, and sends its command again; the barrier answers both alike.
    fn suspended(&self, away: bool) {
        self.0.suspend(away);
    }
}
