//! Puts the shell together: stores, couriers, lanes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amends_core::{Epoch, Input, Millis, Reply, Saga, SagaId, Shard, Timestamp};
use async_trait::async_trait;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::courier::{Courier, Inlet, Publisher, Records};
use crate::definitions::Definitions;
use crate::metrics::Metrics;
use crate::service::ServiceError;
use crate::service::forward::Forward;
use crate::service::start::{StartSaga, Started};
use crate::service::wait::{Seat, Waiting};
use crate::shard::{
    CONTROL_QUEUE, CatchUp, Control, Dispatcher, Holdings, Keeper, Lane, LaneConfig, LaneInput, LaneQueues,
    PublishQueue, Residents,
};
use crate::store::{Archive, DefinitionRow, Leases, Owner, Storage};

mod here;

use here::start_id;

/// Messages that may wait for one lane. Starts beyond it are refused; replies wait at their courier.
const LANE_QUEUE: usize = 4_096;

/// Runs of records that may wait for one lane: two for each shard that a lane of the usual install has, and then the
/// courier waits.
const RECORDS_QUEUE: usize = 32;

/// How long shards may take to be handed over when the engine stops; after that their leases end by themselves.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// Ends that a slow reader of [`Engine::ended`] may fall behind before it loses the oldest.
const ENDED_QUEUE: usize = 16_384;

/// A running engine; a clone is another handle to it.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    archive: Arc<dyn Archive>,
    definitions: Definitions,
    courier: Arc<dyn Courier>,
    forward: Forward,
    lanes: Vec<LaneHandle>,
    leases: Arc<dyn Leases>,
    owner: Owner,
    in_flight: Arc<[Arc<AtomicUsize>]>,
    holdings: Holdings,
    draining: CancellationToken,
    ended: broadcast::Sender<Ended>,
    waiting: Arc<Waiting>,
    metrics: Metrics,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

/// The ends of a lane's channels that others write.
struct LaneHandle {
    inputs: mpsc::Sender<LaneInput>,
    records: mpsc::Sender<Records>,
    control: mpsc::Sender<Control>,
}

/// Sizes and bounds.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Number of shards, fixed at install.
    pub shards: u16,
    /// Tasks that move sagas. One writes the biggest batches; more use more cores.
    pub lanes: usize,
    /// Unfinished sagas per shard in memory; starts beyond it are refused.
    pub in_flight_max: usize,
    /// Where others reach this engine.
    pub address: String,
    /// How long its shards stay its own without a heartbeat, at least [`crate::LEASE_MIN`]; `None` if no other engine can
    /// be on the same store.
    pub lease: Option<Millis>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { shards: 16, lanes: 1, in_flight_max: 2_048, address: String::new(), lease: None }
    }
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The definitions contradict each other or the stored ones.
    #[error("{0}")]
    Definitions(String),
    /// The metrics cannot be registered.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// Tells that a saga has ended or parked.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The saga as it stands now.
    pub saga: Arc<Saga>,
}

