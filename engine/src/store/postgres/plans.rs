//! The plans that the statements get, on tables that are empty when they are planned: there a planner left to itself
//! reads whole tables, and keeps the plan when they have grown.

use amends_core::{Status, Timestamp};
use rstest::rstest;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row, raw_sql};

use super::commit::every_text;
use super::session::{Session, Sessions};
use super::tests::Specimen;
use super::{dead_letters, journal, list, sagas};
use crate::store::token::Token;
use crate::store::{DeadLetterFilter, SagaFilter};

/// The types of a commit's parameters, as the statements cast them.
const COMMIT: &str = "INT[],BIGINT[],BIGINT[],BIGINT[],BIGINT[],\
    UUID[],INT[],TEXT[],INT[],TEXT[],UUID[],BIGINT[],TEXT[],BOOL[],BOOL[],BIGINT[],TEXT[],INT[],BIGINT[],TEXT[],TEXT[],\
    INT[],UUID[],BIGINT[],BIGINT[],INT[],INT[],SMALLINT[],TEXT[],\
    UUID[],TEXT[],BOOL[],BOOL[],BIGINT[],TEXT[],INT[],BIGINT[],TEXT[],TEXT[],\
    UUID[],UUID[],INT[],TEXT[],TEXT[],INT[],TEXT[],TEXT[],BIGINT[],TEXT[],\
    UUID[],BIGINT[],BIGINT[],TEXT[],TEXT[],TEXT[]";

async fn explain(connection: &mut PgConnection, sql: &str, types: &str) -> String {
    let nulls = vec!["NULL"; types.split(',').count()].join(", ");
    let text = format!("DEALLOCATE ALL; PREPARE it ({types}) AS {sql}");
    raw_sql(AssertSqlSafe(text)).execute(&mut *connection).await.unwrap();
    let rows = raw_sql(AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE it ({nulls})"))).fetch_all(connection).await;
    rows.unwrap().iter().map(|row| row.get::<String, _>(0) + "\n").collect()
}

async fn session(sessions: &Sessions) -> Session<'_> {
    sessions.take().await.unwrap()
}

#[tokio::test]
async fn a_commit_reads_no_table_and_locks_the_shards_in_order() {
    let specimen = Specimen::new().await;
    let mut session = session(&specimen.store.0.writers).await;
    for sql in every_text() {
        let found = explain(session.connection(), sql, COMMIT).await;
        for dear in ["Seq Scan", "Bitmap", "Hash", "Merge", "Sort"] {
            assert!(!found.contains(dear), "{dear} in\n{found}");
        }
        let fence = found.split("CTE fence").nth(1).unwrap();
        let (marks, rows) = (fence.find("Function Scan on mark"), fence.find("Index Scan using shards_pkey on shards"));
        assert!(marks.unwrap() < rows.unwrap(), "the marks are in order, and lead\n{found}");
        assert!(fence.contains("Index Cond: (shard = mark.shard)"), "{found}");
        let lookups = ["INSERT INTO journal", "UPDATE sagas"].iter().filter(|part| sql.contains(**part)).count();
        assert_eq!(found.matches("using sagas_saga_id_key on sagas").count(), lookups, "{found}");
    }
}

#[rstest]
#[case::load(sagas::BY_ID, "UUID[]", &["Index Scan using sagas_saga_id_key on sagas"])]
#[case::recovery(sagas::MOVING, "INT", &["Index Scan using sagas_unfinished on sagas", "Index Cond: (shard = $1)"])]
#[case::journals(journal::WHOLE, "BIGINT[]", &["Index Scan using journal_saga_seq_key on journal"])]
#[case::publishing(
    journal::AFTER, "INT, BIGINT, BIGINT",
    &["Index Scan using journal_pkey on journal", "Index Scan using sagas_pkey on sagas"]
)]
#[case::suffix(sagas::BY_SUFFIX, "BIGINT, TEXT", &["using sagas_unfinished on sagas", "Backward using sagas_pkey on sagas"])]
#[tokio::test]
async fn an_owner_reads_by_index(#[case] sql: &str, #[case] types: &str, #[case] expected: &[&str]) {
    let specimen = Specimen::new().await;
    let mut session = session(&specimen.store.0.writers).await;
    let found = explain(session.connection(), sql, types).await;
    assert!(expected.iter().all(|part| found.contains(part)), "{found}");
    assert!(!found.contains("Seq Scan"), "{found}");
}

fn of(statuses: &[Status]) -> SagaFilter {
    SagaFilter { statuses: statuses.to_vec(), ..SagaFilter::default() }
}

