//! What operators do to sagas. Whether a saga's state allows it is the core's to say.

use amends_core::{Event, Input, Operator, Rejected, SagaId, Status, StepName, decide};
use amends_proto::amends::v1 as proto;

use super::query::Loaded;
use super::view::{plan, plan_of_cancelled, status_from_proto};
use super::{ServiceError, field, query};
use crate::Engine;

/// Undoes a saga that is not past its pivot, or only says what that would do.
pub async fn cancel(
    engine: &Engine,
    request: &proto::CancelSagaRequest,
    who: &str,
) -> Result<proto::CancelSagaResponse, ServiceError> {
    let operator = operator(who, &request.reason)?;
    let id = query::resolve(engine, &request.id).await?;
    if !request.plan_only {
        let after = apply(engine, id, &request.id, Input::Cancel(operator)).await?;
        let plan = plan_of_cancelled(id, &after.definition, &after.stored.journal);
        return Ok(proto::CancelSagaResponse { saga: Some(after.view(engine.now())), plan });
    }
    let loaded = query::load_id(engine, id).await?.ok_or_else(|| query::not_found(&request.id))?;
    let saga = loaded.saga();
    let now = engine.now();
    let events = decide(&saga, &Input::Cancel(operator), now).map_err(refusal)?;
    debug_assert!(events.iter().any(|event| matches!(event, Event::CompensationStarted { .. })));
    Ok(proto::CancelSagaResponse { saga: Some(loaded.view(now)), plan: plan(&saga) })
}

/// Has parked steps, or those that wait for their next attempt, tried again now.
pub async fn retry(engine: &Engine, request: &proto::RetrySagaRequest, who: &str) -> Result<proto::Saga, ServiceError> {
    let operator = operator(who, &request.reason)?;
    let step = optional_step(&request.step)?;
    let input = match request.input.as_str() {
        "" => None,
        _ if step.is_none() => return Err(ServiceError::invalid("step", "is needed to say whose input this is")),
        text => Some(field::json("input", text)?),
    };
    operate(engine, &request.id, Input::Retry { operator, step, input }).await
}

/// Holds a saga's commands back.
pub async fn pause(engine: &Engine, request: &proto::PauseSagaRequest, who: &str) -> Result<proto::Saga, ServiceError> {
    let operator = operator(who, &request.reason)?;
    operate(engine, &request.id, Input::Pause(operator)).await
}

/// Lets a saga's commands go again.
pub async fn resume(
    engine: &Engine,
    request: &proto::ResumeSagaRequest,
    who: &str,
) -> Result<proto::Saga, ServiceError> {
    let operator = operator(who, &request.reason)?;
    operate(engine, &request.id, Input::Resume(operator)).await
}

/// Passes over a parked step.
pub async fn skip(engine: &Engine, request: &proto::SkipStepRequest, who: &str) -> Result<proto::Saga, ServiceError> {
    let operator = with_reason(operator(who, &request.reason)?)?;
    let step =
        optional_step(&request.step)?.ok_or_else(|| ServiceError::invalid("step", "says which; it is missing"))?;
    let result = match request.result.as_str() {
        "" => None,
        text => Some(field::json("result", text)?),
    };
    operate(engine, &request.id, Input::Skip { operator, step, result }).await
}

/// Declares a parked saga ended.
pub async fn resolve(
    engine: &Engine,
    request: &proto::ResolveSagaRequest,
    who: &str,
) -> Result<proto::Saga, ServiceError> {
    let operator = with_reason(operator(who, &request.reason)?)?;
    let status = proto::SagaStatus::try_from(request.status).ok().and_then(status_from_proto);
    let status = status.filter(|status: &Status| status.is_terminal());
    let status = status.ok_or_else(|| ServiceError::invalid("status", "must be COMPLETED or COMPENSATED"))?;
    operate(engine, &request.id, Input::Resolve { operator, status }).await
}

async fn operate(engine: &Engine, reference: &str, input: Input) -> Result<proto::Saga, ServiceError> {
    let id = query::resolve(engine, reference).await?;
    Ok(apply(engine, id, reference, input).await?.view(engine.now()))
}

/// Brings the input to the saga and reads what has become of it. The owner of a shard cannot tell a saga that has
/// ended from one that never was; the archive can.
async fn apply(engine: &Engine, id: SagaId, reference: &str, input: Input) -> Result<Loaded, ServiceError> {
    let verdict = engine.operate(id, input).await;
    if let Err(error) = &verdict
        && !matches!(error, ServiceError::NotAllowed(_))
    {
        return Err(error.clone());
    }
    let loaded = query::load_id(engine, id).await?.ok_or_else(|| query::not_found(reference))?;
    verdict.map(|()| loaded)
}

/// Says to a client why the core would not take an operator's input.
fn refusal(rejected: Rejected) -> ServiceError {
    match rejected {
        Rejected::UnknownStep(_) => ServiceError::invalid("step", rejected),
        _ => ServiceError::NotAllowed(rejected.to_string()),
    }
}

fn operator(who: &str, reason: &str) -> Result<Operator, ServiceError> {
    Ok(Operator { who: field::who("user", who)?, reason: field::text("reason", reason)? })
}

/// What is settled by hand is explained: nothing else in the journal would.
fn with_reason(operator: Operator) -> Result<Operator, ServiceError> {
    if operator.reason.trim().is_empty() {
        return Err(ServiceError::invalid("reason", "is needed here: it is all that explains a step settled by hand"));
    }
    Ok(operator)
}

fn optional_step(text: &str) -> Result<Option<StepName>, ServiceError> {
    if text.is_empty() { Ok(None) } else { field::step("step", text).map(Some) }
}
