//! Sessions on the server: how they are opened, what they are set to, and what errors may say about them.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection as _};

use super::super::{DatabaseError, DriverError};

/// A writer that has stopped (paused, or cut off) loses its transaction after this, and with it the locks that others
/// wait for. Longer than a step may take, so that a step that hangs is given up before its session is.
const IDLE_IN_TRANSACTION: &str = "5s";
/// Longest wait for a row that someone else holds: shorter than a step may take, so that the wait ends with an error
/// of that statement, and others of its batch do not suffer.
const LOCK_WAIT: &str = "2s";
/// Longest time of one statement; its reason is that of [`LOCK_WAIT`].
const STATEMENT: &str = "2500ms";
/// Longest wait for the participant's lock: one stopped writer may stand in the way, and then others in a queue.
const TURN_WAIT: &str = "12s";
/// Longest time of one read outside of transactions.
const READ: &str = "10s";
/// A server that does not say anything for so long is not there any more: longer than all that it was told to give up by.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Longest time to open a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Every statement of every participant, and the barrier's, stays prepared.
const STATEMENT_CACHE: usize = 256;
/// Shown by the server unless the URL says otherwise.
const APPLICATION: &str = "amends-participants";

/// Where the server is, and as whom to log in there.
#[derive(Clone)]
pub(super) struct Address {
    options: PgConnectOptions,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Address").field(&self.shown()).finish()
    }
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, DatabaseError> {
        let unusable = |error: sqlx::Error| DatabaseError::Unusable {
            path: url.split_once("://").map_or("the database's URL", |(scheme, _)| scheme).to_owned() + "://…",
            why: error.to_string(),
        };
        let options = PgConnectOptions::from_str(url).map_err(unusable)?;
        Ok(Self { options: options.statement_cache_capacity(STATEMENT_CACHE).disable_statement_logging() })
    }

    /// The address without its secrets.
    pub(super) fn shown(&self) -> String {
        let options = &self.options;
        let host = options.get_socket().map_or_else(|| options.get_host().into(), |path| path.to_string_lossy());
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        format!("postgres://{}@{host}:{}/{database}", options.get_username(), options.get_port())
    }

    /// For a session that reads single statements as they come.
    ///
    /// It plans each anew: a plan made for an empty table would be kept when the table is full.
    pub(super) fn reader(&self) -> PgConnectOptions {
        self.named(APPLICATION).options([
            ("default_transaction_read_only", "on"),
            ("plan_cache_mode", "force_custom_plan"),
            ("statement_timeout", READ),
        ])
    }

    /// For a session that writes, for these participants.
    ///
    /// It plans each statement once and keeps the plan: planning anew costs more than a statement by key itself. As a
    /// plan may be made while the tables are empty, none may read a whole table where it could look up keys.
    pub(super) fn writer(&self, participants: &[String]) -> PgConnectOptions {
        let name = [APPLICATION].into_iter().chain(participants.iter().map(String::as_str)).collect::<Vec<_>>();
        self.named(&name.join(" ")).options([
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            // Would be switched on by what the planner pretends that a forbidden scan costs.
            ("jit", "off"),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
            ("lock_timeout", TURN_WAIT),
            ("statement_timeout", TURN_WAIT),
        ])
    }

    /// For bringing the tables up to date, which may take long.
    pub(super) fn migrator(&self) -> PgConnectOptions {
        self.named(APPLICATION)
    }

    fn named(&self, name: &str) -> PgConnectOptions {
        match self.options.get_application_name() {
            Some(_) => self.options.clone(),
            None => self.options.clone().application_name(name),
        }
    }

    pub(super) async fn connect(&self, options: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
        match tokio::time::timeout(CONNECT, PgConnection::connect_with(options)).await {
            Ok(connected) => connected.map_err(|error| self.refused(error)),
            Err(_) => Err(self.refused(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
        }
    }

    /// What it means that there is no connection.
    pub(super) fn refused(&self, error: sqlx::Error) -> DatabaseError {
        /// SQLSTATE classes: invalid authorization, invalid catalog name, access rule violation.
        const SETTINGS: [&str; 3] = ["28", "3D", "42"];
        let code = error.as_database_error().and_then(|error| error.code());
        let wrong_settings = code.is_some_and(|code| SETTINGS.iter().any(|class| code.starts_with(class)));
        if wrong_settings || matches!(error, sqlx::Error::Configuration(_) | sqlx::Error::Tls(_)) {
            return DatabaseError::Unusable { path: self.shown(), why: error.to_string() };
        }
        DatabaseError::Unavailable(DriverError::Unreachable { address: self.shown(), error })
    }
}

/// The text that opens a write transaction: waits for the participants' turn, then sets narrower limits for the work.
///
/// Keys come sorted, so that sessions which take several cannot wait for each other in a circle. Statements after this
/// one see all that earlier holders have committed: under READ COMMITTED each looks anew.
pub(super) fn begin(lock_keys: &[i64]) -> String {
    let turns: String = lock_keys.iter().map(|key| format!("SELECT pg_advisory_xact_lock({key}); ")).collect();
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; {turns}\
         SET LOCAL lock_timeout = '{LOCK_WAIT}'; SET LOCAL statement_timeout = '{STATEMENT}'"
    )
}

/// The key of a participant's lock. Sixty-four bits of a hash: no one else's advisory lock is likely to have it.
pub(super) fn lock_key(participant: &str) -> i64 {
    let name = format!("amends participant {participant}");
    let digest = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes());
    i64::from_be_bytes(digest.as_u64_pair().0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets_i37() {
        let address = Address::parse("postgres://shop:s3cret@db.example:5433/orders?application_name=x").unwrap();
        assert_eq!(address.shown(), "postgres://shop@db.example:5433/orders");
        assert!(!format!("{address:?}").contains("s3cret"));
        for url in ["postgres://shop:s3cret@db:notaport/orders", "postgres://shop:s3cret@db/orders?sslmode=s3cret-ish"]
        {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.starts_with("cannot use the database postgres://…"), "{error}");
            assert!(!error.contains("shop"), "{error}");
        }
    }

    #[test]
    fn every_participant_has_a_lock_of_its_own() {
        let keys = ["", "order", "payment", "inventory", "notification"].map(lock_key);
        assert!(keys.iter().enumerate().all(|(at, key)| !keys[..at].contains(key)));
        assert_eq!(lock_key("payment"), lock_key("payment"));
    }
}
