//! How sagas come (back) into memory: a shard is taken over, or something reaches a saga that was let go.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use amends_core::{Effect, Millis, Saga, SagaId, Shard, outstanding, react};

use super::lane::{LaneConfig, LaneInput};
use super::resident::{OwnedShard, Residents};
use crate::Definitions;
use crate::store::{Lease, SagaRow, StoreError, StoredSaga};

/// How long a claim holds: not at all beyond the process. The embedded store's file lock keeps other programs out while
/// this one lives, and the next one must not wait for a dead owner's lease. What an owner that lost its shards might
/// still write is fenced by the epoch.
const LEASE: Millis = Millis(0);

/// Journal rows read at a time while looking for domain events that may not have been published.
const REPLAY_PAGE: u32 = 1_000;

/// Claims shards and brings their unfinished sagas into memory: their commands are sent again, their timers run, and
/// domain events beyond the mark are published again.
pub(crate) async fn recover(
    residents: &mut Residents,
    config: &LaneConfig,
    shards: &[Shard],
) -> Result<(), StoreError> {
    let leases = config.leases.claim(&config.owner, shards, LEASE).await?;
    if leases.len() < shards.len() {
        tracing::warn!(wanted = shards.len(), got = leases.len(), "other owners hold some of the shards");
    }
    for lease in leases {
        let shard = lease.shard;
        residents.drop_shard(shard);
        let owned = OwnedShard::new(&lease, config.in_flight[usize::from(shard.0)].clone());
        let published = owned.published.clone();
        residents.own(shard, owned);
        let mut commands = Vec::new();
        for stored in config.store.recover(shard).await? {
            let Some(saga) = fold(&config.definitions, &stored) else { continue };
            commands.extend(outstanding(&saga).into_iter().filter_map(|effect| match effect {
                Effect::SendCommand(command) => Some(command),
                Effect::Publish(_) => None,
            }));
            residents.insert(saga);
        }
        if !commands.is_empty() {
            tracing::info!(%shard, commands = commands.len(), "recovered; outstanding commands are sent again");
        }
        publish_again(config, &lease, published).await?;
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

/// Publishes what was committed after the mark: it may have been published before, with the same ids.
async fn publish_again(config: &LaneConfig, lease: &Lease, published: Arc<AtomicI64>) -> Result<(), StoreError> {
    let mut sagas: HashMap<SagaId, (Saga, std::vec::IntoIter<amends_core::Transition>)> = HashMap::new();
    let mut position = lease.published_head;
    loop {
        let rows = config.store.journal_after(lease.shard, position, REPLAY_PAGE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        position = last.position;
        let mut events = Vec::new();
        for row in rows {
            let entry = match sagas.entry(row.saga_id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let stored = match config.archive.saga(row.saga_id).await {
                        Ok(Some(stored)) => stored,
                        Ok(None) => continue,
                        Err(StoreError::Corrupt(why)) => {
                            tracing::error!(saga = %row.saga_id, why, "its domain events cannot be published again");
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                    let SagaRow { saga_type, version, .. } = &stored.row;
                    let Some(definition) = config.definitions.get(saga_type, *version) else { continue };
                    new.insert((Saga::new(row.saga_id, definition.clone()), stored.journal.into_iter()))
                }
            };
            let (saga, rest) = entry;
            for transition in rest.by_ref() {
                saga.apply(&transition);
                if transition.seq < row.seq {
                    continue;
                }
                let effects = transition.events.iter().flat_map(|event| react(saga, event, transition.at));
                events.extend(effects.filter_map(|effect| match effect {
                    Effect::Publish(event) => Some(event),
                    Effect::SendCommand(_) => None,
                }));
                break;
            }
        }
        config.publish_queue.send(events, vec![(published.clone(), position)]).await;
    }
}
