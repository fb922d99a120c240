//! The plans that the statements should get: a statement that reads a whole table works in every other test.

use amends_core::{Status, Timestamp};
use rstest::rstest;
use sqlx::{AssertSqlSafe, Row, query};

use super::bulk::Bulk;
use super::{SqliteStore, connection, journal, list, sagas, shards};
use crate::store::SagaFilter;
use crate::store::token::Token;

async fn plan(sql: &str) -> String {
    let store = SqliteStore::open(":memory:", 4).await.unwrap();
    let mut writer = store.0.writer.lock().await;
    let explain = query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    let rows = explain.fetch_all(connection(&mut writer).unwrap()).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect()
}

#[rstest]
#[case::fence(&shards::FENCE, "SEARCH shards USING INTEGER PRIMARY KEY")]
#[case::change(&sagas::UPDATE, "SEARCH sagas USING INDEX sqlite_autoindex_sagas_1 (saga_id=?)")]
#[case::append(&journal::APPEND, "SEARCH sagas USING COVERING INDEX sqlite_autoindex_sagas_1 (saga_id=?) LEFT-JOIN")]
#[tokio::test]
async fn a_commit_reads_no_table(#[case] bulk: &Bulk, #[case] expected: &str) {
    for rows in [1, 8, 32, 128] {
        let found = plan(bulk.chunks(&vec![(); rows]).next().unwrap().sql).await;
        assert!(found.contains(expected), "{found}");
        assert!(!found.contains("SCAN sagas") && !found.contains("SCAN shards"), "{found}");
    }
}

fn of(statuses: &[Status]) -> SagaFilter {
    SagaFilter { statuses: statuses.to_vec(), ..SagaFilter::default() }
}

#[rstest]
#[case::all(SagaFilter::default(), "sagas_started")]
#[case::a_type(SagaFilter { saga_type: Some("order".into()), ..of(&[]) }, "sagas_started")]
#[case::completed(of(&[Status::Completed]), "sagas_started")]
#[case::between(SagaFilter { since: Some(Timestamp(1)), until: Some(Timestamp(2)), ..of(&[]) }, "sagas_started (started_at>? AND started_at<?)")]
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
    let after = Some(Token { at: Timestamp(1), number: 1 });
    for after in [None, after] {
        let found = plan(list::page_query(&filter, None, after, 20).sql().as_str()).await;
        let name = index.split(' ').next().unwrap();
        assert!(found.contains(&format!("sagas USING INDEX {name}")), "{found}");
        assert!(found.contains(index) || after.is_some(), "{found}");
        assert!(!found.contains("TEMP B-TREE FOR ORDER BY"), "{found}");
        assert!(after.is_none() || found.contains("SEARCH sagas"), "a page begins where the one before ended: {found}");
        assert!(!found.contains("SCAN journal"), "{found}");
    }
    let found = plan(list::count_query(&filter, None).sql().as_str()).await;
    assert!(found.contains(index.split(' ').next().unwrap()), "{found}");
}

#[tokio::test]
async fn a_key_is_looked_up() {
    let filter = SagaFilter { key: Some("k".into()), ..SagaFilter::default() };
    let found = plan(list::page_query(&filter, Some(&[]), None, 20).sql().as_str()).await;
    assert!(found.contains("SEARCH sagas USING INDEX sqlite_autoindex_sagas_1 (saga_id=?)"), "{found}");
}
