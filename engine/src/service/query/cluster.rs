//! Reads who owns what.

use amends_proto::amends::v1 as proto;

use crate::Engine;
use crate::service::ServiceError;
use crate::service::view::timestamp;

/// Lists all shards. The number of sagas in memory is this engine's: 0 for the shards of others.
pub async fn shards(engine: &Engine) -> Result<proto::ListShardsResponse, ServiceError> {
    let in_flight = engine.in_flight();
    let rows = engine.archive().shards().await?;
    let shards = rows.into_iter().map(|row| {
        let (owner, address) =
            row.owner.map(|owner| (owner.incarnation.to_string(), owner.address)).unwrap_or_default();
        proto::Shard {
            id: u32::from(row.shard.0),
            owner,
            address,
            epoch: row.epoch.0,
            lease_until: Some(timestamp(row.lease_until)),
            journal_head: row.journal_head,
            published_head: row.published_head,
            reply_cursor: row.reply_cursor,
            halted: row.halted.unwrap_or_default(),
            sagas: in_flight.get(usize::from(row.shard.0)).map_or(0, |sagas| *sagas as u64),
        }
    });
    Ok(proto::ListShardsResponse { shards: shards.collect() })
}

/// Says whether this engine can take sagas: its database answers, every shard has an owner, and it is not on its way
/// out. Whose shards they are does not matter: what reaches the wrong engine is passed on.
pub async fn ready(engine: &Engine) -> Result<(), ServiceError> {
    if engine.is_draining() {
        return Err(ServiceError::Unavailable("this engine is stopping".to_owned()));
    }
    let shards = engine.archive().shards().await?;
    // Those of an engine that is alone are its own, however short their leases are.
    let ownerless = shards.len() - engine.owned_shards();
    let ownerless = ownerless.min(shards.iter().filter(|row| row.free).count());
    if ownerless > 0 {
        return Err(ServiceError::Unavailable(format!("{ownerless} of {} shards have no owner yet", shards.len())));
    }
    Ok(())
}
