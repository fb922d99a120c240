//! Pages of sagas. Every query names the index that it walks, so that none reads the whole archive by accident.

use amends_core::{SagaId, Status};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::decode::step;
use super::error::store_error;
use super::{definitions, sagas};
use crate::store::listed::{self, TOTAL_MAX};
use crate::store::token::Token;
use crate::store::{Page, SagaFilter, SagaPage, SagaRow, StoreError};

/// When a saga last moved. Its row may be older: a saga that goes from step to step does not rewrite it.
macro_rules! moved_at {
    () => {
        "(SELECT journal.at FROM journal WHERE journal.saga = sagas.number ORDER BY journal.seq DESC LIMIT 1)"
    };
}

/// A member of the last event that is about a step. An event is an object with one member, named after its kind.
/// What cannot be read is passed over: one broken journal must not break every list.
macro_rules! last_event {
    ($member:literal) => {
        concat!(
            "(SELECT json_extract(event.value, fact.fullkey || '.",
            $member,
            "') FROM journal, \
             json_each(CASE WHEN json_valid(journal.events) THEN journal.events ELSE '[]' END) AS event, \
             json_each(CASE event.type WHEN 'object' THEN event.value ELSE '{}' END) AS fact \
             WHERE journal.saga = sagas.number AND event.type = 'object' \
             AND json_extract(event.value, fact.fullkey || '.step') IS NOT NULL \
             ORDER BY journal.seq DESC, event.key DESC LIMIT 1)"
        )
    };
}

/// The step that an unfinished saga is at: the one that its row waits at, unless it has moved on since.
macro_rules! current_step {
    () => {
        concat!(
            "COALESCE(CASE WHEN status = 'parked' OR updated_at >= ",
            moved_at!(),
            " THEN step END, ",
            last_event!("step"),
            ")"
        )
    };
}

const SELECT: &str = concat!(
    "SELECT ",
    sagas::columns!(),
    ", CASE WHEN status IN ('running', 'compensating') THEN ",
    moved_at!(),
    " END AS moved_at, CASE WHEN status IN ('running', 'compensating', 'parked') THEN ",
    current_step!(),
    " END AS current_step, CASE WHEN status IN ('running', 'compensating') THEN ",
    last_event!("attempt"),
    " END AS current_attempt FROM sagas"
);

/// A page, newest first.
pub(super) async fn list(
    connection: &mut SqliteConnection,
    filter: &SagaFilter,
    page: &Page,
) -> Result<SagaPage, StoreError> {
    let after = Token::read(&page.token)?;
    let size = page.size.max(1);
    let named = named(connection, filter).await.map_err(store_error)?;

    let mut sql = page_query(filter, named.as_deref(), after, size);
    let rows = sql.build().fetch_all(&mut *connection).await.map_err(store_error)?;
    let rows = rows.iter().map(current).collect::<sqlx::Result<_>>().map_err(store_error)?;
    let (rows, next) = Token::cut(rows, size, |row: &SagaRow| row.started_at);

    let mut sql = count_query(filter, named.as_deref());
    let total: i64 = sql.build_query_scalar().fetch_one(connection).await.map_err(store_error)?;
    Ok(SagaPage { rows, next, total: listed::total(total) })
}

/// The rows of a page and the one after it.
pub(super) fn page_query(
    filter: &SagaFilter,
    named: Option<&[SagaId]>,
    after: Option<Token>,
    size: u32,
) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(SELECT);
    conditions(&mut sql, filter, named);
    if let Some(after) = after {
        sql.push(" AND (started_at, number) < (").push_bind(after.at.0);
        sql.push(", ").push_bind(after.number).push(")");
    }
    sql.push(" ORDER BY started_at DESC, number DESC LIMIT ").push_bind(i64::from(size) + 1);
    sql
}

/// The rows on all pages, counted until there are too many.
pub(super) fn count_query(filter: &SagaFilter, named: Option<&[SagaId]>) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 FROM sagas");
    conditions(&mut sql, filter, named);
    sql.push(" LIMIT ").push_bind(TOTAL_MAX + 1).push(")");
    sql
}

/// The ids that a filter's key stands for, if it has one.
async fn named(connection: &mut SqliteConnection, filter: &SagaFilter) -> sqlx::Result<Option<Vec<SagaId>>> {
    match &filter.key {
        Some(key) => Ok(Some(definitions::named_by(connection, key).await?)),
        None => Ok(None),
    }
}

/// Adds the index to walk and the conditions; all texts of the caller's are bound.
fn conditions(sql: &mut QueryBuilder<Sqlite>, filter: &SagaFilter, named: Option<&[SagaId]>) {
    let unfinished = filter.is_unfinished();
    if let Some(ids) = named {
        sql.push(" WHERE saga_id IN (SELECT unhex(value) FROM json_each(").push_bind(sagas::id_list(ids)).push("))");
    } else if unfinished {
        sql.push(" INDEXED BY sagas_unfinished WHERE TRUE");
    } else if filter.error.is_some() || filter.statuses == [Status::Compensated] {
        sql.push(" INDEXED BY sagas_troubled WHERE TRUE");
    } else {
        sql.push(" INDEXED BY sagas_started WHERE TRUE");
    }
    if unfinished {
        sql.push(" AND status IN ('running', 'compensating', 'parked')");
    }
    match filter.statuses.as_slice() {
        [] => {}
        // Written as the index has it, or SQLite would not see that the index holds them.
        [one] => {
            sql.push(format_args!(" AND status = '{}'", one.as_str()));
        }
        several => {
            let words: Vec<String> = several.iter().map(|status| format!("'{}'", status.as_str())).collect();
            sql.push(format_args!(" AND status IN ({})", words.join(", ")));
        }
    }
    if let Some(saga_type) = &filter.saga_type {
        sql.push(" AND saga_type = ").push_bind(saga_type.clone());
    }
    if let Some(key) = &filter.key {
        sql.push(" AND key = ").push_bind(key.clone());
    }
    if let Some(since) = filter.since {
        sql.push(" AND started_at >= ").push_bind(since.0);
    }
    if let Some(until) = filter.until {
        sql.push(" AND started_at < ").push_bind(until.0);
    }
    troubles(sql, filter);
}

/// Adds the conditions about where a saga stands and what went wrong.
fn troubles(sql: &mut QueryBuilder<Sqlite>, filter: &SagaFilter) {
    if let Some(error) = &filter.error {
        sql.push(" AND error_code IS NOT NULL AND (instr(lower(error_code), lower(").push_bind(error.clone());
        sql.push(")) OR instr(lower(error_message), lower(").push_bind(error.clone()).push(")))");
    }
    if filter.retrying {
        sql.push(" AND status <> 'parked' AND next_at IS NOT NULL AND updated_at >= ").push(moved_at!());
    }
    if let Some(since) = filter.stuck_since {
        sql.push(" AND (status = 'parked' OR overdue OR ").push(moved_at!());
        sql.push(" < ").push_bind(since.0).push(")");
    }
    if let Some(step) = &filter.step {
        sql.push(" AND ").push(current_step!()).push(" = ").push_bind(step.clone());
    }
}

/// Reads a row, brought up to date from the journal.
fn current(row: &SqliteRow) -> sqlx::Result<(i64, SagaRow)> {
    let (number, mut saga) = sagas::numbered(row)?;
    let attempt = row.try_get("current_attempt")?;
    saga.bring_up_to_date(row.try_get("moved_at")?, step(row, "current_step")?, attempt);
    Ok((number, saga))
}
