//! Connections: what is set on each, and who may use how many.
//!
//! Not a pool of sqlx: that one asks the server whether a connection still lives each time it is given back, which is as
//! dear as most statements here. These are asked only after a pause.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Error};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::store_error;
use crate::store::StoreError;

/// How long a transaction may hold its locks while its client says nothing. Every transaction of a store waits for
/// nothing but the database, so one that is silent this long is that of a paused or lost engine: the server ends it, and
/// its shards can be claimed.
pub(super) const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);

/// How long a statement waits for a lock. Longer than a paused owner can hold one, so that waiting helps; shorter than
/// a lease, so that whoever waits learns of it while its own leases hold.
pub(super) const LOCK: Duration = Duration::from_secs(4);

/// How long a page or a saga may take; a list that takes longer walks more than it should.
const READ: Duration = Duration::from_secs(10);

/// How long a commit or a recovery may take on the server. Far longer than either takes when disks are well.
const WRITE: Duration = Duration::from_secs(30);

/// How much longer than the server may take its answer is awaited: after that the server or the way to it is dead.
const ANSWER: Duration = Duration::from_secs(2);

/// How long to wait for a connection, be it the server's or another caller's that uses it.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection unused for this long is asked whether it lives, before a statement is lost on it.
const PAUSE: Duration = Duration::from_secs(1);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Commits, and the reads of the shards' owners.
    Write,
    /// Queries of people and programs.
    Read,
    /// Claims and heartbeats.
    Lease,
}

impl Purpose {
    const fn statement(self) -> Duration {
        match self {
            Self::Write => WRITE,
            Self::Read => READ,
            Self::Lease => LOCK,
        }
    }

    /// When to stop waiting for an answer.
    pub(super) fn patience(self) -> Duration {
        self.statement() + ANSWER
    }
}

/// Sets what every connection needs.
///
/// Statements get the plan that the indexes are made for, whatever the planner thinks of tables that were empty when
/// it was asked: rows are looked up one by one in an index, and lists walk one in its order. Plans are then made once.
pub(super) fn prepare(options: PgConnectOptions, purpose: Purpose) -> PgConnectOptions {
    let millis = |limit: Duration| limit.as_millis().to_string();
    let off = || "off".to_owned();
    options
        // Statements carry what clients sent (I37).
        .disable_statement_logging()
        .application_name("amends")
        .options([
            ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION)),
            ("lock_timeout", millis(LOCK)),
            ("statement_timeout", millis(purpose.statement())),
            ("synchronous_commit", "on".to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            ("enable_seqscan", off()),
            ("enable_bitmapscan", off()),
            ("enable_hashjoin", off()),
            ("enable_mergejoin", off()),
            ("enable_sort", off()),
            ("jit", off()),
            // A client that is gone must not hold locks: the server looks after a second of silence, and while it works.
            ("tcp_keepalives_idle", "1".to_owned()),
            ("tcp_keepalives_interval", "1".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
            ("tcp_user_timeout", millis(LOCK)),
            ("client_connection_check_interval", millis(PAUSE)),
        ])
}

/// Some connections for one purpose.
pub(super) struct Sessions {
    options: PgConnectOptions,
    purpose: Purpose,
    permits: Semaphore,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
}

/// A connection, in use by one caller. One that is dropped, because its caller went away or it failed, is closed.
pub(super) struct Session<'s> {
    connection: PgConnection,
    sessions: &'s Sessions,
    _permit: SemaphorePermit<'s>,
}

impl Sessions {
    /// At most `count` at once; none is opened before it is needed.
    pub(super) fn new(options: &PgConnectOptions, purpose: Purpose, count: u32) -> Self {
        let permits = Semaphore::new(count.max(1) as usize);
        Self { options: prepare(options.clone(), purpose), purpose, permits, idle: Mutex::default() }
    }

    /// Waits for a connection that is free, or opens one.
    pub(super) async fn take(&self) -> Result<Session<'_>, StoreError> {
        let taken = tokio::time::timeout(CONNECT, async {
            let closed = |_| StoreError::Unavailable("it is closed".to_owned());
            let permit = self.permits.acquire().await.map_err(closed)?;
            let connection = self.connect().await.map_err(store_error)?;
            Ok(Session { connection, sessions: self, _permit: permit })
        });
        taken.await.unwrap_or_else(|_| Err(StoreError::Unavailable("no connection to it came free".to_owned())))
    }

    async fn connect(&self) -> Result<PgConnection, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some((mut connection, since)) = idle {
            if since.elapsed() < PAUSE || connection.ping().await.is_ok() {
                return Ok(connection);
            }
            // What happened to one has happened to all.
            self.forget();
        }
        self.options.connect().await
    }

    /// Closes what is not in use, since the server ended what was.
    fn forget(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Refuses later callers.
    pub(super) fn close(&self) {
        self.permits.close();
        self.forget();
    }
}

impl Session<'_> {
    /// The connection itself.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Runs a query to its end, and gives the connection back unless the query says that it is of no use any more.
    pub(super) async fn run<T, E: Into<Failure>>(
        mut self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        let patience = self.sessions.purpose.patience();
        let answer = tokio::time::timeout(patience, query(&mut self.connection)).await;
        let answer = match answer {
            Ok(answer) => answer.map_err(|error| error.into().0),
            Err(_) => Err(StoreError::Unavailable(format!("it has not answered for {} s", patience.as_secs()))),
        };
        self.settle(answer).await
    }

    /// Gives the connection back, unless the answer says that it is of no use any more. After an error it waits until the
    /// server has rolled back: the error itself is sent before that, and others who come at once would find the locks.
    pub(super) async fn settle<T>(self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let Self { mut connection, sessions, _permit } = self;
        let lost = matches!(answer, Err(StoreError::Unavailable(_)));
        if lost || (answer.is_err() && !answers(&mut connection).await) {
            sessions.forget();
        } else {
            let mut idle = sessions.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((connection, Instant::now()));
        }
        answer
    }
}

/// Whether a connection is ready for the next statement.
async fn answers(connection: &mut PgConnection) -> bool {
    tokio::time::timeout(ANSWER, connection.ping()).await.is_ok_and(|answer| answer.is_ok())
}

/// An error of a query, whichever kind it says.
pub(super) struct Failure(StoreError);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(store_error(error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}
