//! The host: runs many commands in one transaction, and answers when it is committed.

#[cfg(any(feature = "grpc", feature = "kafka"))]
mod asked;
mod batch;
mod delivery;
mod erased;
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(feature = "kafka")]
pub mod kafka;
mod patience;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use amends_core::{Command, Reply};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::step::Step;
use delivery::Delivery;
use erased::AnyStep;

pub use batch::UNKNOWN_COMMAND;
pub use erased::{INVALID_INPUT, INVALID_OUTPUT};
pub(crate) use patience::Patience;

/// Most commands that share a transaction: by then the flush is spread thin, and more would only add to the wait.
pub(crate) const BATCH_MAX: usize = 256;

/// Runs the steps of one or more participants that share a database.
#[derive(Clone)]
pub struct Host {
    database: Database,
    steps: Arc<Steps>,
}

/// By the command that they answer to.
type Steps = HashMap<&'static str, Box<dyn AnyStep>>;

/// Takes the replies that a host gives.
#[async_trait]
pub trait ReplySink: Send + Sync {
    /// Sends replies whose effects are durable. Losing one is harmless: its command comes again and finds it stored.
    /// The host takes no further commands while this waits.
    async fn send(&self, replies: Vec<Reply>);

    /// The participant's database is away, or answers again. Meanwhile commands wait, and none is answered.
    ///
    /// Called in turns, `true` first; what is over in a moment is not told. Must not block.
    fn suspended(&self, _away: bool) {}
}

/// Puts a [`Host`] together.
pub struct HostBuilder {
    database: Database,
    steps: Steps,
}

impl HostBuilder {
    /// Adds a step.
    ///
    /// # Panics
    /// When another step answers to the same command.
    #[must_use]
    pub fn step<S: Step>(mut self, step: S) -> Self {
        let before = self.steps.insert(S::COMMAND, Box::new(step));
        assert!(before.is_none(), "two steps answer to the command {}", S::COMMAND);
        self
    }

    /// Ends the list of steps.
    pub fn build(self) -> Host {
        Host { database: self.database, steps: Arc::new(self.steps) }
    }
}

impl Host {
    /// Begins a host on a database that has been migrated.
    pub fn builder(database: Database) -> HostBuilder {
        HostBuilder { database, steps: HashMap::new() }
    }

    /// The commands that it answers to, sorted.
    pub fn commands(&self) -> Vec<String> {
        let mut commands: Vec<String> = self.steps.keys().map(|command| (*command).to_owned()).collect();
        commands.sort();
        commands
    }

    /// Answers commands until `commands` is closed, or `cancel` is, and then those that are still queued.
    ///
    /// What arrives during a commit forms the next batch. Replies leave after the commit only, in the order of the
    /// commands. A batch that fails is run again, at last each command by itself; one that fails by itself is told to
    /// try again, and when some in a row have failed the rest of the batch is run together, and told the same if it fails.
    ///
    /// While no transaction can be begun, commands wait and none is answered. A host that would have to wait after
    /// `cancel` ends instead: what it has not answered comes again.
    ///
    /// Steps run on the database's own thread, and `replies` is called there.
    pub async fn run(&self, commands: mpsc::Receiver<Command>, replies: Arc<dyn ReplySink>, cancel: CancellationToken) {
        let host = self.clone();
        let run = async move { host.run_here(commands, replies, cancel).await };
        self.database.on_writer_thread(run).await;
    }

    async fn run_here(
        &self,
        mut commands: mpsc::Receiver<Command>,
        replies: Arc<dyn ReplySink>,
        cancel: CancellationToken,
    ) {
        let patience = Patience::new(cancel.clone(), Arc::clone(&replies));
        let mut delivery = Delivery::new(replies);
        let mut waiting = Vec::new();
        loop {
            let mut batch = std::mem::take(&mut waiting);
            if !gather(&mut commands, &mut batch, &cancel).await {
                break;
            }
            waiting = defer_same_step(&mut batch);
            let Some(answered) = self.process(&batch, &patience).await else { break };
            delivery.send(answered).await;
        }
        delivery.finish().await;
    }
}

/// Fills the batch with what has arrived, and waits if there is nothing; `false` when nothing will come any more.
async fn gather(commands: &mut mpsc::Receiver<Command>, batch: &mut Vec<Command>, cancel: &CancellationToken) -> bool {
    if cancel.is_cancelled() {
        commands.close();
    }
    if !batch.is_empty() {
        while batch.len() < BATCH_MAX
            && let Ok(command) = commands.try_recv()
        {
            batch.push(command);
        }
        return true;
    }
    let received = tokio::select! {
        received = commands.recv_many(batch, BATCH_MAX) => received,
        () = cancel.cancelled(), if !cancel.is_cancelled() => {
            commands.close();
            commands.recv_many(batch, BATCH_MAX).await
        }
    };
    received > 0
}

/// Takes out all but the first command about each step of each saga: the others must see what that one stores.
pub(crate) fn defer_same_step(batch: &mut Vec<Command>) -> Vec<Command> {
    let mut seen = HashSet::with_capacity(batch.len());
    batch.extract_if(.., |command| !seen.insert((command.saga_id, command.step.clone()))).collect()
}

#[cfg(test)]
mod tests;
