//! The one transaction that writes: all of a batch or nothing.
//!
//! Waking SQLite's thread, and being woken by it for every result, costs more than most statements. So the whole
//! transaction is one text of few statements with many rows each, written so that they fail by themselves where the
//! batch contradicts what is stored. Nothing after a failure is run.

use amends_core::{Epoch, Shard};
use futures::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor, query, query_with};

use super::bulk::{Bulk, Parameters};
use super::error::store_error;
use super::{audit, dead_letters, journal, sagas, shards};
use crate::store::{Batch, StoreError};

/// Takes the write lock at once: a transaction that begins to read and then wants to write can be refused.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Gives no row, or an error if the statement before touched another number of rows. Outside of triggers, SQL has no
/// other way to stop than a function that fails.
const CHECK: &str = "SELECT 1 WHERE json(CASE changes() WHEN ? THEN 'null' ELSE 'x' END) IS NULL";

/// Texts up to this length stay prepared. They are those of batches of a few hundred rows, which come again; larger
/// ones are rare, each is another, and would only fill the memory.
const PREPARED_MAX: usize = 64 * 1024;

/// What it means that a statement failed.
#[derive(Clone, Copy)]
enum Meaning {
    /// What the database says.
    Error,
    /// A shard has another epoch.
    Fenced,
    /// What is stored contradicts the batch.
    Conflict(&'static str),
}

/// A batch as statements. It owns copies of the values, so that it can be run where no caller cancels it.
pub(super) struct Plan {
    sql: String,
    parameters: Parameters,
    meanings: Vec<Meaning>,
    marks: Vec<(Shard, Epoch)>,
}

impl Plan {
    /// Turns a batch into statements, for a store of that many shards.
    pub(super) fn new(batch: &Batch, shards: u16) -> Result<Self, StoreError> {
        batch.check(shards)?;
        let marks = batch.shards.iter().map(|mark| (mark.shard, mark.epoch)).collect();
        let (parameters, meanings) = (Parameters::default(), vec![Meaning::Error]);
        let mut plan = Self { sql: BEGIN.to_owned(), parameters, meanings, marks };
        shards::fence(&mut plan, &batch.shards);
        // The journal finds the numbers of its sagas in their table: new ones come first.
        sagas::insert(&mut plan, &batch.started);
        journal::append(&mut plan, &batch.journal);
        sagas::update(&mut plan, &batch.changed);
        audit::insert(&mut plan, &batch.audit);
        dead_letters::insert(&mut plan, &batch.dead_letters);
        plan.add("COMMIT", Meaning::Error);
        Ok(plan)
    }

    /// Adds the fence, which fails on an epoch that is not the stored one.
    pub(super) fn fence<R>(&mut self, bulk: &Bulk, rows: &[R], bind: impl Fn(&mut Parameters, &R)) {
        self.rows(bulk, rows, Meaning::Fenced, None, bind);
    }

    /// Adds rows to a table whose constraints refuse what must not be there.
    pub(super) fn insert<R>(&mut self, bulk: &Bulk, rows: &[R], bind: impl Fn(&mut Parameters, &R)) {
        self.rows(bulk, rows, Meaning::Error, None, bind);
    }

    /// Adds rows each of which must touch one of a table; `otherwise` says what it means if not.
    pub(super) fn update<R>(
        &mut self,
        bulk: &Bulk,
        rows: &[R],
        otherwise: &'static str,
        bind: impl Fn(&mut Parameters, &R),
    ) {
        self.rows(bulk, rows, Meaning::Error, Some(otherwise), bind);
    }

    fn rows<R>(
        &mut self,
        bulk: &Bulk,
        rows: &[R],
        failed: Meaning,
        otherwise: Option<&'static str>,
        bind: impl Fn(&mut Parameters, &R),
    ) {
        for chunk in bulk.chunks(rows) {
            self.add(chunk.sql, failed);
            chunk.rows.iter().for_each(|row| bind(&mut self.parameters, row));
            self.parameters.skip(chunk.spare);
            if let Some(otherwise) = otherwise {
                self.add(CHECK, Meaning::Conflict(otherwise));
                self.parameters.push(chunk.rows.len() as i64);
            }
        }
    }

    fn add(&mut self, sql: &str, meaning: Meaning) {
        self.sql.push_str("; ");
        self.sql.push_str(sql);
        self.meanings.push(meaning);
    }

    /// Performs it. An error leaves nothing behind.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let mut done = 0;
        let failed = {
            let prepared = self.sql.len() <= PREPARED_MAX;
            let query = query_with(AssertSqlSafe(self.sql), self.parameters.finish()).persistent(prepared);
            let mut results = connection.fetch_many(query);
            loop {
                match results.try_next().await {
                    Ok(Some(_)) => done += 1,
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            }
        };
        let Some(error) = failed else { return Ok(()) };
        // After some errors SQLite has rolled back by itself, and there is nothing left to do.
        let _ = query("ROLLBACK").execute(&mut *connection).await;
        match self.meanings.get(done) {
            Some(Meaning::Conflict(why)) if error.as_database_error().is_some() => {
                Err(StoreError::Conflict((*why).to_owned()))
            }
            Some(Meaning::Fenced) => {
                let fenced = shards::fenced(connection, &self.marks).await.map_err(store_error)?;
                Err(fenced.map_or_else(|| store_error(error), StoreError::Fenced))
            }
            _ => Err(store_error(error)),
        }
    }
}
