//! Workers as the tests run them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amends_core::{Command, Outcome, Payload, Reply};
use amends_sdk::ReplySink;
use amends_sdk::kafka::{self, WorkerError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, config};

/// A command, and the way of its reply.
pub(crate) type Given = (Command, Arc<dyn ReplySink>);

/// A worker that runs.
pub(crate) struct Worker {
    cancel: CancellationToken,
    serving: JoinHandle<Result<(), WorkerError>>,
}

impl Worker {
    pub(crate) fn start<F: Future<Output = ()> + Send>(
        bus: &Bus,
        answer: impl FnOnce(mpsc::Receiver<Command>, Arc<dyn ReplySink>, CancellationToken) -> F + Send + 'static,
    ) -> Self {
        let (cancel, participant) = (CancellationToken::new(), bus.participant.clone());
        let token = cancel.clone();
        let serving = async move { kafka::serve(&config(), &[&participant], token, answer).await };
        Self { cancel, serving: tokio::spawn(serving) }
    }

    /// Answers everything as done, at once, and counts.
    pub(crate) fn answering(bus: &Bus, count: &Arc<AtomicUsize>) -> Self {
        let count = Arc::clone(count);
        Self::start(bus, |mut commands, sink, _| async move {
            let mut batch = Vec::new();
            while commands.recv_many(&mut batch, 256).await > 0 {
                count.fetch_add(batch.len(), Ordering::Relaxed);
                sink.send(batch.drain(..).map(done).collect()).await;
            }
        })
    }

    /// Takes commands and hands them and the way of their replies to the test.
    pub(crate) fn by_hand(bus: &Bus) -> (Self, mpsc::Receiver<Given>) {
        let (give, given) = mpsc::channel(1024);
        let worker = Self::start(bus, |mut commands, sink, cancel| async move {
            let forward = async {
                while let Some(command) = commands.recv().await {
                    if give.send((command, Arc::clone(&sink))).await.is_err() {
                        std::future::pending().await
                    }
                }
            };
            cancel.run_until_cancelled(forward).await;
        });
        (worker, given)
    }

    /// Stops in good order.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(std::time::Duration::from_secs(12), self.serving).await.unwrap().unwrap().unwrap();
    }

    /// Is gone from one moment to the next.
    pub(crate) async fn die(self) {
        self.serving.abort();
        assert!(self.serving.await.unwrap_err().is_cancelled());
    }
}

pub(crate) fn done(command: Command) -> Reply {
    answer(&command, Outcome::Done(command.payload.clone()))
}

pub(crate) fn done_with(command: &Command, output: Payload) -> Reply {
    answer(command, Outcome::Done(output))
}

fn answer(command: &Command, outcome: Outcome) -> Reply {
    Reply {
        command_id: command.id,
        saga_id: command.saga_id,
        step: command.step.clone(),
        operation: command.operation,
        attempt: command.attempt,
        outcome,
    }
}
