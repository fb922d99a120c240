//! Reads sagas: by reference, in lists, event by event. Sees what is committed, on any engine.

pub mod catalogue;
pub mod cluster;

use std::sync::Arc;

use amends_core::{Definition, Event, Saga, SagaId, Transition};
use amends_proto::amends::v1 as proto;

use super::ServiceError;
use super::field;
use super::view::{detail, status_from_proto, status_to_proto, timestamp, view};
use crate::Engine;
use crate::store::{DeadLetterFilter, SagaFilter, SagaRow, StoreError, StoredSaga};

/// How long an unfinished saga may stand still until it counts as stuck.
const STUCK_AFTER_MS: i64 = 5 * 60 * 1_000;

/// Hex digits of a whole id.
const ID_DIGITS: usize = 32;

/// A saga read back, with the definition that it pins.
pub struct Loaded {
    /// Its row and journal.
    pub stored: StoredSaga,
    /// What it pins.
    pub definition: Arc<Definition>,
}

/// Finds out which saga is meant: by its full id, `TYPE/KEY`, or a suffix of its id that no other recent or unfinished
/// saga has. A full id and a key are not looked up: the saga need not exist.
pub async fn resolve(engine: &Engine, reference: &str) -> Result<SagaId, ServiceError> {
    match Reference::parse(reference)? {
        Reference::Id(id) => Ok(id),
        Reference::Suffix(suffix) => match engine.archive().by_suffix(&suffix).await?.as_slice() {
            [] => Err(not_found(reference)),
            [id] => Ok(*id),
            [one, other, ..] => Err(ServiceError::invalid(
                "id",
                format!("{reference} is the end of more than one id: {one} and {other}; give more of it"),
            )),
        },
    }
}

/// Reads a saga with its whole journal.
pub async fn load(engine: &Engine, reference: &str) -> Result<Loaded, ServiceError> {
    let id = resolve(engine, reference).await?;
    load_id(engine, id).await?.ok_or_else(|| not_found(reference))
}

/// Reads a saga by its full id; `None` if there is none.
pub async fn load_id(engine: &Engine, id: SagaId) -> Result<Option<Loaded>, ServiceError> {
    let Some(stored) = engine.archive().saga(id).await? else { return Ok(None) };
    let (saga_type, version) = (&stored.row.saga_type, stored.row.version);
    let definition = engine.definitions().get(saga_type, version).cloned().ok_or_else(|| {
        ServiceError::Unavailable(format!(
            "this engine does not know {saga_type} version {version}, which the saga pins"
        ))
    })?;
    Ok(Some(Loaded { stored, definition }))
}

impl Loaded {
    /// The saga as its journal tells it.
    pub fn saga(&self) -> Saga {
        Saga::replay(self.stored.row.id, self.definition.clone(), &self.stored.journal)
    }

    /// The saga as clients see it.
    pub fn view(&self, now: amends_core::Timestamp) -> proto::Saga {
        view(self.stored.row.id, &self.definition, &self.stored.journal, now)
    }
}

/// Shows one saga.
pub async fn get(engine: &Engine, reference: &str) -> Result<proto::Saga, ServiceError> {
    Ok(load(engine, reference).await?.view(engine.now()))
}

/// Lists sagas, newest first.
pub async fn list(
    engine: &Engine,
    request: &proto::ListSagasRequest,
) -> Result<proto::ListSagasResponse, ServiceError> {
    let page = field::page(request.page_size, &request.page_token)?;
    let filter = filter(request, engine.now())?;
    let found = engine.archive().list(&filter, &page).await.map_err(broken_token)?;
    Ok(proto::ListSagasResponse {
        sagas: found.rows.into_iter().map(summary).collect(),
        next_page_token: found.next,
        total_size: found.total,
    })
}

