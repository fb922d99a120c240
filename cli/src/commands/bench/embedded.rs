//! The bench's own engine: in this process, on files of its own that it removes afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use amends_core::{SagaId, Status};
use amends_engine::{Ended, Engine};
use async_trait::async_trait;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use super::Load;
use crate::args::BenchArgs;
use crate::embedded::{Embedded, Options};
use crate::error::{CliError, Exit};
use crate::order_mix;

/// Pieces of each product: more than any bench orders.
const STOCK: i64 = 500_000;

/// A running engine with files that go when it goes.
pub(super) struct Bench {
    embedded: Embedded,
    waiting: Arc<Waiting>,
    _files: tempfile::TempDir,
}

/// Who waits for which saga.
#[derive(Default)]
struct Waiting(Mutex<HashMap<SagaId, oneshot::Sender<Status>>>);

/// Starts an engine on a fresh folder here: on the disk that the user measures, not in a memory file system.
pub(super) async fn start(args: &BenchArgs) -> Result<Bench, CliError> {
    let files = tempfile::Builder::new().prefix("amends-bench-").tempdir_in(".").map_err(|error| {
        CliError::new(Exit::Other, "cannot make a folder for the bench here").why(error).next("cd to a writable folder")
    })?;
    let db = files.path().join("amends.db").to_string_lossy().into_owned();
    let options = Options { db: &db, participants: args.participants, lanes: args.lanes, address: String::new() };
    let embedded = Embedded::start(options).await?;
    order_mix::stock_up(&embedded.participants, STOCK).await.map_err(|error| {
        CliError::new(Exit::Other, "cannot fill the bench's shelves").why(error).next("amends bench")
    })?;
    let waiting = Arc::new(Waiting::default());
    let mut ended = embedded.engine.ended();
    let told = waiting.clone();
    tokio::spawn(async move {
        loop {
            match ended.recv().await {
                Ok(ended) => told.tell(&ended),
                Err(RecvError::Lagged(lost)) => tracing::error!(lost, "the bench fell behind; its numbers are void"),
                Err(RecvError::Closed) => return,
            }
        }
    });
    Ok(Bench { embedded, waiting, _files: files })
}

impl Bench {
    pub(super) fn load(&self, fail_rate: f64) -> Arc<dyn Load> {
        Arc::new(Local { engine: self.embedded.engine.clone(), waiting: self.waiting.clone(), fail_rate })
    }

    pub(super) async fn stop(self) {
        self.embedded.stop().await;
    }
}

impl Waiting {
    fn wait_for(&self, id: SagaId) -> oneshot::Receiver<Status> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        receiver
    }

    fn tell(&self, ended: &Ended) {
        if let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&ended.saga.id) {
            let _ = sender.send(ended.saga.status);
        }
    }
}

struct Local {
    engine: Engine,
    waiting: Arc<Waiting>,
    fail_rate: f64,
}

#[async_trait]
impl Load for Local {
    async fn drive(&self, number: u64) -> Result<Status, CliError> {
        let request = order_mix::start(&self.engine, number, self.fail_rate);
        let ended = self.waiting.wait_for(request.id);
        self.engine.start_saga(request).await.map_err(|error| {
            CliError::new(Exit::Other, "an order was not accepted").why(error).next("amends bench --concurrency 64")
        })?;
        ended.await.map_err(|_| CliError::new(Exit::Other, "the engine stopped while an order was under way"))
    }
}
