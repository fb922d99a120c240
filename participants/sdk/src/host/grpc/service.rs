//! The single calls.

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

use super::convert::{self, InvalidField};
use super::intake::{Caller, Shared, span};

/// When to come back, said to callers that find no room.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The services in front of a participant.
#[derive(Clone)]
pub(super) struct Participant(pub(super) Arc<Shared>);

#[async_trait]
impl ParticipantService for Participant {
    async fn execute(&self, request: Request<proto::Command>) -> Result<Response<proto::Reply>, Status> {
        let (metadata, _, message) = request.into_parts();
        let command = convert::command(message).map_err(|invalid| refuse(&invalid))?;
        let trace = metadata.get("traceparent").and_then(|trace| trace.to_str().ok());
        let span = span(&command, trace);
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
                Err(away())
            }
        }
    }

    /// A host that takes no commands does not answer: who asks would bring it some next.
    async fn describe(&self, _: Request<proto::DescribeRequest>) -> Result<Response<proto::DescribeResponse>, Status> {
        self.0.commands()?;
        let served = &self.0.served;
        let topics = served.subscriptions.as_ref().map(crate::Subscriptions::topics).unwrap_or_default();
        Ok(Response::new(proto::DescribeResponse { commands: served.commands.clone(), topics }))
    }
}

impl Participant {
    pub(super) async fn answer(&self, command: Command) -> Result<Response<proto::Reply>, Status> {
        let shared = &self.0;
        let Ok(place) = Arc::clone(&shared.open).try_acquire_owned() else {
            return Err(come_again("too many calls are open"));
        };
        let Ok(queued) = shared.commands()?.try_reserve_owned() else {
            return Err(come_again("the participant has more commands than it can take"));
        };
        let (call, reply) = oneshot::channel();
        let _waiting = shared.enter(command, Caller::Call(call), place, queued);
        tokio::select! {
            biased;
            reply = reply => match reply {
                Ok(reply) => Ok(Response::new(convert::reply(reply))),
                Err(_) => Err(come_again("the participant has stopped")),
            },
            () = shared.away() => Err(away()),
        }
    }
}

/// The outcome is unknown, or there is none: the same command may be sent again.
fn come_again(why: &str) -> Status {
    Status::with_error_details(Code::Unavailable, why, ErrorDetails::with_retry_info(Some(RETRY_AFTER)))
}

pub(super) fn stopping() -> Status {
    come_again("the participant is stopping")
}

pub(super) fn away() -> Status {
    come_again("the participant's database is not available")
}

fn refuse(invalid: &InvalidField) -> Status {
    let details = ErrorDetails::with_bad_request_violation(invalid.field, &invalid.why);
    Status::with_error_details(Code::InvalidArgument, invalid.to_string(), details)
}