fn filter(request: &proto::ListSagasRequest, now: amends_core::Timestamp) -> Result<SagaFilter, ServiceError> {
    let statuses = request.statuses.iter().enumerate().map(|(index, status)| {
        let status = proto::SagaStatus::try_from(*status).ok().and_then(status_from_proto);
        status.ok_or_else(|| {
            let words = "RUNNING, COMPENSATING, COMPLETED, COMPENSATED or PARKED";
            ServiceError::invalid(format!("statuses[{index}]"), format!("is not a status; use {words}"))
        })
    });
    let since = request.start_time_from.as_ref().map(|at| field::time("start_time_from", at)).transpose()?;
    let until = request.start_time_until.as_ref().map(|at| field::time("start_time_until", at)).transpose()?;
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(ServiceError::invalid("start_time_until", "is before start_time_from"));
    }
    Ok(SagaFilter {
        saga_type: given(&request.r#type, |text| Ok(field::saga_type("type", text)?.to_string()))?,
        statuses: statuses.collect::<Result<_, _>>()?,
        step: given(&request.step, |text| Ok(field::step("step", text)?.to_string()))?,
        key: given(&request.idempotency_key, |text| Ok(field::key("idempotency_key", text)?.to_string()))?,
        error: given(&request.error, |text| field::text("error", text))?,
        since,
        until,
        retrying: request.retrying,
        stuck_since: request.stuck.then(|| amends_core::Timestamp(now.0.saturating_sub(STUCK_AFTER_MS))),
    })
}

/// An empty text in a request means that nothing was asked for.
fn given(text: &str, read: impl FnOnce(&str) -> Result<String, ServiceError>) -> Result<Option<String>, ServiceError> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

fn summary(row: SagaRow) -> proto::SagaSummary {
    let state = row.state;
    proto::SagaSummary {
        id: row.id.to_string(),
        r#type: row.saga_type.to_string(),
        idempotency_key: row.key.map(|key| key.to_string()).unwrap_or_default(),
        status: status_to_proto(state.status).into(),
        paused: state.paused,
        step: state.step.map(|step| step.to_string()).unwrap_or_default(),
        attempt: state.attempt,
        start_time: Some(timestamp(row.started_at)),
        update_time: Some(timestamp(state.updated_at)),
        next_attempt_time: state.next_at.map(timestamp),
        error_code: state.error_code.unwrap_or_default(),
        error_message: state.error_message.unwrap_or_default(),
    }
}

/// Shows the journal of one saga, oldest first. A page size of 0 means all of it; the events of one transition are
/// never torn apart, so that the last `seq` is where the next page begins.
pub async fn events(
    engine: &Engine,
    request: &proto::ListEventsRequest,
) -> Result<proto::ListEventsResponse, ServiceError> {
    let size = field::page_size(request.page_size)?.map_or(usize::MAX, |size| size as usize);
    let loaded = load(engine, &request.id).await?;
    let mut events = Vec::new();
    for row in loaded.stored.journal.iter().filter(|row| row.seq > request.after_seq) {
        if !events.is_empty() && events.len() + row.events.len() > size {
            break;
        }
        events.extend(journal_events(&loaded.definition, row));
    }
    Ok(proto::ListEventsResponse { events })
}

/// The events of one journal row as clients see them.
pub fn journal_events<'a>(
    definition: &'a Definition,
    row: &'a Transition,
) -> impl Iterator<Item = proto::JournalEvent> + 'a {
    row.events.iter().map(move |event| proto::JournalEvent {
        seq: row.seq,
        time: Some(timestamp(row.at)),
        step: event.step().map(ToString::to_string).unwrap_or_default(),
        kind: event.kind().to_owned(),
        attempt: attempt(event),
        detail: detail(definition, event, row.at),
        data: serde_json::to_string(event).unwrap_or_default(),
    })
}

const fn attempt(event: &Event) -> u32 {
    match event {
        Event::StepStarted { attempt, .. }
        | Event::StepCompensationStarted { attempt, .. }
        | Event::StepTimedOut { attempt, .. }
        | Event::RetryScheduled { attempt, .. } => *attempt,
        _ => 0,
    }
}

