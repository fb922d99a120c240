//! The connection that writes for some participants; opened when it is first needed, and again when it was lost.

use super::super::{DatabaseError, DriverError};
use super::connection::Connection;
use super::session::{self, Address};

#[derive(Debug)]
pub(super) struct Writer {
    address: Address,
    participants: Vec<String>,
    begin: String,
    pub(super) connection: Option<Connection>,
    /// Whether a transaction is open.
    pub(super) open: bool,
    closed: bool,
}

impl Writer {
    /// `participants` are sorted.
    pub(super) fn new(address: Address, participants: &[String]) -> Self {
        let mut keys: Vec<i64> = participants.iter().map(|name| session::lock_key(name)).collect();
        if keys.is_empty() {
            keys.push(session::lock_key(""));
        }
        keys.sort_unstable();
        let participants = participants.to_vec();
        Self { address, participants, begin: session::begin(&keys), connection: None, open: false, closed: false }
    }

    /// The text that opens a transaction.
    pub(super) fn begin_text(&self) -> &str {
        &self.begin
    }

    /// Opens a transaction, once those of other processes have ended.
    pub(super) async fn begin(&mut self) -> Result<(), DatabaseError> {
        self.abandon();
        if self.closed {
            return Err(DatabaseError::Unavailable(DriverError::Closed));
        }
        self.open = true;
        if let Some(connection) = self.connection.as_mut() {
            match connection.plain(&self.begin).await {
                Ok(()) => return Ok(()),
                Err(error) if !is_lost(&error) => return Err(self.failed(error)),
                // The server was restarted since, or has ended the session: nothing of ours was in it.
                Err(error) => tracing::debug!(%error, "a connection was lost; opening another"),
            }
        }
        self.connection = None;
        let session = self.address.connect(&self.address.writer(&self.participants)).await?;
        let connection = self.connection.insert(Connection::new(session));
        let begun = connection.plain(&self.begin).await;
        begun.map_err(|error| self.failed(error))
    }

    fn failed(&mut self, error: DriverError) -> DatabaseError {
        self.abandon();
        DatabaseError::Unavailable(error)
    }

    /// Ends what is left open, by closing the connection: that needs no one to wait for it.
    pub(super) fn abandon(&mut self) {
        if std::mem::take(&mut self.open) {
            self.connection = None;
        }
    }

    pub(super) async fn close(&mut self) {
        self.closed = true;
        self.abandon();
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }
}

/// Whether the connection does not exist any more, rather than that its server has refused something.
fn is_lost(error: &DriverError) -> bool {
    /// SQLSTATE classes: connection exception, operator intervention, idle session.
    const GONE: [&str; 3] = ["08", "57P", "25P03"];
    match error {
        DriverError::Postgres(sqlx::Error::Database(error)) => {
            error.code().is_some_and(|code| GONE.iter().any(|class| code.starts_with(class)))
        }
        DriverError::Postgres(sqlx::Error::Io(error)) => error.kind() != std::io::ErrorKind::TimedOut,
        _ => false,
    }
}
