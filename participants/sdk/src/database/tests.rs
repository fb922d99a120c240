use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType};

use super::*;
use rstest::rstest;

use crate::fixture::{migrations, open, prepare};

const INSERT: &str = "INSERT INTO charge (amount) VALUES ($1)";

async fn amounts(database: &Database) -> Vec<i64> {
    crate::fixture::ledger(database).await
}

/// A database that can be opened again, and where.
async fn file(kind: DatabaseKind) -> (Place, Database) {
    let folder = tempfile::tempdir().unwrap();
    let place = match kind {
        DatabaseKind::Sqlite => folder.path().join("a.db").to_str().unwrap().to_owned(),
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => crate::testkit::scratch_postgres().await,
    };
    let database = prepare(Database::open(&place).await.unwrap()).await;
    (Place { place, _folder: folder }, database)
}

struct Place {
    place: String,
    _folder: tempfile::TempDir,
}

async fn in_parts(database: &Database) -> Transaction {
    let mut transaction = database.begin().await.unwrap();
    transaction.next_part(true).unwrap();
    transaction
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_part_is_undone_alone(#[case] kind: DatabaseKind) {
    let (_folder, database) = file(kind).await;
    let mut transaction = in_parts(&database).await;
    for (amount, keep) in [(1, true), (2, false), (3, true), (4, true), (5, false), (6, false), (7, true)] {
        transaction.next_part(true).unwrap();
        assert_eq!(transaction.execute(INSERT, &[Value::Int(amount)]).await.unwrap(), 1);
        assert!(transaction.execute("UPDATE charge SET amount = amount", &[]).await.unwrap() > 0);
        if !keep {
            transaction.undo_part().await.unwrap();
            transaction.undo_part().await.unwrap();
        }
    }
    transaction.next_part(true).unwrap();
    transaction.undo_part().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(amounts(&database).await, [1, 3, 4, 7]);
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn readers_see_what_is_committed_and_write_nothing(#[case] kind: DatabaseKind) {
    let (_folder, database) = file(kind).await;
    let mut transaction = database.begin().await.unwrap();
    transaction.execute(INSERT, &[Value::Int(1)]).await.unwrap();
    assert!(amounts(&database).await.is_empty());
    drop(transaction);
    database.execute(INSERT, &[Value::Int(2)]).await.unwrap();
    assert_eq!(amounts(&database).await, [2]);
    assert!(database.fetch_all::<(i64,)>("DELETE FROM charge RETURNING amount", &[]).await.is_err());
}

#[tokio::test]
async fn a_full_disk_ends_the_transaction_and_not_the_database() {
    const BIG: &str = "INSERT INTO charge (saga_id, amount) VALUES (zeroblob(1000000), 9)";
    let (_folder, database) = file(DatabaseKind::Sqlite).await;
    let mut transaction = in_parts(&database).await;
    transaction.fetch_all::<(i64,)>("PRAGMA max_page_count = 50", &[]).await.unwrap();
    transaction.execute(INSERT, &[Value::Int(1)]).await.unwrap();
    transaction.next_part(true).unwrap();
    assert!(matches!(transaction.execute(BIG, &[]).await, Err(DatabaseError::Unavailable(_))));
    assert!(matches!(transaction.execute(INSERT, &[Value::Int(2)]).await, Err(DatabaseError::Ended)));
    assert!(transaction.commit().await.is_err());
    database.execute(INSERT, &[Value::Int(3)]).await.unwrap();
    assert_eq!(amounts(&database).await, [3]);
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_wrong_statement_does_not_end_the_transaction(#[case] kind: DatabaseKind) {
    let database = open(kind).await;
    let mut transaction = database.begin().await.unwrap();
    assert!(matches!(transaction.execute("NONSENSE", &[]).await, Err(DatabaseError::Statement(_))));
    assert!(matches!(transaction.execute(INSERT, &[Value::Null]).await, Err(DatabaseError::Statement(_))));
    transaction.execute(INSERT, &[Value::Int(1)]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(amounts(&database).await, [1]);
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_commit_survives_and_a_closed_database_says_so(#[case] kind: DatabaseKind) {
    let (folder, database) = file(kind).await;
    database.execute(INSERT, &[Value::Int(1)]).await.unwrap();
    database.close().await;
    assert!(matches!(database.begin().await, Err(DatabaseError::Unavailable(_))));
    let again = Database::open(&folder.place).await.unwrap();
    again.migrate(migrations(kind)).await.unwrap();
    assert_eq!(amounts(&again).await, [1]);
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_database_of_a_newer_program_is_refused(#[case] kind: DatabaseKind) {
    let (_folder, database) = file(kind).await;
    let known = migrations(kind).iter().map(|migration| migration.version).max().unwrap();
    let next = Migration::new(
        known + 1,
        Cow::Borrowed("later"),
        MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str("CREATE TABLE later (n INTEGER)"),
        false,
    );
    let newer = Migrator::with_migrations(migrations(kind).iter().cloned().chain([next]).collect());
    database.migrate(&newer).await.unwrap();
    let refused = database.migrate(migrations(kind)).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::Newer { found, known: k } if found == known + 1 && k == known));
    assert!(refused.to_string().starts_with("the database is newer than this program"), "{refused}");
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_database_of_other_migrations_is_refused(#[case] kind: DatabaseKind) {
    let (_folder, database) = file(kind).await;
    let changed = |migration: &Migration| match migration.version {
        1 => Migration { checksum: Cow::Borrowed(b"other"), ..migration.clone() },
        _ => migration.clone(),
    };
    let other = Migrator::with_migrations(migrations(kind).iter().map(changed).collect());
    let refused = database.migrate(&other).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::Foreign(MigrateError::VersionMismatch(1))), "{refused}");
    let fewer = Migrator::with_migrations(
        migrations(kind).iter().filter(|migration| migration.version != 1).cloned().collect(),
    );
    let refused = database.migrate(&fewer).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::Foreign(MigrateError::VersionMissing(1))), "{refused}");
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn a_migration_that_fails_leaves_nothing(#[case] kind: DatabaseKind) {
    let (_folder, database) = file(kind).await;
    let known = migrations(kind).iter().map(|migration| migration.version).max().unwrap();
    let sql = "CREATE TABLE half (n INTEGER); NONSENSE";
    let broken = Migration::new(
        known + 1,
        Cow::Borrowed("broken"),
        MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str(sql),
        false,
    );
    let broken = Migrator::with_migrations(migrations(kind).iter().cloned().chain([broken]).collect());
    assert!(matches!(database.migrate(&broken).await, Err(DatabaseError::Statement(_))));
    assert!(database.fetch_all::<(i64,)>("SELECT n FROM half", &[]).await.is_err());
    database.migrate(migrations(kind)).await.unwrap();
}

#[rstest]
#[case::sqlite(DatabaseKind::Sqlite)]
#[cfg_attr(feature = "postgres", case::postgres(DatabaseKind::Postgres))]
#[tokio::test]
async fn arguments_go_by_the_number_of_their_placeholder(#[case] kind: DatabaseKind) {
    let (_folder, database) = file(kind).await;
    let swapped: Vec<(i64, String)> =
        database.fetch_all("SELECT CAST($2 AS BIGINT), $1", &[Value::Text("one"), Value::Int(2)]).await.unwrap();
    assert_eq!(swapped, [(2, "one".to_owned())]);
    let missing = database.fetch_all::<(i64, i64)>("SELECT $1, $2", &[Value::Int(1)]).await;
    assert!(matches!(missing, Err(DatabaseError::Statement(_))));
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let refusal = async |path: String| Database::open_sqlite(&path).await.unwrap_err().to_string();

    assert!(refusal(path("")).await.contains("it is a directory"));
    assert!(refusal(path("no/such/a.db")).await.contains("does not exist"));

    std::fs::write(path("text"), "this is no database, but long enough to be taken for one".repeat(99)).unwrap();
    assert!(refusal(path("text")).await.contains("not a database"));

    std::fs::write(path("locked"), "").unwrap();
    let mut permissions = std::fs::metadata(path("locked")).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(path("locked"), permissions).unwrap();
    assert!(refusal(path("locked")).await.contains("read-only"));
}
