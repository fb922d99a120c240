//! `GET /v1/sagas/{id}:watch` as server-sent events.

use std::convert::Infallible;

use amends_proto::amends::v1 as proto;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream;

use crate::api::Api;
use crate::api::errors::Problem;
use crate::service::{ServiceError, watch};

/// Streams a saga: an event `saga` now and after every transition, then `end`, which tells a browser to close the
/// source instead of connecting again. A failure on the way comes as `problem`.
pub(super) async fn stream(api: &Api, reference: &str) -> Result<Response, Problem> {
    let sagas = watch::watch(&api.engine, reference).await?;
    let end = stream::iter([Event::default().event("end").data("{}")]);
    let events = sagas.map(event).chain(end).map(Ok::<_, Infallible>);
    let events = events.take_until(api.options.shutdown.clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

fn event(saga: Result<proto::Saga, ServiceError>) -> Event {
    let event = match saga {
        Ok(saga) => Event::default().event("saga").id(saga.journal_rows.to_string()).json_data(&saga),
        Err(error) => Event::default().event("problem").json_data(Problem::from(error).json()),
    };
    event.unwrap_or_else(|_| Event::default().event("problem").data("{}"))
}
