//! The conformance suite on a file and in memory, and what only a file can do.

use std::path::Path;

use amends_core::{Millis, Shard, Timestamp};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row};
use tempfile::TempDir;
use uuid::Uuid;

use super::{OpenError, SqliteStore, connection};
use crate::store::conformance::{self, Subject};
use crate::store::{Archive, Batch, Leases, Owner, Page, SagaFilter, Store, StoreError};

struct Specimen {
    store: SqliteStore,
    _folder: Option<TempDir>,
}

#[async_trait]
impl Subject for Specimen {
    type Store = SqliteStore;

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    async fn sql(&self, statement: &'static str) -> Result<i64, String> {
        sql(&self.store, statement).await
    }
}

async fn sql(store: &SqliteStore, statement: &str) -> Result<i64, String> {
    let mut writer = store.0.writer.lock().await;
    let row = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .fetch_optional(connection(&mut writer).unwrap())
        .await
        .map_err(|error| error.to_string())?;
    Ok(row.map_or(0, |row| row.get(0)))
}

fn path(folder: &TempDir) -> String {
    folder.path().join("a.db").to_str().unwrap().to_owned()
}

async fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(&path(folder), conformance::SHARDS).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_conforms() {
    conformance::run(async || {
        let folder = tempfile::tempdir().unwrap();
        Specimen { store: open(&folder).await, _folder: Some(folder) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance::run(async || Specimen {
        store: SqliteStore::open(":memory:", conformance::SHARDS).await.unwrap(),
        _folder: None,
    })
    .await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening_however_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner { incarnation: Uuid::from_u128(1), address: "here".to_owned() };
    for epoch in 1..=4 {
        let store = open(&folder).await;
        let leases = store.claim(&owner, &[Shard(0)], Millis(9)).await.unwrap();
        assert_eq!((leases[0].epoch.0, leases[0].journal_head), (epoch, epoch - 1));
        let mut mark = conformance_mark(&leases[0]);
        mark.journal_head = epoch;
        store.commit(Batch { shards: vec![mark], ..Batch::default() }.into()).await.unwrap();
        if epoch % 2 == 0 {
            store.close().await;
            assert!(!Path::new(&format!("{}-wal", path(&folder))).exists(), "the log is in the file");
            assert!(matches!(store.shards().await, Err(StoreError::Unavailable(_))));
            assert!(matches!(store.commit(Batch::default().into()).await, Err(StoreError::Unavailable(_))));
        }
    }
}

fn conformance_mark(lease: &crate::store::Lease) -> crate::store::ShardMark {
    crate::store::ShardMark {
        shard: lease.shard,
        epoch: lease.epoch,
        journal_head: lease.journal_head,
        published_head: lease.published_head,
        reply_cursor: lease.reply_cursor,
    }
}

async fn refused(path: &str) -> OpenError {
    match SqliteStore::open(path, conformance::SHARDS).await {
        Ok(_) => panic!("{path} was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_file_in_use_is_refused_under_any_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let detour = folder.path().join("..").join(folder.path().file_name().unwrap()).join("a.db");
    for name in [path(&folder), detour.to_str().unwrap().to_owned()] {
        assert!(matches!(refused(&name).await, OpenError::InUse(_)));
        assert!(matches!(SqliteStore::check_unused(&name), Err(OpenError::InUse(_))));
    }
    store.close().await;
    SqliteStore::check_unused(&path(&folder)).unwrap();
    open(&folder).await;
}

#[tokio::test]
async fn nothing_uses_a_file_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.db", "no/such/folder/a.db"] {
        SqliteStore::check_unused(folder.path().join(name).to_str().unwrap()).unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "asking leaves no trace");
}

#[tokio::test]
async fn the_number_of_shards_is_fixed_at_install() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder).await);
    let error = match SqliteStore::open(&path(&folder), 8).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    };
    assert!(matches!(error, OpenError::Shards { installed: 4, asked: 8, .. }));
    assert!(error.to_string().ends_with("was installed with 4 shards and cannot be opened with 8"));
    assert_eq!(SqliteStore::open_as_installed(&path(&folder)).await.unwrap().shard_count(), 4);
    assert_eq!(SqliteStore::open_as_installed(":memory:").await.unwrap().shard_count(), super::SHARDS);
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let newer = "INSERT INTO engine_migrations VALUES (9999, 'later', '2030-01-01', TRUE, x'00', 0)";
    sql(&store, newer).await.unwrap();
    store.close().await;
    assert!(matches!(refused(&path(&folder)).await, OpenError::Newer { migration: 9999, .. }));
}

