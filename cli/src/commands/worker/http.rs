//! The worker's own HTTP: the reads of its participants, probes and metrics.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::counted::Counters;
use super::{Answerer, unknown};
use crate::error::CliError;

/// Asked for to see whether the database answers; no order has such a number.
const NO_ORDER: &str = "";

#[derive(Clone)]
struct Probe {
    answerer: Answerer,
    counters: Counters,
    stopping: CancellationToken,
}

pub(super) fn router(
    names: &[&'static str],
    answerer: &Answerer,
    counters: Counters,
    stopping: CancellationToken,
) -> Result<Router, CliError> {
    let probe = Probe { answerer: answerer.clone(), counters, stopping };
    let mut router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probe);
    if let Answerer::Full(database) = answerer {
        for name in names {
            router = router.merge(amends_participants::routes_for(name, database).map_err(unknown)?);
        }
    }
    Ok(router)
}

async fn ready(State(probe): State<Probe>) -> Response {
    let missing = if probe.stopping.is_cancelled() {
        Some("this worker is stopping".to_owned())
    } else {
        probe.database().await.err()
    };
    match missing {
        None => (StatusCode::OK, Json(json!({ "ready": true }))).into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "why": why }))).into_response(),
    }
}

impl Probe {
    async fn database(&self) -> Result<(), String> {
        let Answerer::Full(database) = &self.answerer else { return Ok(()) };
        let asked = amends_participants::get_order(database, NO_ORDER).await;
        asked.map(drop).map_err(|error| {
            tracing::warn!(%error, "the participants' database does not answer");
            "the database does not answer".to_owned()
        })
    }
}

async fn metrics(State(probe): State<Probe>) -> Response {
    match probe.counters.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
