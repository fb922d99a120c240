//! The connections that read, each on a thread that may block.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{DriverError, open};

/// Reads are short; more connections than this only compete for the two or four cores that such a set-up has.
const READERS: u32 = 4;

#[derive(Debug)]
pub(super) struct Readers {
    path: String,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), free: Arc::new(Semaphore::new(READERS as usize)), idle: Mutex::default() }
    }

    /// Runs a query on a connection of its own.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> Result<T, DriverError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| DriverError::Closed)?;
        let readers = Arc::clone(self);
        let run = move || {
            let idle = readers.idle().pop();
            let connection = idle.map_or_else(|| open::reader(&readers.path), Ok)?;
            let result = query(&connection);
            readers.idle().push(connection);
            drop(permit);
            result
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is ending.
            Err(_) => Err(DriverError::Closed),
        }
    }

    /// Waits for queries that run, and closes the connections.
    pub(super) async fn close(&self) {
        let all = self.free.acquire_many(READERS).await;
        self.free.close();
        self.idle().clear();
        drop(all);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
