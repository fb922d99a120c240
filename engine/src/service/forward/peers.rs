//! Who owns what, as far as this engine has heard, and the connections to those engines.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amends_core::Shard;
use amends_proto::amends::v1::peer_service_client::PeerServiceClient;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::store::{Archive, Owner, StoreError};

/// How long a connection to another engine may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// How often an idle connection is tried, and how long that may take: an engine whose machine has vanished is found out
/// within their sum.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3));

/// A connection to another engine.
pub(super) type Client = PeerServiceClient<Channel>;

/// The other engines.
pub(super) struct Peers {
    archive: Arc<dyn Archive>,
    known: Mutex<Known>,
    /// Held by whoever reads the owners anew, so that a thousand requests for a shard that moves cost one read.
    reading: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Known {
    owners: HashMap<Shard, Owner>,
    /// One for each address that owns something: there are never more of them than shards.
    channels: HashMap<String, Channel>,
}

impl Peers {
    pub(super) fn new(archive: Arc<dyn Archive>) -> Self {
        Self { archive, known: Mutex::default(), reading: tokio::sync::Mutex::new(None) }
    }

    /// The owner of a shard as it was heard of last; asks the database where nothing is known.
    pub(super) async fn owner(&self, shard: Shard) -> Result<Option<Owner>, StoreError> {
        let asked = Instant::now();
        if let Some(owner) = self.known().owners.get(&shard) {
            return Ok(Some(owner.clone()));
        }
        let mut read_at = self.reading.lock().await;
        if read_at.is_none_or(|read_at| read_at < asked) {
            let began = Instant::now();
            let shards = self.archive.shards().await?;
            let owned = shards.into_iter().filter(|row| !row.free);
            let owners: HashMap<_, _> = owned.filter_map(|row| Some((row.shard, row.owner?))).collect();
            let addresses: HashSet<_> = owners.values().map(|owner| owner.address.clone()).collect();
            let mut known = self.known();
            known.channels.retain(|address, _| addresses.contains(address));
            known.owners = owners;
            *read_at = Some(began);
        }
        Ok(self.known().owners.get(&shard).cloned())
    }

    /// What was heard of a shard's owner is wrong.
    pub(super) fn forget(&self, shard: Shard, owner: &Owner) {
        let mut known = self.known();
        if known.owners.get(&shard) == Some(owner) {
            known.owners.remove(&shard);
        }
    }

    /// A connection to an engine; made when it is first used.
    pub(super) fn client(&self, owner: &Owner) -> Result<Client, tonic::transport::Error> {
        let mut known = self.known();
        if let Some(channel) = known.channels.get(&owner.address) {
            return Ok(PeerServiceClient::new(channel.clone()));
        }
        let endpoint = Endpoint::from_shared(format!("http://{}", owner.address))?;
        let channel = endpoint
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true)
            .connect_lazy();
        known.channels.insert(owner.address.clone(), channel.clone());
        Ok(PeerServiceClient::new(channel))
    }

    /// A lock that a panic has poisoned guards what is still whole: no method leaves it half changed.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
