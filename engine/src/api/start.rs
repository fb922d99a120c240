//! Starts a saga for a client, over either protocol.

use std::time::Duration;

use amends_core::{Input, Saga, Transition, decide};
use amends_proto::amends::v1 as proto;

use crate::Engine;
use crate::service::start::{StartSaga, Started};
use crate::service::view::view;
use crate::service::{ServiceError, field, query, wait};

/// Accepts a saga and shows it; if it is to be waited for, as it is when it has settled or the wait is over.
pub(super) async fn start(
    engine: &Engine,
    request: &proto::StartSagaRequest,
    wait_max: Duration,
) -> Result<proto::StartSagaResponse, ServiceError> {
    let key = match request.idempotency_key.as_str() {
        "" => None,
        text => Some(field::key("idempotency_key", text)?),
    };
    let start = StartSaga {
        saga_type: field::saga_type("type", &request.r#type)?.to_string(),
        key,
        id: engine.new_saga_id(),
        input: field::json("input", &request.input)?,
        deadline: request.deadline.as_ref().map(|span| field::deadline("deadline", span)).transpose()?,
    };
    let seat = request.wait.then(|| engine.seat(start.saga_id()));
    let started = engine.start_saga(start.clone()).await?;
    let waited = seat.is_some();
    if let Some(seat) = seat {
        wait::until_settled(engine, seat, &started, wait_max).await;
    }
    let saga = match just_started(engine, &start, &started).filter(|_| !waited) {
        Some(saga) => saga,
        None => query::get(engine, &started.id.to_string()).await?,
    };
    Ok(proto::StartSagaResponse { saga: Some(saga), existed: started.existed })
}

/// The saga as its first journal row makes it, so that a start costs no read: the core would write the same row again.
/// `None` where this cannot be known without reading.
fn just_started(engine: &Engine, request: &StartSaga, started: &Started) -> Option<proto::Saga> {
    if started.existed || request.deadline.is_some() {
        return None;
    }
    let definition = engine.definitions().newest(&field::saga_type("type", &request.saga_type).ok()?)?;
    let input = Input::Start { key: request.key.clone(), input: request.input.clone(), deadline_at: None };
    let events = decide(&Saga::new(started.id, definition.clone()), &input, started.started_at).ok()?;
    let row = Transition { seq: 1, at: started.started_at, events };
    Some(view(started.id, definition, &[row], started.started_at))
}
