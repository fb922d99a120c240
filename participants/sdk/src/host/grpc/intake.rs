//! The way in, which single calls and streams share: commands to the answerer, and who waits for the replies.

use std::sync::Arc;

use amends_core::{Command, Reply};
use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tracing::Span;

use super::stream::Given;
use super::{OPEN_MAX, Served};
use crate::host::ReplySink;
use crate::host::asked::{Ask, Asked};

/// What the calls share.
pub(super) struct Shared {
    pub(super) served: Served,
    pub(super) asked: Asked<Caller>,
    /// `None` once the host is told to stop.
    commands: watch::Sender<Option<mpsc::Sender<Command>>>,
    /// A place for each command that waits for its answer.
    pub(super) open: Arc<Semaphore>,
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
        let commands = watch::Sender::new(Some(commands));
        Self { served, asked: Asked::default(), commands, open: Arc::new(Semaphore::new(OPEN_MAX)) }
    }

    /// The way to the answerer; `None` once the host is told to stop. Held for long, it would keep a host that stops
    /// from seeing its last command.
    pub(super) fn commands(&self) -> Option<mpsc::Sender<Command>> {
        self.commands.borrow().clone()
    }

    /// No command is taken from now on.
    pub(super) fn stop(&self) {
        self.commands.send_replace(None);
    }

    /// Waits until the host is told to stop.
    pub(super) async fn stopped(&self) {
        // An error would mean that the sender, which this owns, is gone.
        let _ = self.commands.subscribe().wait_for(Option::is_none).await;
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
}
