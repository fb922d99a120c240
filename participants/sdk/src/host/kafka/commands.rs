//! Commands in, replies out.

use std::sync::Arc;

use amends_core::record::ReplyTo;
use amends_core::{Command, Reply};
use async_trait::async_trait;
use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::KafkaConfig;
use super::offsets::Ticket;
use super::outgoing::{DeadLetter, Outgoing};
use super::poison::{Read, read};
use super::poll::{Intake, PollThread};
use super::sender::{Outbox, Sender};
use super::tracker::Tracker;
use super::{GRACE, INVALID_COMMAND, LEAVE, WorkerError};
use crate::host::ReplySink;
use crate::host::asked::Asked;

/// Commands that wait for the answerer: enough for the next batches to gather while one is committed.
pub(super) const QUEUE: usize = 2048;

/// Answers the commands of one or more participants until `cancel`, then finishes what is in hand and leaves.
///
/// `answer` is given the commands, where the replies go, and a token that is cancelled when there is no more time: pass
/// [`Host::run`](crate::Host::run). Any number of workers may share a participant's commands; those of one worker should
/// share a database, since they share the answerer.
///
/// Brokers that cannot be reached are waited for. A command that cannot be read is refused with [`INVALID_COMMAND`], or
/// kept as a dead letter if it does not say who asks.
pub async fn serve<A, F>(
    config: &KafkaConfig,
    participants: &[&str],
    cancel: CancellationToken,
    answer: A,
) -> Result<(), WorkerError>
where
    A: FnOnce(mpsc::Receiver<Command>, Arc<dyn ReplySink>, CancellationToken) -> F + Send,
    F: Future<Output = ()> + Send,
{
    let (tracker, asked) = (Arc::new(Tracker::default()), Arc::new(Asked::default()));
    let (outbox, sender) =
        Sender::new(config, Arc::clone(&tracker), &participants.join(", ")).map_err(WorkerError::Configuration)?;
    let (commands, receiver) = mpsc::channel(QUEUE);
    let mut threads = Vec::with_capacity(participants.len());
    for participant in participants {
        let intake = Commands {
            participant: (*participant).to_owned(),
            source: format!("/{participant}").into(),
            reply_to: None,
            commands: Some(commands.clone()),
            outbox: outbox.clone(),
            asked: Arc::clone(&asked),
        };
        let topics = vec![config.commands_topic(participant)];
        let group = config.consumer(&config.group(participant, ""));
        let thread = PollThread::start(group, topics, Arc::clone(&tracker), intake);
        threads.push(thread.map_err(WorkerError::Configuration)?);
    }
    drop(commands);
    let (sending, hurry) = (spawn(sender), CancellationToken::new());
    let sink = Arc::new(Replies { asked, outbox: outbox.clone() });
    let answering = answer(receiver, sink, hurry.clone());
    let ended = run(answering, hurry, cancel, &mut threads, &outbox).await;
    drop(sending);
    ended
}

/// Runs the sender as a task that ends when this is dropped.
pub(super) fn spawn(sender: Sender) -> DropGuard {
    let end = CancellationToken::new();
    tokio::spawn(sender.run(end.clone()));
    end.drop_guard()
}

async fn run(
    answering: impl Future<Output = ()>,
    hurry: CancellationToken,
    cancel: CancellationToken,
    threads: &mut [PollThread],
    outbox: &Outbox,
) -> Result<(), WorkerError> {
    let mut answering = std::pin::pin!(answering);
    let mut answers = true;
    let ended = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        () = &mut answering => {
            answers = false;
            Err(WorkerError::Ended("the participant"))
        }
        () = any_ended(threads) => Err(WorkerError::Ended("the consumer")),
    };
    let deadline = Instant::now() + GRACE;
    for thread in threads.iter() {
        thread.drain();
    }
    if answers && timeout_at(deadline, &mut answering).await.is_err() {
        tracing::warn!("not all commands were answered in time; they come again");
        hurry.cancel();
    }
    if timeout_at(deadline, outbox.flushed()).await.is_err() {
        tracing::warn!("not all replies were delivered in time; their commands come again");
    }
    leave(threads).await;
    ended
}

