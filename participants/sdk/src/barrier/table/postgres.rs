//! On Postgres: one statement per batch, as each is a round trip.

use amends_core::{Command, Timestamp};
use sqlx::Arguments;
use sqlx::postgres::PgArguments;

use super::{Row, Stored, add};
use crate::database::{DatabaseError, DriverError, PostgresTransaction, RowRef};

/// `OFFSET 0` keeps the planner from joining in another way than by a look-up per key: its plan is made once, maybe for
/// an empty table, and kept. A writer's session forbids the look-up to be a scan.
const LOAD: &str = "\
    SELECT command.at, operation, revision, origin, payload_digest, outcome, reply \
    FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS command (saga_id, step, at), \
        LATERAL (SELECT operation, revision, origin, payload_digest, outcome, reply FROM barrier \
            WHERE barrier.saga_id = command.saga_id AND barrier.step = command.step OFFSET 0) AS stored";
const STORE: &str = "\
    INSERT INTO barrier (saga_id, step, operation, revision, origin, payload_digest, outcome, reply, stored_at_ms) \
    SELECT new.*, $9 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::uuid[], $7::text[], \
        $8::text[]) AS new";

/// Reads what is stored about the steps of the commands, in their order.
pub(super) async fn load(
    transaction: &mut PostgresTransaction,
    commands: &[Command],
) -> Result<Vec<Stored>, DatabaseError> {
    let sagas: Vec<_> = commands.iter().map(|command| command.saga_id.as_uuid()).collect();
    let steps: Vec<_> = commands.iter().map(|command| command.step.as_str()).collect();
    let mut arguments = PgArguments::default();
    arguments.add(sagas).and_then(|()| arguments.add(steps)).map_err(sqlx::Error::Encode).map_err(DriverError::from)?;
    let mut stored: Vec<Stored> = commands.iter().map(|_| Ok(Vec::new())).collect();
    let keep = |row: &RowRef<'_>| {
        let at = usize::try_from(row.get::<i64>(0)?).unwrap_or_default();
        // Counted from 1.
        at.checked_sub(1).and_then(|at| stored.get_mut(at)).map_or(Ok(()), |stored| add(stored, row, 1))
    };
    transaction.run_typed(LOAD, arguments, keep).await?;
    Ok(stored)
}

/// Stores rows.
pub(super) async fn store(
    transaction: &mut PostgresTransaction,
    rows: &[Row<'_>],
    at: Timestamp,
) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    let arguments = columns(rows, at).map_err(sqlx::Error::Encode).map_err(DriverError::from)?;
    transaction.run_typed(STORE, arguments, |_| Ok(())).await.map(|_| ())
}

fn columns(rows: &[Row<'_>], at: Timestamp) -> Result<PgArguments, sqlx::error::BoxDynError> {
    let mut arguments = PgArguments::default();
    arguments.add(rows.iter().map(|row| row.saga).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.step).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.operation).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| i64::from(row.revision)).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.origin).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.digest).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.outcome).collect::<Vec<_>>())?;
    arguments.add(rows.iter().map(|row| row.reply.as_deref()).collect::<Vec<_>>())?;
    arguments.add(at.0)?;
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Executor, PgConnection};

    use super::*;
    use crate::{Database, Transaction};

    /// A plan for an empty table is the one that is kept.
    #[tokio::test]
    async fn keys_are_looked_up_not_searched_for_even_if_the_plan_was_made_for_an_empty_table() {
        let url = crate::testkit::scratch_postgres().await;
        let database = crate::fixture::prepare(Database::open(&url).await.unwrap()).await;
        let mut server = PgConnection::connect(&url).await.unwrap();
        // Before that the planner takes it for a table of some pages, which are not counted yet.
        server.execute("VACUUM ANALYZE barrier").await.unwrap();

        let mut transaction = database.begin().await.unwrap();
        let prepare: &'static str = format!("PREPARE load (uuid[], text[]) AS {LOAD}").leak();
        transaction.execute(prepare, &[]).await.unwrap();
        assert_looked_up(&mut transaction).await;
        let fill = "INSERT INTO barrier (saga_id, step, operation, revision, origin, payload_digest, outcome, reply, \
            stored_at_ms) SELECT gen_random_uuid(), 's', 'execute', 0, 'own', gen_random_uuid(), 'done', '1', 1 \
            FROM generate_series(1, 20000)";
        transaction.execute(fill, &[]).await.unwrap();
        assert_looked_up(&mut transaction).await;
    }

    async fn assert_looked_up(transaction: &mut Transaction) {
        let explain = "EXPLAIN EXECUTE load (ARRAY[gen_random_uuid()], ARRAY['s'])";
        let plan: Vec<(String,)> = transaction.fetch_all(explain, &[]).await.unwrap();
        let plan: Vec<String> = plan.into_iter().map(|(line,)| line).collect();
        let by_key = "Index Cond: ((saga_id = command.saga_id) AND (step = command.step))";
        assert!(plan.iter().any(|line| line.contains(by_key)), "{plan:#?}");
    }
}