#[tokio::test]
async fn a_file_of_another_build_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    sql(&store, "UPDATE engine_migrations SET checksum = x'00' WHERE version = 2").await.unwrap();
    store.close().await;
    assert!(matches!(refused(&path(&folder)).await, OpenError::Differs { migration: 2, .. }));
}

#[tokio::test]
async fn what_is_not_a_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["dear diary", "SQLite format 3\0 but not for long, since what follows is no page at all"] {
        std::fs::write(path(&folder), text.repeat(100)).unwrap();
        assert!(matches!(refused(&path(&folder)).await, OpenError::NotADatabase(_)), "{text}");
        assert_eq!(std::fs::read_to_string(path(&folder)).unwrap(), text.repeat(100));
    }
    assert!(matches!(refused(folder.path().to_str().unwrap()).await, OpenError::NotADatabase(_)));
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no").join("a.db");
    assert!(matches!(refused(missing.to_str().unwrap()).await, OpenError::NoFolder(named) if named.ends_with("no")));
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_written_is_said_so() {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    open(&folder).await.close().await;
    set_permissions(path(&folder), Permissions::from_mode(0o444)).unwrap();
    if std::fs::OpenOptions::new().write(true).open(path(&folder)).is_ok() {
        return; // Nothing is read-only to a superuser.
    }
    assert!(matches!(refused(&path(&folder)).await, OpenError::ReadOnly(_)));
    set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    let elsewhere = folder.path().join("b.db");
    assert!(write(&elsewhere, "").is_err());
    assert!(matches!(refused(elsewhere.to_str().unwrap()).await, OpenError::ReadOnly(_)));
    set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_said_so_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let owner = Owner { incarnation: Uuid::from_u128(1), address: "here".to_owned() };
    let lease = store.claim(&owner, &[Shard(0)], Millis(9)).await.unwrap().remove(0);
    sql(&store, "PRAGMA max_page_count = 1").await.unwrap();
    let letter = crate::store::DeadLetter {
        id: Uuid::nil(),
        saga_id: None,
        shard: Shard(0),
        step: None,
        operation: None,
        attempts: 1,
        error_code: String::new(),
        error_message: String::new(),
        at: Timestamp(0),
        record: "x".repeat(100_000),
    };
    let mark = crate::store::ShardMark { journal_head: 5, ..conformance_mark(&lease) };
    let batch = std::sync::Arc::new(Batch { shards: vec![mark], dead_letters: vec![letter], ..Batch::default() });
    let full = store.commit(batch.clone()).await;
    assert!(matches!(full, Err(StoreError::Unavailable(why)) if why == "the disk is full"));
    assert_eq!(store.shards().await.unwrap()[0].journal_head, 0);
    sql(&store, "PRAGMA max_page_count = 1000000").await.unwrap();
    store.commit(batch).await.unwrap();
    assert_eq!(store.shards().await.unwrap()[0].journal_head, 5);
}

#[tokio::test]
async fn commits_do_not_wait_for_readers_nor_readers_for_commits() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let mut reader = store.reader().await.unwrap();
    let mut snapshot = sqlx::Connection::begin(reader.connection().unwrap()).await.unwrap();
    sqlx::query("SELECT count(*) FROM sagas").fetch_one(&mut *snapshot).await.unwrap();
    store.commit(Batch::default().into()).await.unwrap();
    let writing = store.0.writer.lock().await;
    store.list(&SagaFilter::default(), &Page { size: 1, token: String::new() }).await.unwrap();
    drop(writing);
}