/// Has the threads commit and leave their groups, side by side.
pub(super) async fn leave(threads: &mut [PollThread]) {
    let left = futures::future::join_all(threads.iter_mut().map(PollThread::end));
    if timeout_at(Instant::now() + LEAVE, left).await.is_err() {
        tracing::warn!("the brokers do not answer; leaving without having committed");
    }
}

async fn any_ended(threads: &mut [PollThread]) {
    if threads.is_empty() {
        return std::future::pending().await;
    }
    futures::future::select_all(threads.iter_mut().map(|thread| Box::pin(thread.ended()))).await;
}

/// One who waits for a reply.
struct Waiting {
    ticket: Ticket,
    to: Arc<ReplyTo>,
    source: Arc<str>,
    span: tracing::Span,
}

/// Reads commands and gives them to the answerer.
struct Commands {
    participant: String,
    source: Arc<str>,
    /// That of the last command: most go to few places.
    reply_to: Option<Arc<ReplyTo>>,
    commands: Option<mpsc::Sender<Command>>,
    outbox: Outbox,
    asked: Arc<Asked<Waiting>>,
}

/// What a record of a command's topic becomes.
enum Item {
    Command(Box<Command>),
    Outgoing(Box<Outgoing>),
}

impl Commands {
    fn shared(&mut self, to: ReplyTo) -> Arc<ReplyTo> {
        match &self.reply_to {
            Some(last) if **last == to => Arc::clone(last),
            _ => Arc::clone(self.reply_to.insert(Arc::new(to))),
        }
    }
}

impl Intake for Commands {
    type Item = Item;

    fn read(&mut self, record: &BorrowedMessage<'_>, ticket: Ticket) -> Item {
        match read(&self.participant, record.headers(), record.payload()) {
            Read::Command(command, to) => {
                let (to, source) = (self.shared(to), Arc::clone(&self.source));
                let Command { saga_id, step, operation, attempt, .. } = &*command;
                let operation = operation.as_str();
                let span = tracing::debug_span!("command", %saga_id, %step, operation, attempt);
                self.asked.ask(&command, Waiting { ticket, to, source, span });
                Item::Command(command)
            }
            Read::Answer(reply, to) => {
                let saga_id = reply.saga_id;
                tracing::warn!(%saga_id, step = %reply.step, "a command cannot be read; it is refused");
                let (to, source) = (self.shared(to), Arc::clone(&self.source));
                Item::Outgoing(Outgoing::reply(reply, to, source, ticket, tracing::Span::none()))
            }
            Read::Keep(why) => {
                let (topic, partition, offset) = (&ticket.topic, ticket.partition, ticket.offset);
                tracing::error!(%topic, partition, offset, %why, "a record is no command; it becomes a dead letter");
                let letter = DeadLetter::keep(record).because(&ticket, INVALID_COMMAND, &why.to_string());
                Item::Outgoing(Outgoing::dead_letter(letter, ticket))
            }
        }
    }

    fn offer(&mut self, item: Item) -> Result<(), Item> {
        match item {
            Item::Command(command) => {
                let Some(commands) = &self.commands else { return Ok(()) };
                match commands.try_send(*command) {
                    Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
                    Err(mpsc::error::TrySendError::Full(command)) => Err(Item::Command(Box::new(command))),
                }
            }
            Item::Outgoing(outgoing) => self.outbox.try_send(outgoing).map_err(Item::Outgoing),
        }
    }

    fn close(&mut self) {
        self.commands = None;
    }
}

/// The way of replies to the sender.
struct Replies {
    asked: Arc<Asked<Waiting>>,
    outbox: Outbox,
}

#[async_trait]
impl ReplySink for Replies {
    async fn send(&self, replies: Vec<Reply>) {
        for reply in replies {
            let Some(Waiting { ticket, to, source, span }) = self.asked.answered(&reply) else {
                tracing::debug!(saga_id = %reply.saga_id, step = %reply.step, "a reply that nobody waits for");
                continue;
            };
            self.outbox.send(Outgoing::reply(reply, to, source, ticket, span)).await;
        }
    }
}