/// What a list binds: its parameters are numbers, but for the texts of the filter.
fn types(filter: &SagaFilter, sql: &str) -> String {
    let count = (1..).take_while(|number| sql.contains(&format!("${number}"))).count();
    let texts =
        [&filter.saga_type, &filter.error, &filter.error, &filter.step].iter().filter(|text| text.is_some()).count();
    // In the order in which they are bound, the numbers of a time span come between the type and the other texts.
    let typed = usize::from(filter.saga_type.is_some());
    let spans = [filter.since, filter.until, filter.stuck_since].iter().filter(|time| time.is_some()).count();
    let mut types = vec!["TEXT"; typed];
    types.extend(vec!["BIGINT"; spans]);
    types.extend(vec!["TEXT"; texts - typed]);
    types.resize(count, "BIGINT");
    types.join(", ")
}

#[rstest]
#[case::all(SagaFilter::default(), "sagas_pkey")]
#[case::a_type(SagaFilter { saga_type: Some("order".into()), ..of(&[]) }, "sagas_pkey")]
#[case::completed(of(&[Status::Completed]), "sagas_pkey")]
#[case::between(SagaFilter { since: Some(Timestamp(1)), until: Some(Timestamp(2)), ..of(&[]) }, "sagas_pkey")]
#[case::running(of(&[Status::Running]), "sagas_unfinished")]
#[case::open(of(&[Status::Parked, Status::Compensating]), "sagas_unfinished")]
#[case::a_step(SagaFilter { step: Some("pay".into()), ..of(&[]) }, "sagas_unfinished")]
#[case::retrying(SagaFilter { retrying: true, ..of(&[]) }, "sagas_unfinished")]
#[case::stuck(SagaFilter { stuck_since: Some(Timestamp(1)), ..of(&[]) }, "sagas_unfinished")]
#[case::compensated(of(&[Status::Compensated]), "sagas_troubled")]
#[case::an_error(SagaFilter { error: Some("e".into()), ..of(&[]) }, "sagas_troubled")]
#[case::an_error_of_some(SagaFilter { error: Some("e".into()), ..of(&[Status::Completed, Status::Parked]) }, "sagas_troubled")]
#[tokio::test]
async fn a_list_walks_one_index_in_order(#[case] filter: SagaFilter, #[case] index: &str) {
    let specimen = Specimen::new().await;
    let mut session = session(&specimen.store.0.readers).await;
    let after = Some(Token { at: Timestamp(1), number: 1 });
    for after in [None, after] {
        let sql = list::page_query(&filter, None, after, 20);
        let found = explain(session.connection(), sql.sql().as_str(), &types(&filter, sql.sql().as_str())).await;
        let walk = found.split(&format!("Scan Backward using {index} on sagas")).nth(1);
        let walk = walk.unwrap_or_else(|| panic!("{found}"));
        let bounded = walk.lines().nth(1).is_some_and(|line| line.contains("Index Cond"));
        assert!(after.is_none() || bounded, "a page begins where the one before ended: {found}");
        // What a transition says of steps is sorted, and nothing else.
        assert!(found.matches("Sort Key").count() == 0 && !found.contains("Seq Scan"), "{found}");
        assert_eq!(found.matches("Backward using journal_saga_seq_key on journal").count(), 2, "{found}");
    }
    let sql = list::count_query(&filter, None);
    let found = explain(session.connection(), sql.sql().as_str(), &types(&filter, sql.sql().as_str())).await;
    assert!(found.contains(&format!("Backward using {index} on sagas")) && !found.contains("Sort"), "{found}");
}

#[tokio::test]
async fn a_key_is_looked_up() {
    let specimen = Specimen::new().await;
    let mut session = session(&specimen.store.0.readers).await;
    let filter = SagaFilter { key: Some("k".into()), ..SagaFilter::default() };
    let sql = list::page_query(&filter, Some(&[]), None, 20);
    let found = explain(session.connection(), sql.sql().as_str(), "UUID[], TEXT, BIGINT").await;
    assert!(found.contains("Index Scan using sagas_saga_id_key on sagas"), "{found}");
    assert!(!found.contains("sagas_pkey"), "{found}");
}

#[tokio::test]
async fn dead_letters_walk_their_index() {
    let specimen = Specimen::new().await;
    let mut session = session(&specimen.store.0.readers).await;
    let after = Some(Token { at: Timestamp(1), number: 1 });
    let sql = dead_letters::page_query(&DeadLetterFilter::default(), after, 20);
    let found = explain(session.connection(), sql.sql().as_str(), "BIGINT, BIGINT, BIGINT").await;
    assert!(found.contains("Scan Backward using dead_letters_at on dead_letters"), "{found}");
    assert!(found.contains("Index Cond: (ROW(at, number) < ROW($1, $2))"), "{found}");
}
