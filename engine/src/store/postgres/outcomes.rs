//! What a store answers when the way to the server fails in the middle of a commit.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use amends_core::{Epoch, Millis, Shard};
use sqlx::postgres::PgConnectOptions;
use sqlx::raw_sql;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::tests::Specimen;
use super::{PostgresOptions, PostgresStore};
use crate::store::conformance::fixture::{letter, mark, owner, saga, written};
use crate::store::{Archive, Batch, Lease, Leases, ShardMark, Store, StoreError};

/// What happens to the next large message: a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It does not arrive.
    LoseRequest,
    /// It arrives; the answer does not.
    LoseReply,
    /// It arrives; then the way is cut for the client, and the server does not know.
    Cut,
    /// The way is cut for the client; it arrives later.
    Delay,
    /// As the first, and after that nobody can connect.
    Down,
}

/// Smaller messages are not commits: questions whether a connection lives, or what became of a commit.
const LARGE: usize = 400;

/// A connection that is kept back, with what is to go over it.
type Late = Arc<Mutex<Option<(TcpStream, Vec<u8>)>>>;

/// A line between the store and its server, on which one fault can be had.
struct Line {
    port: u16,
    fault: Arc<Mutex<Fault>>,
    late: Late,
}

impl Line {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (fault, late) = (Arc::new(Mutex::new(Fault::None)), Arc::new(Mutex::new(None)));
        let line = Self { port: listener.local_addr().unwrap().port(), fault: fault.clone(), late: late.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *fault.lock().unwrap() == Fault::Down {
                    continue;
                }
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, fault.clone(), late.clone()));
            }
        });
        line
    }

    fn have(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Sends the message that was held back, and answers what the server says to it.
    async fn deliver(&self) -> String {
        let (mut server, message) = self.late.lock().unwrap().take().expect("a message is held back");
        server.write_all(&message).await.unwrap();
        let mut answer = vec![0; 64 * 1024];
        let length = server.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, fault: Arc<Mutex<Fault>>, late: Late) {
    let (mut up, mut down) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let now = if length < LARGE { Fault::None } else { *fault.lock().unwrap() };
                if now != Fault::None && now != Fault::Down {
                    *fault.lock().unwrap() = Fault::None;
                }
                match now {
                    Fault::LoseRequest | Fault::Down => return,
                    Fault::Delay => {
                        *late.lock().unwrap() = Some((server, up[..length].to_vec()));
                        return;
                    }
                    Fault::None | Fault::LoseReply | Fault::Cut => {}
                }
                if server.write_all(&up[..length]).await.is_err() {
                    return;
                }
                if now == Fault::LoseReply {
                    let _ = server.read(&mut down).await;
                    return;
                }
                if now == Fault::Cut {
                    drop(client);
                    let _ = server.read(&mut down).await;
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&down[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A store whose one writer has sent a commit before, over a line to its server.
struct Remote {
    specimen: Specimen,
    store: PostgresStore,
    line: Line,
    lease: Lease,
}

impl Remote {
    async fn new() -> Self {
        let specimen = Specimen::new().await;
        let options: PgConnectOptions = specimen.place.url.parse().unwrap();
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let line = Line::to(server.clone()).await;
        let url = specimen.place.url.replace(&server, &format!("127.0.0.1:{}", line.port));
        let options = PostgresOptions { writers: 1, ..PostgresOptions::default() };
        let store = PostgresStore::connect(&url, options).await.unwrap();
        let lease = specimen.store.claim(&owner(1), &[Shard(0)], Millis(60_000)).await.unwrap().remove(0);
        let remote = Self { specimen, store, line, lease };
        // Whatever has to be prepared is prepared now.
        let mut first = remote.batch(9, 1);
        first.dead_letters.push(letter(9, 5));
        remote.store.commit(first.into()).await.unwrap();
        let mut second = remote.batch(8, 2);
        remote.store.commit(second.clone().into()).await.unwrap();
        (second.journal, second.started) = (Vec::new(), Vec::new());
        remote.store.commit(second.into()).await.unwrap();
        remote
    }

    /// Starts a saga at a position of the journal.
    fn batch(&self, n: u128, position: i64) -> Batch {
        let mut row = saga(n, 0, 5);
        row.state.error_message = Some("x".repeat(LARGE));
        let journal = crate::store::JournalRow {
            shard: Shard(0),
            position,
            saga_id: row.id,
            seq: 1,
            at: row.started_at,
            format: 1,
            events: "[]".to_owned(),
        };
        let shards = vec![ShardMark { journal_head: position, reply_cursor: position, ..mark(&self.lease) }];
        Batch { shards, journal: vec![journal], started: vec![row], ..Batch::default() }
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.store.commit(batch.into()).await
    }

    /// How many sagas and journal rows there are, and the journal's head, beyond those of the beginning.
    async fn added(&self) -> [i64; 3] {
        let [sagas, journal, _, _, head] = written(&self.specimen).await;
        [sagas - 2, journal - 2, head - 2]
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_was_made() {
    let remote = Remote::new().await;
    remote.line.have(Fault::LoseReply);
    remote.commit(remote.batch(1, 3)).await.unwrap();
    assert_eq!(remote.added().await, [1, 1, 1]);
    remote.commit(remote.batch(2, 4)).await.unwrap();
    assert_eq!(remote.added().await, [2, 2, 2]);
}

#[tokio::test]
async fn a_commit_that_is_lost_is_made_again() {
    let remote = Remote::new().await;
    remote.line.have(Fault::LoseRequest);
    remote.commit(remote.batch(1, 3)).await.unwrap();
    assert_eq!(remote.added().await, [1, 1, 1]);
}

#[tokio::test]
async fn a_commit_still_under_way_is_waited_for() {
    let remote = Remote::new().await;
    let mut other = remote.specimen.place.connect().await;
    raw_sql("BEGIN; UPDATE shards SET owner = owner WHERE shard = 0").execute(&mut other).await.unwrap();
    remote.line.have(Fault::Cut);
    let (store, batch) = (remote.store.clone(), Arc::new(remote.batch(1, 3)));
    let commit = tokio::spawn(async move { store.commit(batch).await });
    sleep(Duration::from_millis(500)).await;
    assert!(!commit.is_finished());
    raw_sql("COMMIT").execute(&mut other).await.unwrap();
    commit.await.unwrap().unwrap();
    assert_eq!(remote.added().await, [1, 1, 1]);
}

#[tokio::test]
async fn a_commit_that_was_overtaken_by_a_claim_is_fenced() {
    let remote = Remote::new().await;
    let mut other = remote.specimen.place.connect().await;
    raw_sql("BEGIN; UPDATE shards SET epoch = epoch + 1 WHERE shard = 0").execute(&mut other).await.unwrap();
    remote.line.have(Fault::Cut);
    let (store, batch) = (remote.store.clone(), Arc::new(remote.batch(1, 3)));
    let commit = tokio::spawn(async move { store.commit(batch).await });
    sleep(Duration::from_millis(500)).await;
    raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert!(matches!(commit.await.unwrap(), Err(StoreError::Fenced(Shard(0)))));
    assert_eq!(remote.added().await, [0; 3]);
}

#[tokio::test]
async fn a_commit_made_before_a_claim_is_fenced_all_the_same() {
    let remote = Remote::new().await;
    // The claim waits behind the commit, and the question what became of it behind the claim.
    let mut other = remote.specimen.place.connect().await;
    raw_sql("BEGIN; UPDATE shards SET owner = owner WHERE shard = 0").execute(&mut other).await.unwrap();
    remote.line.have(Fault::Cut);
    let (store, batch) = (remote.store.clone(), Arc::new(remote.batch(1, 3)));
    let commit = tokio::spawn(async move { store.commit(batch).await });
    sleep(Duration::from_millis(300)).await;
    let again = remote.specimen.store.clone();
    let claim = tokio::spawn(async move { again.claim(&owner(1), &[Shard(0)], Millis(60_000)).await });
    sleep(Duration::from_millis(300)).await;
    raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let answer = commit.await.unwrap();
    assert_eq!((claim.await.unwrap().unwrap()[0].epoch, remote.added().await), (Epoch(2), [1, 1, 1]));
    // Either is true; which, depends on whom the server let in first.
    assert!(matches!(answer, Ok(()) | Err(StoreError::Fenced(Shard(0)))), "{answer:?}");
}

#[tokio::test]
async fn a_try_that_comes_late_changes_nothing() {
    let remote = Remote::new().await;
    remote.line.have(Fault::Delay);
    remote.commit(remote.batch(1, 3)).await.unwrap();
    remote.commit(remote.batch(2, 4)).await.unwrap();
    let answer = remote.line.deliver().await;
    assert!(answer.contains("journal_pkey"), "its positions are taken: {answer}");
    assert_eq!(remote.added().await, [2, 2, 2]);

    let mut letter = letter(1, 5);
    letter.record = "x".repeat(LARGE);
    let moved = |cursor| ShardMark { journal_head: 4, reply_cursor: cursor, ..mark(&remote.lease) };
    let batch = |cursor| Batch { shards: vec![moved(cursor)], dead_letters: vec![letter.clone()], ..Batch::default() };
    remote.commit(batch(6)).await.unwrap();
    remote.line.have(Fault::Delay);
    remote.commit(batch(7)).await.unwrap();
    remote.commit(Batch { shards: vec![moved(9)], ..Batch::default() }).await.unwrap();
    let answer = remote.line.deliver().await;
    assert!(answer.contains("only go up"), "it would take the cursor back: {answer}");
    assert_eq!(remote.specimen.store.shards().await.unwrap()[0].reply_cursor, 9);
}

#[tokio::test]
async fn a_try_that_comes_late_is_seen_by_the_next() {
    let remote = Remote::new().await;
    remote.line.have(Fault::Delay);
    let (store, batch) = (remote.store.clone(), Arc::new(remote.batch(1, 3)));
    let commit = tokio::spawn(async move { store.commit(batch).await });
    while remote.line.late.lock().unwrap().is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    let _ = remote.line.deliver().await;
    commit.await.unwrap().unwrap();
    assert_eq!(remote.added().await, [1, 1, 1]);
}

#[tokio::test]
async fn what_moves_no_journal_is_made_again() {
    let remote = Remote::new().await;
    for fault in [Fault::LoseReply, Fault::LoseRequest] {
        remote.line.have(fault);
        let shards = vec![ShardMark { journal_head: 2, reply_cursor: 7, ..mark(&remote.lease) }];
        let mut letter = letter(1, 5);
        letter.record = "x".repeat(LARGE);
        remote.commit(Batch { shards, dead_letters: vec![letter], ..Batch::default() }).await.unwrap();
        assert_eq!(remote.line.fault.lock().unwrap().clone(), Fault::None, "the fault was had");
        assert_eq!(written(&remote.specimen).await[2], 2);
        assert_eq!(remote.specimen.store.shards().await.unwrap()[0].reply_cursor, 7);
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_asked_is_unavailable() {
    let remote = Remote::new().await;
    remote.line.have(Fault::Down);
    let begin = Instant::now();
    assert!(matches!(remote.commit(remote.batch(1, 3)).await, Err(StoreError::Unavailable(_))));
    assert!(begin.elapsed() < super::outcome::SETTLE + Duration::from_secs(5), "within a bounded time");
    assert_eq!(remote.added().await, [0; 3]);
    remote.line.have(Fault::None);
    // The lane sends the same batch again, as often as it takes.
    remote.commit(remote.batch(1, 3)).await.unwrap();
    assert_eq!(remote.added().await, [1, 1, 1]);
}

#[tokio::test]
async fn a_connection_that_the_server_ends_costs_nobody_an_answer() {
    let remote = Remote::new().await;
    let mut writer = remote.store.0.writers.take().await.unwrap();
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(writer.connection()).await.unwrap();
    writer.settle(Ok(())).await.unwrap();
    remote.specimen.place.sql(&format!("SELECT pg_terminate_backend({backend})::INT::BIGINT")).await.unwrap();
    remote.commit(remote.batch(1, 3)).await.unwrap();
    assert_eq!(remote.added().await, [1, 1, 1]);
}
