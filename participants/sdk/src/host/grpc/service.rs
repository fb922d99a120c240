//! The calls.

use std::sync::Arc;
use std::time::Duration;

use amends_core::Command;
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::participant_service_server::ParticipantService;
use async_trait::async_trait;
use tokio::sync::oneshot;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::Instrument;

use super::Shared;
use super::convert::{self, InvalidField};
use crate::host::asked::Ask;

/// When to come back, said to callers that find no room.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The service in front of a participant.
pub(super) struct Participant(pub(super) Arc<Shared>);

/// A call that waits; its place is free when it ends, however it does.
struct Waiting<'s> {
    shared: &'s Shared,
    ask: Ask,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.asked.forget(self.ask);
    }
}

#[async_trait]
impl ParticipantService for Participant {
    async fn execute(&self, request: Request<proto::Command>) -> Result<Response<proto::Reply>, Status> {
        let (metadata, _, message) = request.into_parts();
        let command = convert::command(message).map_err(|invalid| refuse(&invalid))?;
        let trace = metadata.get("traceparent").and_then(|trace| trace.to_str().ok());
        let Command { saga_id, step, operation, attempt, .. } = &command;
        let span = tracing::debug_span!("command", %saga_id, %step, operation = operation.as_str(), attempt, trace);
        self.answer(command).instrument(span).await
    }

    async fn notify(&self, request: Request<proto::NotifyRequest>) -> Result<Response<proto::NotifyResponse>, Status> {
        let Some(subscriptions) = &self.0.served.subscriptions else {
            return Ok(Response::new(proto::NotifyResponse {}));
        };
        let mut events = Vec::new();
        for event in request.into_inner().events {
            let saga = event.saga_id.clone();
            match convert::event(event) {
                Ok(event) => events.push(event),
                // Nobody could ever take it, and it must not hold up the others.
                Err(why) => tracing::error!(saga, %why, "an event cannot be read; it goes on without it"),
            }
        }
        match subscriptions.deliver_or_pass_over(&events).await {
            Ok(_) => Ok(Response::new(proto::NotifyResponse {})),
            Err(error) => {
                tracing::warn!(%error, "events are not delivered");
                Err(come_again("the participant's database is not available"))
            }
        }
    }

    async fn describe(&self, _: Request<proto::DescribeRequest>) -> Result<Response<proto::DescribeResponse>, Status> {
        let served = &self.0.served;
        let topics = served.subscriptions.as_ref().map(crate::Subscriptions::topics).unwrap_or_default();
        Ok(Response::new(proto::DescribeResponse { commands: served.commands.clone(), topics }))
    }
}

impl Participant {
    pub(super) async fn answer(&self, command: Command) -> Result<Response<proto::Reply>, Status> {
        let shared = &*self.0;
        let Ok(_open) = shared.open.try_acquire() else { return Err(come_again("too many calls are open")) };
        let Some(commands) = shared.commands() else { return Err(come_again("the participant is stopping")) };
        let Ok(place) = commands.try_reserve() else {
            return Err(come_again("the participant has more commands than it can take"));
        };
        let (call, reply) = oneshot::channel();
        let _waiting = Waiting { shared, ask: shared.asked.ask(&command, call) };
        place.send(command);
        // Held any longer, it would keep a host that stops from seeing its last command.
        drop(commands);
        match reply.await {
            Ok(reply) => Ok(Response::new(convert::reply(reply))),
            Err(_) => Err(come_again("the participant has stopped")),
        }
    }
}

/// The outcome is unknown, or there is none: the same command may be sent again.
fn come_again(why: &str) -> Status {
    Status::with_error_details(Code::Unavailable, why, ErrorDetails::with_retry_info(Some(RETRY_AFTER)))
}

fn refuse(invalid: &InvalidField) -> Status {
    let details = ErrorDetails::with_bad_request_violation(invalid.field, &invalid.why);
    Status::with_error_details(Code::InvalidArgument, invalid.to_string(), details)
}
