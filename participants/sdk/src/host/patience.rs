//! A database that is away is no answer of a participant: its commands wait until it is back, however long that takes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ReplySink;
use crate::database::{Database, Transaction};

/// First and longest wait between tries to begin a transaction.
const BEGIN_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

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

    /// Opens a transaction as soon as there is a database; `None` if it is cancelled before.
    pub(super) async fn begin(&self, database: &Database) -> Option<Transaction> {
        let error = match database.begin().await {
            Ok(transaction) => return Some(transaction),
            Err(error) => error,
        };
        tracing::warn!(%error, "the participant's database is not available; commands wait");
        let transaction = self.unless_cancelled(self.keep_trying(database)).await?;
        tracing::info!("the participant's database is available again");
        Some(transaction)
    }

    /// Waits for a moment; `None` if it is cancelled before.
    pub(super) async fn pause(&self, wait: Duration) -> Option<()> {
        self.unless_cancelled(sleep(wait)).await
    }

    async fn keep_trying(&self, database: &Database) -> Transaction {
        let (mut wait, mut suspended) = (BEGIN_RETRY.0, false);
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
