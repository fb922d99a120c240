//! Publishes what the journal holds beyond the mark: after a take-over, and when a lane was ahead of the publisher.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use amends_core::{DomainEvent, Effect, Saga, SagaId, Transition, react};
use tokio_util::sync::CancellationToken;

use super::outbound::{Published, publish};
use crate::Definitions;
use crate::courier::Publisher;
use crate::store::{Archive, JournalRow, SagaRow, Store, StoreError};

/// Journal rows read at a time.
const PAGE: u32 = 1_000;

/// The wait after a read that failed.
const RETRY: Duration = Duration::from_millis(200);

/// Reads domain events from journals.
pub(crate) struct CatchUp {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) definitions: Definitions,
}

impl CatchUp {
    /// Publishes the events of a shard until its journal has no more, or the shard is another's. False if cancelled.
    pub(super) async fn run(
        &self,
        published: &Published,
        publisher: &dyn Publisher,
        cancel: &CancellationToken,
    ) -> bool {
        let mut last_look = false;
        while !published.is_over() {
            let (rows, events) = match self.page(published).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(shard = %published.shard, %error, "domain events cannot be read; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => continue,
                        () = cancel.cancelled() => return false,
                    }
                }
            };
            if !publish(publisher, &events, cancel).await {
                return false;
            }
            match rows.last() {
                Some(last) => published.reached(last.position),
                None if last_look => return true,
                None => {
                    // From here on the lane queues again; what it left out until now is seen by one more look.
                    published.caught_up();
                    last_look = true;
                }
            }
        }
        true
    }

    /// The next rows, and the events that follow from them.
    async fn page(&self, published: &Published) -> Result<(Vec<JournalRow>, Vec<DomainEvent>), StoreError> {
        let rows = self.store.journal_after(published.shard, published.head(), PAGE).await?;
        let mut ids: Vec<SagaId> = rows.iter().map(|row| row.saga_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut sagas = self.sagas(&ids).await?;
        let mut events = Vec::new();
        for row in &rows {
            let Some(replayed) = sagas.get_mut(&row.saga_id) else { continue };
            events.extend(replayed.events_of(row.seq));
        }
        Ok((rows, events))
    }

    async fn sagas(&self, ids: &[SagaId]) -> Result<HashMap<SagaId, Replayed>, StoreError> {
        let mut sagas = HashMap::with_capacity(ids.len());
        for stored in self.archive.sagas(ids).await? {
            let SagaRow { id, saga_type, version, .. } = &stored.row;
            if let Some(why) = &stored.unreadable {
                tracing::error!(saga = %id, why, "some of its domain events cannot be published");
            }
            let Some(definition) = self.definitions.get(saga_type, *version) else { continue };
            let saga = Saga::new(*id, definition.clone());
            sagas.insert(*id, Replayed { saga, rest: stored.journal.into_iter() });
        }
        Ok(sagas)
    }
}

/// A saga on its way through its journal once more.
struct Replayed {
    saga: Saga,
    rest: std::vec::IntoIter<Transition>,
}

impl Replayed {
    /// The events of one transition. Asked for in the order of the journal.
    fn events_of(&mut self, seq: u64) -> Vec<DomainEvent> {
        for transition in self.rest.by_ref() {
            self.saga.apply(&transition);
            if transition.seq < seq {
                continue;
            }
            let effects = transition.events.iter().flat_map(|event| react(&self.saga, event, transition.at));
            return effects
                .filter_map(|effect| match effect {
                    Effect::Publish(event) => Some(event),
                    Effect::SendCommand(_) => None,
                })
                .collect();
        }
        Vec::new()
    }
}
