//! The thread that writes: SQLite's calls block, above all the flush of a commit, and must not hold up a runtime that
//! others share.

use std::panic::resume_unwind;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// A thread with a runtime of its own; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct WriterThread {
    runtime: Handle,
    /// Dropped, it tells the thread to end.
    _alive: oneshot::Sender<()>,
}

impl WriterThread {
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        let until_ended = move || {
            // The error is the news: no one is left to ask for anything.
            let _ = runtime.block_on(ended);
        };
        std::thread::Builder::new().name("amends-writer".into()).spawn(until_ended)?;
        Ok(Self { runtime: handle, _alive: alive })
    }

    /// Runs a future there. Dropping what this returns drops the future, too.
    pub(super) async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        match AbortOnDropHandle::new(self.runtime.spawn(future)).await {
            Ok(output) => output,
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
}
