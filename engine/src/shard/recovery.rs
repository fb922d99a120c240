//! How sagas come (back) into memory: a shard is taken over, or something reaches a saga that was let go.

use amends_core::{Saga, SagaId, Shard};

use super::clocks::{again, wind_up};
use super::lane::{LaneConfig, LaneInput};
use super::now;
use super::resident::{OwnedShard, Residents};
use crate::Definitions;
use crate::store::{SagaRow, StoreError, StoredSaga};

/// Claims shards and brings their unfinished sagas into memory: their commands are sent again, their timers run, and
/// domain events beyond the mark are published again.
pub(crate) async fn recover(
    residents: &mut Residents,
    config: &LaneConfig,
    shards: &[Shard],
) -> Result<(), StoreError> {
    let leases = config.leases.claim(&config.owner, shards, config.ttl).await?;
    let mut claimed = Vec::with_capacity(leases.len());
    // All of them first: what the log of one brings for another need not be sent on.
    for lease in leases {
        residents.drop_shard(lease.shard);
        let owned = OwnedShard::new(&lease, config.in_flight[usize::from(lease.shard.0)].clone());
        let published = owned.published.clone();
        residents.own(lease.shard, owned);
        config.courier.assigned(&lease);
        claimed.push((lease, published));
    }
    for (lease, published) in claimed {
        let shard = lease.shard;
        let mut commands = Vec::new();
        for stored in config.store.recover(shard).await? {
            let Some(saga) = fold(&config.definitions, &stored) else { continue };
            let (id, sent_before) = (saga.id, commands.len());
            commands.extend(again(&saga, now()));
            residents.insert(saga);
            if commands.len() > sent_before {
                wind_up(residents, id, now());
            }
        }
        tracing::info!(%shard, epoch = lease.epoch.0, commands = commands.len(), "owned; outstanding commands are sent again");
        if lease.published_head < lease.journal_head {
            config.publish_queue.catch_up(&published);
        }
        config.dispatcher.send(commands).await;
    }
    Ok(())
}

/// What was read for a round.
#[derive(Default)]
pub(crate) struct Woken {
    /// Sagas that have ended or cannot be read: a repeated start is answered from their rows.
    pub(crate) known: Vec<SagaRow>,
    /// Sagas that came into memory; those that nothing came of leave it again.
    pub(crate) resident: Vec<SagaId>,
}

/// Loads the sagas that inputs need and that are not in memory, in one read.
pub(crate) async fn wake(
    residents: &mut Residents,
    config: &LaneConfig,
    inputs: &[LaneInput],
) -> Result<Woken, StoreError> {
    let mut wanted: Vec<SagaId> = Vec::new();
    for input in inputs {
        match input {
            LaneInput::Start(request, _) if request.key.is_some() => wanted.push(request.id),
            LaneInput::Operate(id, ..) => wanted.push(*id),
            LaneInput::Replies(replies) => wanted.extend(replies.iter().map(|reply| reply.saga_id)),
            LaneInput::Records(records) => wanted.extend(records.replies.iter().map(|(reply, _)| reply.saga_id)),
            LaneInput::Start(..) | LaneInput::Follow(..) => {}
        }
    }
    wanted.retain(|id| !residents.contains(*id) && residents.shards.contains_key(&residents.shard_of(*id)));
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return Ok(Woken::default());
    }
    let mut woken = Woken::default();
    for stored in config.store.load(&wanted).await? {
        let ended = stored.row.state.status.is_terminal();
        match fold(&config.definitions, &stored).filter(|_| !ended) {
            Some(saga) => {
                woken.resident.push(saga.id);
                residents.insert(saga);
            }
            None => woken.known.push(stored.row),
        }
    }
    Ok(woken)
}

/// Folds a journal. A saga that this program cannot read, or whose definition it does not have, stays as it is in the
/// store: nothing of it moves, and nothing of it is lost (I7).
fn fold(definitions: &Definitions, stored: &StoredSaga) -> Option<Saga> {
    let row = &stored.row;
    if let Some(why) = &stored.unreadable {
        tracing::error!(saga = %row.id, why, "a saga cannot be read; it stands still until a program can");
        return None;
    }
    let Some(definition) = definitions.get(&row.saga_type, row.version) else {
        tracing::error!(saga = %row.id, saga_type = %row.saga_type, version = row.version, "no such definition");
        return None;
    };
    Some(Saga::replay(row.id, definition.clone(), &stored.journal))
}
