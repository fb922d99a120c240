//! Pages of sagas. Every query asks for the order of one index, so that none reads the whole archive by accident: the
//! sessions' settings leave the planner no sort and no scan of a table.

use amends_core::{SagaId, Status};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Postgres, QueryBuilder, Row};

use super::decode::{step, text};
use super::error::store_error;
use super::{definitions, sagas};
use crate::store::listed::{self, TOTAL_MAX};
use crate::store::token::Token;
use crate::store::{Page, SagaFilter, SagaPage, SagaRow, StoreError};

/// Bits of a saga's number below its time.
const NUMBER_BITS: u32 = 20;

/// The step that an unfinished saga is at: the one that its row waits at, unless it has moved on since.
macro_rules! current_step {
    () => {
        "coalesce(CASE WHEN status = 'parked' OR updated_at >= moved.at THEN sagas.step END, last.step)"
    };
}

/// Beside the columns of the row: when an unfinished saga last moved, its row may be older; the step that it is at,
/// and that step's sends.
const SELECT: &str = concat!(
    "SELECT ",
    sagas::columns!(),
    ", CASE WHEN status <> 'parked' THEN moved.at END AS moved_at, ",
    current_step!(),
    " AS current_step, CASE WHEN status <> 'parked' THEN last.attempt END AS current_attempt"
);

/// What the journals say of the unfinished among the sagas.
const JOURNALS: &str = "
  LEFT JOIN LATERAL (
    SELECT journal.at FROM journal
    WHERE sagas.status IN ('running', 'compensating', 'parked') AND journal.saga = sagas.number
    ORDER BY journal.seq DESC LIMIT 1
  ) AS moved ON TRUE
  LEFT JOIN LATERAL (
    SELECT fact.step, fact.attempt FROM journal CROSS JOIN LATERAL last_step(journal.events) AS fact
    WHERE sagas.status IN ('running', 'compensating', 'parked') AND journal.saga = sagas.number
      AND fact.step IS NOT NULL
    ORDER BY journal.seq DESC LIMIT 1
  ) AS last ON TRUE";

/// A page, newest first.
pub(super) async fn list(
    connection: &mut PgConnection,
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
    let counted: i64 = sql.build_query_scalar().fetch_one(connection).await.map_err(store_error)?;
    Ok(SagaPage { rows, next, total: listed::total(counted) })
}

/// The rows of a page and the one after it.
pub(super) fn page_query(
    filter: &SagaFilter,
    named: Option<&[SagaId]>,
    after: Option<Token>,
    size: u32,
) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(SELECT);
    from(&mut sql, named);
    sql.push(JOURNALS);
    conditions(&mut sql, filter);
    match (after, by_time(filter)) {
        (None, _) => {}
        (Some(after), true) => {
            sql.push(" AND (started_at, number) < (").push_bind(after.at.0);
            sql.push(", ").push_bind(after.number).push(")");
        }
        (Some(after), false) => {
            sql.push(" AND number < ").push_bind(after.number);
        }
    }
    sql.push(order(filter)).push(" LIMIT ").push_bind(i64::from(size) + 1);
    sql
}

/// The rows on all pages, counted until there are too many.
pub(super) fn count_query(filter: &SagaFilter, named: Option<&[SagaId]>) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT 1");
    let journal = filter.step.is_some() || filter.retrying || filter.stuck_since.is_some();
    from(&mut sql, named);
    sql.push(if journal { JOURNALS } else { "" });
    conditions(&mut sql, filter);
    sql.push(order(filter)).push(" LIMIT ").push_bind(TOTAL_MAX + 1).push(") AS counted");
    sql
}

/// The ids that a filter's key stands for, if it has one.
async fn named(connection: &mut PgConnection, filter: &SagaFilter) -> sqlx::Result<Option<Vec<SagaId>>> {
    match &filter.key {
        Some(key) => Ok(Some(definitions::named_by(connection, key).await?)),
        None => Ok(None),
    }
}

