//! Follows one saga.

use std::time::Duration;

use amends_core::SagaId;
use amends_proto::amends::v1 as proto;
use futures::Stream;
use tokio::sync::watch;

use super::{ServiceError, query};
use crate::Engine;

/// How often a saga that is in no engine's memory here is looked at: only operators move those, and people can wait
/// that long.
const REVISIT: Duration = Duration::from_millis(500);

/// Sends the saga now and after every transition, and ends after its terminal state. Transitions that come faster than
/// they are taken are joined into one. Dropping the stream stops the watch.
pub async fn watch(
    engine: &Engine,
    reference: &str,
) -> Result<impl Stream<Item = Result<proto::Saga, ServiceError>> + Send + use<>, ServiceError> {
    let id = query::resolve(engine, reference).await?;
    // Subscribed before the first read: nothing is lost in between.
    let rows = engine.follow(id).await?;
    let saga = query::load_id(engine, id).await?.ok_or_else(|| query::not_found(reference))?.view(engine.now());
    let watch = Watch { engine: engine.clone(), id, rows, seen: saga.journal_rows, ended: has_ended(&saga) };
    let rest = futures::stream::unfold(watch, |mut watch| async move {
        let next = watch.next().await?;
        Some((next, watch))
    });
    Ok(futures::StreamExt::chain(futures::stream::iter([Ok(saga)]), rest))
}

struct Watch {
    engine: Engine,
    id: SagaId,
    /// `None` while the saga is in no memory here.
    rows: Option<watch::Receiver<u64>>,
    /// Journal rows that the client has seen.
    seen: u64,
    ended: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<proto::Saga, ServiceError>> {
        if self.ended {
            return None;
        }
        let next = self.moved().await;
        match &next {
            Ok(saga) => {
                self.seen = saga.journal_rows;
                self.ended = has_ended(saga);
            }
            Err(_) => self.ended = true,
        }
        Some(next)
    }

    /// Waits until the journal is longer than what the client has seen.
    async fn moved(&mut self) -> Result<proto::Saga, ServiceError> {
        loop {
            match &mut self.rows {
                Some(rows) => {
                    if rows.changed().await.is_err() {
                        self.rows = None;
                    }
                }
                None => {
                    tokio::time::sleep(REVISIT).await;
                    self.rows = self.engine.follow(self.id).await?;
                }
            }
            let loaded = query::load_id(&self.engine, self.id).await?;
            let loaded = loaded.ok_or_else(|| query::not_found(&self.id.to_string()))?;
            if loaded.stored.journal.last().is_some_and(|row| row.seq > self.seen) {
                return Ok(loaded.view(self.engine.now()));
            }
        }
    }
}

fn has_ended(saga: &proto::Saga) -> bool {
    matches!(saga.status(), proto::SagaStatus::Completed | proto::SagaStatus::Compensated)
}
