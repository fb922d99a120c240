//! A database that is away is no answer of a participant: its commands wait until it is back, however long that takes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::ReplySink;
use crate::database::{Database, DatabaseError, Transaction};

/// First and longest wait between tries to begin a transaction.
const BEGIN_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Time between warnings of one wait: whoever looks into the log sees that it lasts, and what for.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// How a host waits: until when, and who is told that it does. The default waits for ever and tells nobody.
#[derive(Default)]
pub(crate) struct Patience {
    cancel: CancellationToken,
    told: Option<Arc<dyn ReplySink>>,
}

impl Patience {
    pub(super) fn new(cancel: CancellationToken, told: Arc<dyn ReplySink>) -> Self {
        Self { cancel, told: Some(told) }
    }

    /// Opens a transaction as soon as there is a database; `None` if it is cancelled before. Logs when the wait begins,
    /// every minute while it lasts, and when it has ended.
    pub(super) async fn begin(&self, database: &Database) -> Option<Transaction> {
        let error = match database.begin().await {
            Ok(transaction) => return Some(transaction),
            Err(error) => error,
        };
        warn(&error);
        let transaction = self.unless_cancelled(self.keep_trying(database)).await?;
        tracing::info!("the participant's database is available again");
        Some(transaction)
    }

    /// Waits for a moment; `None` if it is cancelled before.
    pub(super) async fn pause(&self, wait: Duration) -> Option<()> {
        self.unless_cancelled(sleep(wait)).await
    }

    async fn keep_trying(&self, database: &Database) -> Transaction {
        let (mut wait, mut suspended, mut warned) = (BEGIN_RETRY.0, false, Instant::now());
        loop {
            sleep(wait).await;
            match database.begin().await {
                Ok(transaction) => {
                    if suspended {
                        self.tell(false);
                    }
                    return transaction;
                }
                Err(error) => {
                    tracing::debug!(%error, "the participant's database is still not available");
                    if warned.elapsed() >= WARN_EVERY {
                        warn(&error);
                        warned = Instant::now();
                    }
                    if !suspended {
                        self.tell(true);
                    }
                    suspended = true;
                }
            }
            wait = (wait * 2).min(BEGIN_RETRY.1);
        }
    }

    fn tell(&self, away: bool) {
        if let Some(told) = &self.told {
            told.suspended(away);
        }
    }

    async fn unless_cancelled<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            done = wait => Some(done),
        }
    }
}

/// An error if it takes someone to correct the settings, on either side: no wait ends that by itself.
fn warn(error: &DatabaseError) {
    if matches!(error, DatabaseError::Unusable { .. }) {
        tracing::error!(%error, "the participant's database cannot be used; commands wait");
    } else {
        tracing::warn!(%error, "the participant's database is not available; commands wait");
    }
}
