//! Requests between engines over real connections; what the engines do with them is played.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends_core::{IdempotencyKey, Input, Millis, Operator, Payload, SagaId, Shard, Status, StepName, Timestamp};
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::peer_service_client::PeerServiceClient;
use amends_proto::amends::v1::peer_service_server::PeerServiceServer;
use async_trait::async_trait;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

use super::{Forward, Here, Instant, TAKE_OVER_MAX, caller, wait, wait_max};
use crate::api::grpc::peer::Peer;
use crate::service::ServiceError;
use crate::service::start::{StartSaga, Started};
use crate::store::sqlite::SqliteStore;
use crate::store::{Leases, Owner};

const SHARD: Shard = Shard(0);

/// What an engine would do.
struct Played {
    owns: AtomicBool,
    /// Takes requests and never answers.
    hangs: AtomicBool,
    fails: Mutex<Option<ServiceError>>,
    started: Mutex<Vec<StartSaga>>,
    operated: Mutex<Vec<(SagaId, Input)>>,
    asked: AtomicUsize,
    rows: Mutex<Option<watch::Sender<u64>>>,
}

impl Played {
    fn new(owns: bool) -> Arc<Self> {
        Arc::new(Self {
            owns: owns.into(),
            hangs: false.into(),
            fails: Mutex::default(),
            started: Mutex::default(),
            operated: Mutex::default(),
            asked: AtomicUsize::new(0),
            rows: Mutex::default(),
        })
    }

    async fn ask(&self) -> Result<(), ServiceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if !self.owns.load(Ordering::SeqCst) {
            return Err(ServiceError::NotOwner { shard: SHARD });
        }
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.fails.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Here for Played {
    async fn start_here(&self, request: &StartSaga) -> Result<Started, ServiceError> {
        self.ask().await?;
        self.started.lock().unwrap().push(request.clone());
        Ok(Started { id: request.id, existed: true, status: Status::Compensating, started_at: Timestamp(77) })
    }

    async fn operate_here(&self, saga: SagaId, input: Input) -> Result<(), ServiceError> {
        self.ask().await?;
        self.operated.lock().unwrap().push((saga, input));
        Ok(())
    }

    async fn follow_here(&self, _: SagaId) -> Result<Option<watch::Receiver<u64>>, ServiceError> {
        self.ask().await?;
        Ok(self.rows.lock().unwrap().as_ref().map(watch::Sender::subscribe))
    }
}

/// Another engine, in what could be another process.
struct Other {
    played: Arc<Played>,
    owner: Owner,
    runtime: Option<Runtime>,
}

impl Other {
    async fn start(number: u128) -> Self {
        let played = Played::new(true);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let peer = Peer::new(played.clone(), CancellationToken::new());
        let address: SocketAddr = runtime
            .spawn(async move {
                let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let address = incoming.local_addr().unwrap();
                let server = tonic::transport::Server::builder().add_service(PeerServiceServer::new(peer));
                tokio::spawn(server.serve_with_incoming(incoming));
                address
            })
            .await
            .unwrap();
        let owner = Owner { incarnation: Uuid::from_u128(number), address: address.to_string() };
        Self { played, owner, runtime: Some(runtime) }
    }