/// Whether a list walks an index of some sagas, which begin with the time, or the one of all.
fn by_time(filter: &SagaFilter) -> bool {
    filter.is_unfinished() || filter.error.is_some() || filter.statuses == [Status::Compensated]
}

fn order(filter: &SagaFilter) -> &'static str {
    if by_time(filter) { " ORDER BY started_at DESC, number DESC" } else { " ORDER BY number DESC" }
}

/// Adds where the sagas come from: all, or those of a few ids. With OFFSET these are looked up first and sorted then;
/// without, the planner would rather walk all in their order than sort.
fn from(sql: &mut QueryBuilder<Postgres>, named: Option<&[SagaId]>) {
    sql.push(" FROM ");
    if let Some(ids) = named {
        let ids: Vec<_> = ids.iter().map(SagaId::as_uuid).collect();
        sql.push("(SELECT * FROM sagas WHERE saga_id = ANY(").push_bind(ids).push(") OFFSET 0) AS ");
    }
    sql.push("sagas");
}

/// Adds the conditions; all texts of the caller's are bound.
fn conditions(sql: &mut QueryBuilder<Postgres>, filter: &SagaFilter) {
    sql.push(" WHERE TRUE");
    if filter.is_unfinished() {
        // Written as the index has it, or Postgres would not see that the index holds them.
        sql.push(" AND status IN ('running', 'compensating', 'parked')");
    }
    match filter.statuses.as_slice() {
        [] => {}
        [one] => {
            sql.push(format_args!(" AND status = '{}'", one.as_str()));
        }
        several => {
            let words: Vec<String> = several.iter().map(|status| format!("'{}'", status.as_str())).collect();
            sql.push(format_args!(" AND status IN ({})", words.join(", ")));
        }
    }
    if let Some(saga_type) = &filter.saga_type {
        sql.push(" AND saga_type = ").push_bind(text(saga_type).into_owned());
    }
    if let Some(key) = &filter.key {
        sql.push(" AND key = ").push_bind(text(key).into_owned());
    }
    for (bound, comparison) in [(filter.since, ">= "), (filter.until, "< ")] {
        let Some(bound) = bound else { continue };
        if by_time(filter) {
            sql.push(" AND started_at ").push(comparison).push_bind(bound.0);
        } else {
            sql.push(" AND number ").push(comparison).push_bind(bound.0.saturating_mul(1 << NUMBER_BITS));
        }
    }
    troubles(sql, filter);
}

/// Adds the conditions about where a saga stands and what went wrong.
fn troubles(sql: &mut QueryBuilder<Postgres>, filter: &SagaFilter) {
    if let Some(error) = &filter.error {
        let error = text(error).into_owned();
        sql.push(" AND error_code IS NOT NULL AND (strpos(lower(error_code), lower(").push_bind(error.clone());
        sql.push(")) > 0 OR strpos(lower(error_message), lower(").push_bind(error).push(")) > 0)");
    }
    if filter.retrying {
        sql.push(" AND status <> 'parked' AND next_at IS NOT NULL AND updated_at >= moved.at");
    }
    if let Some(since) = filter.stuck_since {
        sql.push(" AND (status = 'parked' OR overdue OR moved.at < ").push_bind(since.0).push(")");
    }
    if let Some(step) = &filter.step {
        sql.push(concat!(" AND ", current_step!(), " = ")).push_bind(text(step).into_owned());
    }
}

/// Reads a row, brought up to date from the journal.
fn current(row: &PgRow) -> sqlx::Result<(i64, SagaRow)> {
    let (number, mut saga) = sagas::numbered(row)?;
    let attempt = row.try_get::<Option<i64>, _>("current_attempt")?.and_then(|sends| u32::try_from(sends).ok());
    saga.bring_up_to_date(row.try_get("moved_at")?, step(row, "current_step")?, attempt);
    Ok((number, saga))
}