impl Engine {
    /// Takes the shards over, recovers their sagas and begins to move them.
    ///
    /// `courier` and `publisher` may be called before this returns: recovered commands are sent again at once.
    pub async fn start(
        config: EngineConfig,
        storage: Storage,
        courier: Arc<dyn Courier>,
        publisher: Arc<dyn Publisher>,
        definitions: Definitions,
    ) -> Result<Self, EngineError> {
        let definitions = remember(&*storage.archive, definitions).await?;
        let metrics = Metrics::new()?;
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let in_flight: Arc<[_]> = (0..config.shards).map(|_| Arc::new(AtomicUsize::new(0))).collect();
        let holdings = Holdings::new(config.shards);
        let ended = broadcast::channel(ENDED_QUEUE).0;
        let owner = Owner { incarnation: Uuid::now_v7(), address: config.address.clone() };
        let bell = Arc::new(Notify::new());
        let lane_count = config.lanes.clamp(1, usize::from(config.shards.max(1)));
        let mut lanes = Vec::with_capacity(lane_count);
        for _ in 0..lane_count {
            let catch_up = CatchUp {
                store: storage.store.clone(),
                archive: storage.archive.clone(),
                definitions: definitions.clone(),
            };
            let lane_config = LaneConfig {
                store: storage.store.clone(),
                leases: storage.leases.clone(),
                owner: owner.clone(),
                ttl: config.lease.unwrap_or_default(),
                in_flight: in_flight.clone(),
                definitions: definitions.clone(),
                courier: courier.clone(),
                dispatcher: Dispatcher::start(courier.clone(), &tasks),
                publish_queue: PublishQueue::start(publisher.clone(), catch_up, cancel.clone(), &tasks),
                ended: ended.clone(),
                metrics: metrics.clone(),
                in_flight_max: config.in_flight_max,
                bell: bell.clone(),
                cancel: cancel.clone(),
            };
            let (handle, queues) = channels();
            tasks.spawn(Lane::new(Residents::new(config.shards, holdings.clone()), lane_config, queues).run());
            lanes.push(handle);
        }
        let draining = cancel.child_token();
        let keeper = Keeper {
            leases: storage.leases.clone(),
            owner: owner.clone(),
            ttl: config.lease,
            holdings: holdings.clone(),
            lanes: lanes.iter().map(|lane| lane.control.clone()).collect(),
            bell,
            cancel: draining.clone(),
        };
        let (told, ready) = oneshot::channel();
        tasks.spawn(keeper.run(told));
        let waiting = Waiting::start(ended.subscribe(), cancel.clone(), &tasks);
        tasks.close();
        // An error means that the engine was stopped before it began.
        let _ = ready.await;
        let (archive, leases) = (storage.archive, storage.leases);
        let forward = Forward::new(archive.clone(), config.address, config.lease, cancel.clone());
        let shared = Shared {
            archive,
            definitions,
            courier,
            forward,
            lanes,
            leases,
            owner,
            in_flight,
            holdings,
            draining,
            ended,
            waiting,
            metrics,
            cancel,
            tasks,
        };
        Ok(Self(Arc::new(shared)))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        crate::shard::now()
    }

    /// A fresh, time-ordered id.
    pub fn new_saga_id(&self) -> SagaId {
        SagaId::from_uuid(Uuid::now_v7())
    }

    /// The read path.
    pub fn archive(&self) -> &dyn Archive {
        &*self.0.archive
    }

    /// What sagas there are.
    pub fn definitions(&self) -> &Definitions {
        &self.0.definitions
    }

    /// The courier.
    pub fn courier(&self) -> &dyn Courier {
        &*self.0.courier
    }

    /// Accepts a saga, on whichever engine owns its shard; answers after the commit.
    pub async fn start_saga(&self, request: StartSaga) -> Result<Started, ServiceError> {
        let id = start_id(&request)?;
        self.0.forward.start(self, &request, id, self.shard_of(id)).await
    }

    /// Brings an operator's input to a saga, on whichever engine owns its shard; answers after the commit.
    pub async fn operate(&self, saga: SagaId, input: Input) -> Result<(), ServiceError> {
        self.0.forward.operate(self, saga, self.shard_of(saga), input).await
    }

    /// Follows a saga, on whichever engine owns its shard: the number of its last journal row, as it grows. Closed when
    /// the saga leaves memory (ended, parked or paused), or its engine cannot be reached any more; `None` if it is not
    /// there.
    pub async fn follow(&self, saga: SagaId) -> Result<Option<watch::Receiver<u64>>, ServiceError> {
        self.0.forward.follow(self, saga, self.shard_of(saga)).await
    }

    /// Everything that ends or parks from now on; a slow reader loses the oldest.
    pub fn ended(&self) -> broadcast::Receiver<Ended> {
        self.0.ended.subscribe()
    }

    /// Takes a place among those who are told when a saga ends or parks; see [`crate::service::wait`].
    pub fn seat(&self, saga: SagaId) -> Seat {
        self.0.waiting.seat(saga, self.epoch(saga))
    }

    /// The epoch under which a lane of this engine holds the saga's shard, if one does.
    pub(crate) fn epoch(&self, saga: SagaId) -> Option<Epoch> {
        self.0.holdings.epoch(self.shard_of(saga))
    }