    /// Ends it, and returns when its port refuses.
    async fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
        while tokio::net::TcpStream::connect(&self.owner.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// This engine, which owns nothing.
struct This {
    store: Arc<SqliteStore>,
    forward: Arc<Forward>,
    here: Arc<Played>,
}

impl This {
    async fn new(wait_max: Duration) -> Self {
        let store = Arc::new(SqliteStore::open(":memory:", 1).await.unwrap());
        let mut forward = Forward::new(store.clone(), "here".to_owned(), None, CancellationToken::new());
        forward.wait_max = wait_max;
        Self { store, forward: Arc::new(forward), here: Played::new(false) }
    }

    /// Gives the shard to somebody, whoever had it.
    async fn give(&self, owner: &Owner) {
        let had = self.store.heartbeat(owner, Millis(60_000)).await.unwrap().shards.remove(0).owner;
        if let Some(had) = had {
            self.store.leave(&had).await.unwrap();
        }
        assert_eq!(self.store.claim(owner, &[SHARD], Millis(60_000)).await.unwrap().len(), 1);
    }

    async fn start(&self, request: &StartSaga) -> Result<Started, ServiceError> {
        self.forward.start(&*self.here, request, request.id, SHARD).await
    }

    async fn cancel(&self) -> Result<(), ServiceError> {
        self.forward.operate(&*self.here, saga(), SHARD, Input::Cancel(operator())).await
    }

    async fn follow(&self) -> Option<watch::Receiver<u64>> {
        self.forward.follow(&*self.here, saga(), SHARD).await.unwrap()
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(400);

fn saga() -> SagaId {
    SagaId::from_uuid(Uuid::from_u128(5))
}

fn operator() -> Operator {
    Operator { who: "ann".into(), reason: "wrong\"size".into() }
}

fn request() -> StartSaga {
    StartSaga {
        saga_type: "trip".into(),
        key: IdempotencyKey::new("kä").ok(),
        id: saga(),
        input: Payload::from_json(r#"{"n": 1299.990}"#.into()).unwrap(),
        deadline: Some(Millis(1_234)),
    }
}

#[tokio::test]
async fn a_request_reaches_the_owner_and_its_answer_comes_back() {
    let (this, other) = (This::new(LONG).await, Other::start(1).await);
    this.give(&other.owner).await;
    let started = this.start(&request()).await.unwrap();
    let expected = Started { id: saga(), existed: true, status: Status::Compensating, started_at: Timestamp(77) };
    assert_eq!(started, expected);
    let keyless = this.start(&StartSaga { key: None, deadline: None, ..request() }).await.unwrap();
    assert!(!keyless.existed, "an id of its own: what existed is its own work");
    let heard = other.played.started.lock().unwrap().clone();
    assert_eq!(format!("{:?}", heard[0]), format!("{:?}", request()));
    assert_eq!(heard[0].input.as_str(), request().input.as_str(), "letter by letter");
    assert!(heard[1].key.is_none() && heard[1].deadline.is_none());

    let input = Input::Retry { operator: operator(), step: StepName::new("pay").ok(), input: Some(request().input) };
    this.forward.operate(&*this.here, saga(), SHARD, input.clone()).await.unwrap();
    assert_eq!(*other.played.operated.lock().unwrap(), [(saga(), input)]);
}

#[tokio::test]
async fn what_the_owner_refuses_is_told_as_it_said_it() {
    let (this, other) = (This::new(LONG).await, Other::start(1).await);
    this.give(&other.owner).await;
    for error in [
        ServiceError::invalid("input", "is missing"),
        ServiceError::AlreadyExists("the key is taken".into()),
        ServiceError::NotAllowed("it has ended".into()),
        ServiceError::Overloaded { retry_after: Millis(321) },
        ServiceError::Unavailable("the disk is full".into()),
        ServiceError::Internal,
    ] {
        *other.played.fails.lock().unwrap() = Some(error.clone());
        assert_eq!(format!("{:?}", this.start(&request()).await.unwrap_err()), format!("{error:?}"));
        assert_eq!(format!("{:?}", this.cancel().await.unwrap_err()), format!("{error:?}"));
    }
    assert_eq!(other.played.asked.load(Ordering::SeqCst), 12, "asked once each");
}

#[tokio::test]
async fn a_shard_that_nobody_has_is_waited_for() {
    let this = Arc::new(This::new(LONG).await);
    let waiting = tokio::spawn({
        let this = this.clone();
        async move { this.start(&request()).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let other = Other::start(1).await;
    this.give(&other.owner).await;
    waiting.await.unwrap().unwrap();

    let nobody = This::new(SHORT).await;
    let error = nobody.start(&request()).await.unwrap_err();
    assert_eq!(error.to_string(), "shard 0 cannot be reached: nobody owns it at present; try again");
    assert!(matches!(error, ServiceError::Unavailable(_)));
}

#[tokio::test]
async fn whoever_has_lost_the_shard_says_so_and_the_new_owner_is_found() {
    let (this, first, second) = (This::new(LONG).await, Other::start(1).await, Other::start(2).await);
    this.give(&first.owner).await;
    this.cancel().await.unwrap();
    first.played.owns.store(false, Ordering::SeqCst);
    this.give(&second.owner).await;
    this.cancel().await.unwrap();
    this.start(&request()).await.unwrap();
    assert_eq!(second.played.operated.lock().unwrap().len(), 1);
    assert_eq!(first.played.operated.lock().unwrap().len(), 1);
    assert_eq!(first.played.asked.load(Ordering::SeqCst), 2, "asked once more, in vain");
}

#[tokio::test]
async fn an_owner_that_refuses_connections_has_certainly_done_nothing() {
    let (this, mut first, second) = (Arc::new(This::new(LONG).await), Other::start(1).await, Other::start(2).await);
    this.give(&first.owner).await;
    first.kill().await;
    let waiting = tokio::spawn({
        let this = this.clone();
        async move { this.cancel().await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    this.give(&second.owner).await;
    waiting.await.unwrap().unwrap();
    assert_eq!(second.played.operated.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_may_have_been_done_is_repeated_only_where_that_is_safe() {
    let (this, mut first, second) = (Arc::new(This::new(LONG).await), Other::start(1).await, Other::start(2).await);
    first.played.hangs.store(true, Ordering::SeqCst);
    this.give(&first.owner).await;
    let (started, cancelled) = (this.clone(), this.clone());
    let started = tokio::spawn(async move { started.start(&request()).await });
    let cancelled = tokio::spawn(async move { cancelled.cancel().await });
    while first.played.asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.kill().await;
    this.give(&second.owner).await;
    started.await.unwrap().unwrap();
    let unclear = cancelled.await.unwrap().unwrap_err();
    assert!(unclear.to_string().contains("may have been done"), "{unclear}");
    assert_eq!(second.played.started.lock().unwrap().len(), 1);
    assert!(second.played.operated.lock().unwrap().is_empty(), "not a second time");
}

#[tokio::test]
async fn an_owner_that_hangs_is_waited_for_no_longer_than_the_caller_does() {
    let (this, other) = (This::new(SHORT).await, Other::start(1).await);
    other.played.hangs.store(true, Ordering::SeqCst);
    this.give(&other.owner).await;
    let began = std::time::Instant::now();
    assert!(matches!(this.cancel().await, Err(ServiceError::Unavailable(_))));
    assert!(began.elapsed() < SHORT * 4);
}

#[tokio::test]
async fn a_caller_that_has_said_how_long_it_waits_is_answered_by_then() {
    let (this, other) = (This::new(LONG).await, Other::start(1).await);
    let within = |request| async {
        let began = Instant::now();
        let answer = caller::until(Some(began + SHORT), request).await;
        assert!(matches!(answer, Err(ServiceError::Unavailable(_))) && began.elapsed() < SHORT * 4, "{answer:?}");
    };
    within(this.cancel()).await;
    other.played.hangs.store(true, Ordering::SeqCst);
    this.give(&other.owner).await;
    within(this.cancel()).await;
}

#[test]
fn an_owner_that_dies_is_waited_for_until_it_must_have_been_replaced() {
    assert_eq!(wait_max(Some(Millis(6_000))), Duration::from_secs(10));
    assert_eq!(wait_max(Some(Millis(3_600_000))), wait::WAIT_MAX, "an API would give up first");
    assert_eq!(wait_max(None), TAKE_OVER_MAX);
}

#[tokio::test]
async fn a_shard_that_is_about_to_be_this_engine_s_is_waited_for_here() {
    let this = Arc::new(This::new(LONG).await);
    this.give(&Owner { incarnation: Uuid::from_u128(9), address: "here".into() }).await;
    let waiting = tokio::spawn({
        let this = this.clone();
        async move { this.cancel().await }
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    this.here.owns.store(true, Ordering::SeqCst);
    waiting.await.unwrap().unwrap();
    assert_eq!(this.here.operated.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_saga_is_followed_at_its_owner_until_it_leaves() {
    let (this, other) = (This::new(LONG).await, Other::start(1).await);
    assert!(this.follow().await.is_none(), "nobody has it");
    this.give(&other.owner).await;
    assert!(this.follow().await.is_none(), "not in memory");
    let rows = watch::Sender::new(3);
    *other.played.rows.lock().unwrap() = Some(rows.clone());
    let mut followed = this.follow().await.unwrap();
    assert_eq!(*followed.borrow_and_update(), 3);
    rows.send_replace(4);
    tokio::time::timeout(LONG, followed.changed()).await.unwrap().unwrap();
    assert_eq!(*followed.borrow_and_update(), 4);
    drop(other.played.rows.lock().unwrap().take());
    drop(rows);
    assert!(tokio::time::timeout(LONG, followed.changed()).await.unwrap().is_err(), "it has left");
}

#[tokio::test]
async fn nobody_is_followed_for_somebody_who_has_left() {
    let (this, other) = (This::new(LONG).await, Other::start(1).await);
    this.give(&other.owner).await;
    let rows = watch::Sender::new(3);
    *other.played.rows.lock().unwrap() = Some(rows.clone());
    drop(this.follow().await.unwrap());
    // The stream notices at its next row.
    for seq in 4..1_000 {
        if rows.receiver_count() == 0 {
            return;
        }
        rows.send_replace(seq);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still followed");
}

#[tokio::test]
async fn an_engine_takes_from_others_what_operators_do_and_nothing_else() {
    let other = Other::start(1).await;
    let mut client = PeerServiceClient::connect(format!("http://{}", other.owner.address)).await.unwrap();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for input in [r#"{"timer_fired":"deadline"}"#, "", "{", r#"{"explode":{}}"#, &deep] {
        let request = proto::PeerOperateRequest { saga_id: saga().to_string(), input: input.to_owned() };
        assert_eq!(client.operate(request).await.unwrap_err().code(), tonic::Code::InvalidArgument, "{input}");
    }
    let request = proto::PeerStartRequest { r#type: "Trip".into(), ..proto::PeerStartRequest::default() };
    assert_eq!(client.start(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    assert_eq!(other.played.asked.load(Ordering::SeqCst), 0);
}