/// Lists dead letters, newest first.
pub async fn dead_letters(
    engine: &Engine,
    request: &proto::ListDeadLettersRequest,
) -> Result<proto::ListDeadLettersResponse, ServiceError> {
    let page = field::page(request.page_size, &request.page_token)?;
    let filter = DeadLetterFilter {
        step: given(&request.step, |text| Ok(field::step("step", text)?.to_string()))?,
        error: given(&request.error, |text| field::text("error", text))?,
    };
    let found = engine.archive().dead_letters(&filter, &page).await.map_err(broken_token)?;
    let dead_letters = found.rows.into_iter().map(|letter| proto::DeadLetter {
        id: letter.id.to_string(),
        saga_id: letter.saga_id.map(|id| id.to_string()).unwrap_or_default(),
        step: letter.step.map(|step| step.to_string()).unwrap_or_default(),
        operation: letter.operation.map(|operation| operation.as_str().to_owned()).unwrap_or_default(),
        error_code: letter.error_code,
        error_message: letter.error_message,
        time: Some(timestamp(letter.at)),
        record: letter.record,
        attempts: letter.attempts,
    });
    Ok(proto::ListDeadLettersResponse { dead_letters: dead_letters.collect(), next_page_token: found.next })
}

/// On a list the only thing that can contradict what is stored is the page token.
fn broken_token(error: StoreError) -> ServiceError {
    match error {
        StoreError::Conflict(_) => ServiceError::invalid("page_token", "is not one that a page before this one gave"),
        other => other.into(),
    }
}

/// Says that there is no such saga, and where to look.
pub(crate) fn not_found(reference: &str) -> ServiceError {
    ServiceError::NotFound(format!("there is no saga {reference}; amends list --all shows what there is"))
}

/// How a request names a saga.
#[derive(Debug, PartialEq)]
enum Reference {
    Id(SagaId),
    /// Lower-case hex digits without hyphens.
    Suffix(String),
}

impl Reference {
    fn parse(text: &str) -> Result<Self, ServiceError> {
        if let Some((saga_type, key)) = text.split_once('/') {
            let saga_type = field::saga_type("id", saga_type)?;
            return Ok(Self::Id(SagaId::from_key(&saga_type, &field::key("id", key)?)));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        let hex = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        if !hex || digits.len() >= ID_DIGITS {
            let shapes = "give a full id, TYPE/KEY, or the last digits of an id";
            return Err(ServiceError::invalid("id", format!("does not name a saga; {shapes}")));
        }
        Ok(Self::Suffix(digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saga_is_named_by_id_key_or_suffix() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        assert_eq!(Reference::parse(id).unwrap(), Reference::Id(id.parse().unwrap()));
        assert_eq!(Reference::parse(&id.replace('-', "")).unwrap(), Reference::Id(id.parse().unwrap()));
        assert_eq!(Reference::parse("26F8-ad91").unwrap(), Reference::Suffix("26f8ad91".into()));
        let keyed = SagaId::from_key(&field::saga_type("", "order").unwrap(), &field::key("", "a/b").unwrap());
        assert_eq!(Reference::parse("order/a/b").unwrap(), Reference::Id(keyed));
        for wrong in ["", "-", "order", "order/", "/k", "xyz", &"a".repeat(33)] {
            assert!(matches!(Reference::parse(wrong), Err(ServiceError::Invalid { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_filter_is_checked_field_by_field() {
        let now = amends_core::Timestamp(1_000_000);
        let at = |seconds| Some(amends_proto::Timestamp { seconds, nanos: 0 });
        let base = proto::ListSagasRequest::default();
        let wrong = [
            (proto::ListSagasRequest { statuses: vec![1, 0], ..base.clone() }, "statuses[1]"),
            (proto::ListSagasRequest { statuses: vec![77], ..base.clone() }, "statuses[0]"),
            (proto::ListSagasRequest { r#type: "Or der".into(), ..base.clone() }, "type"),
            (proto::ListSagasRequest { step: "a b".into(), ..base.clone() }, "step"),
            (
                proto::ListSagasRequest { start_time_from: at(9), start_time_until: at(8), ..base.clone() },
                "start_time_until",
            ),
        ];
        for (request, at_fault) in wrong {
            match filter(&request, now) {
                Err(ServiceError::Invalid { field, .. }) => assert_eq!(field, at_fault),
                other => panic!("{other:?}"),
            }
        }
        let stuck = filter(&proto::ListSagasRequest { stuck: true, ..base }, now).unwrap();
        assert_eq!(stuck.stuck_since, Some(amends_core::Timestamp(700_000)));
    }
}