    /// Unfinished sagas in memory, by shard.
    pub fn in_flight(&self) -> Vec<usize> {
        self.0.in_flight.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Shards that this engine owns at present.
    pub fn owned_shards(&self) -> usize {
        self.0.holdings.count()
    }

    /// What the engine has counted, in the Prometheus text format.
    pub fn metrics(&self) -> Result<String, ServiceError> {
        self.0.metrics.text(self.in_flight().iter().sum()).map_err(|error| {
            tracing::error!(%error, "the metrics cannot be written");
            ServiceError::Internal
        })
    }

    /// Whether it is on its way out: it hands its shards over and takes no more.
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Hands the shards over, finishes what is being committed, and returns. What is unfinished carries on where the
    /// shards go, or at the next start.
    pub async fn shutdown(&self) {
        self.0.draining.cancel();
        if tokio::time::timeout(HAND_OVER_MAX, self.hand_over()).await.is_err() {
            tracing::warn!("the shards are not handed over in time; their leases will end by themselves");
        }
        self.0.cancel.cancel();
        self.0.tasks.wait().await;
    }

    async fn hand_over(&self) {
        let count = self.0.lanes.len();
        let released = self.0.lanes.iter().enumerate().map(|(number, lane)| async move {
            let shards = (0..self.0.in_flight.len()).filter(|shard| shard % count == number);
            let shards = shards.filter_map(|shard| u16::try_from(shard).ok()).map(Shard).collect();
            let (done, released) = oneshot::channel();
            if lane.control.send(Control::Release(shards, Some(done))).await.is_ok() {
                let _ = released.await;
            }
        });
        futures::future::join_all(released).await;
        if let Err(error) = self.0.leases.leave(&self.0.owner).await {
            tracing::warn!(%error, "the others are not told that this engine leaves; they will find out");
        }
    }

    fn lane(&self, saga: SagaId) -> &LaneHandle {
        self.lane_of(self.shard_of(saga))
    }

    fn shard_of(&self, saga: SagaId) -> Shard {
        Shard::of(saga, u16::try_from(self.0.in_flight.len()).unwrap_or(u16::MAX))
    }

    fn lane_of(&self, shard: Shard) -> &LaneHandle {
        &self.0.lanes[usize::from(shard.0) % self.0.lanes.len()]
    }
}

fn channels() -> (LaneHandle, LaneQueues) {
    let (inputs, inputs_read) = mpsc::channel(LANE_QUEUE);
    let (records, records_read) = mpsc::channel(RECORDS_QUEUE);
    let (control, control_read) = mpsc::channel(CONTROL_QUEUE);
    let queues = LaneQueues { inputs: inputs_read, records: records_read, control: control_read };
    (LaneHandle { inputs, records, control }, queues)
}

#[async_trait]
impl Inlet for Engine {
    async fn replies(&self, mut replies: Vec<Reply>) {
        for lane in &self.0.lanes {
            let own = |reply: &Reply| std::ptr::eq(self.lane(reply.saga_id), lane);
            let (mine, others): (Vec<_>, Vec<_>) = std::mem::take(&mut replies).into_iter().partition(own);
            replies = others;
            if !mine.is_empty() {
                // Closed means shutdown: the commands are outstanding and will be sent again by the next owner.
                let _ = lane.inputs.send(LaneInput::Replies(mine)).await;
            }
        }
    }

    async fn records(&self, records: Records) {
        // Closed means shutdown: the next owner reads from the cursor.
        let _ = self.lane_of(records.shard).records.send(records).await;
    }

    async fn halt(&self, shard: Shard, epoch: Epoch, why: Option<String>) {
        let _ = self.lane_of(shard).control.send(Control::Halt(shard, epoch, why)).await;
    }
}

fn stopping() -> ServiceError {
    ServiceError::Unavailable("this engine is stopping; try again".to_owned())
}

/// Stores this program's definitions and adds the stored ones, which unfinished sagas may pin.
async fn remember(archive: &dyn Archive, mut definitions: Definitions) -> Result<Definitions, EngineError> {
    for definition in definitions.iter() {
        let row = DefinitionRow {
            saga_type: definition.saga_type.clone(),
            version: definition.version,
            checksum: definition.checksum,
            source: definition.source.to_string(),
        };
        archive.save_definition(&row).await?;
    }
    for row in archive.definitions().await? {
        if definitions.get(&row.saga_type, row.version).is_some() {
            continue;
        }
        let name = format!("{} version {}", row.saga_type, row.version);
        let definition = amends_core::Definition::parse(&row.source)
            .map_err(|errors| EngineError::Definitions(format!("stored definition {name}: {}", errors[0])))?;
        definitions.add(Arc::new(definition)).map_err(|error| EngineError::Definitions(error.to_string()))?;
    }
    Ok(definitions)
}
