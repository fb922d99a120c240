//! Postgres: for each set of participants one connection that writes, and some that read for all.
//!
//! Workers in many processes share one database. What one participant writes it writes one transaction at a time, as on
//! SQLite: a lock of the participant's name sees to that, as batches that change the same rows in different orders would
//! otherwise wait for each other in circles. Different participants do not wait for each other.

mod bind;
mod column;
mod connection;
mod migrate;
mod session;
mod transaction;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::{Either, Executor, SqlSafeStr, Statement};

use super::{DatabaseError, DriverError, Row, RowRef};
use crate::value::Value;
use bind::{Expected, bind};
pub(super) use column::{FromPostgres, required};
use session::Address;
pub(crate) use transaction::PostgresTransaction;
use writer::Writer;

/// Reads are short; more connections than this only take the server's memory.
const READERS: u32 = 4;
/// Longest wait for one of them.
const READER_WAIT: Duration = Duration::from_secs(5);
/// A reader that no one has used for so long is closed.
const READER_IDLE: Duration = Duration::from_secs(60);

/// The connections to one Postgres database.
#[derive(Clone, Debug)]
pub struct PostgresDatabase {
    shared: Arc<Shared>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
}

#[derive(Debug)]
struct Shared {
    address: Address,
    readers: PgPool,
    /// By the participants that each writes for, sorted.
    writers: Mutex<HashMap<Vec<String>, Arc<tokio::sync::Mutex<Writer>>>>,
}

impl Shared {
    fn writer(&self, participants: Vec<String>) -> Arc<tokio::sync::Mutex<Writer>> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = |participants: &Vec<String>| Writer::new(self.address.clone(), participants);
        let entry = writers.entry(participants);
        let name = entry.key().clone();
        Arc::clone(entry.or_insert_with(|| Arc::new(tokio::sync::Mutex::new(new(&name)))))
    }
}

impl PostgresDatabase {
    pub(super) async fn connect(url: &str) -> Result<Self, DatabaseError> {
        let address = Address::parse(url)?;
        // Says at once, and plainly, what is wrong with the address.
        let session = address.connect(&address.reader()).await?;
        drop(session);
        let readers = PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READER_WAIT)
            .idle_timeout(READER_IDLE)
            .connect_lazy_with(address.reader());
        let shared = Arc::new(Shared { address, readers, writers: Mutex::default() });
        let writer = shared.writer(Vec::new());
        Ok(Self { shared, writer })
    }

    pub(super) fn for_participants(&self, names: &[&str]) -> Self {
        let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        Self { shared: Arc::clone(&self.shared), writer: self.shared.writer(names) }
    }

    pub(super) async fn migrate(&self, migrations: &Migrator) -> Result<(), DatabaseError> {
        let address = &self.shared.address;
        migrate::migrate(address.connect(&address.migrator()).await?, migrations).await
    }

    /// Shows the rows of a query to a function.
    async fn read(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
        mut each: impl FnMut(&RowRef<'_>) -> Result<(), DriverError> + Send,
    ) -> Result<(), DatabaseError> {
        let mut reader = self.shared.readers.acquire().await.map_err(DriverError::from)?;
        let statement = (&mut *reader).prepare(sql.into_sql_str()).await.map_err(DriverError::from)?;
        let expected: Vec<Expected> = match statement.parameters() {
            Some(Either::Left(parameters)) => parameters.iter().map(Expected::of).collect(),
            _ => Vec::new(),
        };
        let mut rows = (&mut *reader).fetch(statement.query_with(bind(args, &expected)?));
        while let Some(row) = rows.try_next().await.map_err(DriverError::from)? {
            let row: PgRow = row;
            each(&RowRef::Postgres(&row))?;
        }
        Ok(())
    }

    pub(super) async fn fetch_all<R: Row>(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Vec<R>, DatabaseError> {
        let mut rows = Vec::new();
        let keep = |row: &RowRef<'_>| {
            rows.push(R::read(row)?);
            Ok(())
        };
        self.read(sql, args, keep).await?;
        Ok(rows)
    }

    pub(super) async fn fetch_optional<R: Row>(
        &self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Option<R>, DatabaseError> {
        let mut first = None;
        let keep_first = |row: &RowRef<'_>| {
            if first.is_none() {
                first = Some(R::read(row)?);
            }
            Ok(())
        };
        self.read(sql, args, keep_first).await?;
        Ok(first)
    }

    pub(super) async fn begin(&self) -> Result<PostgresTransaction, DatabaseError> {
        PostgresTransaction::begin(Arc::clone(&self.writer).lock_owned().await).await
    }

    pub(super) async fn execute(&self, sql: &'static str, args: &[Value<'_>]) -> Result<u64, DatabaseError> {
        let mut transaction = self.begin().await?;
        transaction.end_parts();
        match transaction.run(sql, args, |_| Ok(())).await {
            Ok(changed) => {
                transaction.commit().await?;
                Ok(changed)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn close(&self) {
        self.shared.readers.close().await;
        let writers: Vec<_> =
            self.shared.writers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for writer in writers {
            writer.lock().await.close().await;
        }
    }
}

/// Whether an error says more than that a statement was wrong: its transaction, or its connection, is gone.
pub(super) fn ends_transaction(error: &sqlx::Error) -> bool {
    /// SQLSTATE classes: connection exception, transaction state, transaction rollback (a deadlock among them),
    /// resources, limits of the server, operator intervention, system error, internal error.
    const BEYOND: [&str; 7] = ["08", "25", "40", "53", "57P", "58", "XX"];
    match error {
        sqlx::Error::Database(error) => {
            error.code().is_none_or(|code| match &*code {
                // A plan that does not fit the tables any more; a new connection makes a new one.
                "0A000" => true,
                // A reader was told to write.
                "25006" => false,
                code => BEYOND.iter().any(|class| code.starts_with(class)),
            })
        }
        sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnIndexOutOfBounds { .. } => false,
        _ => true,
    }
}
