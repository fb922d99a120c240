//! Tells participants of the domain events that they subscribe to.

use std::sync::Arc;
use std::time::Duration;

use amends_core::DomainEvent;
use amends_proto::amends::v1 as proto;
use amends_proto::amends::v1::participant_service_client::ParticipantServiceClient;
use async_trait::async_trait;
use tonic::Request;
use tonic::transport::Channel;

use super::link::{absence, is_absence};
use super::participant::Participant;
use super::{GrpcCourier, translate};
use crate::courier::{CourierError, Publisher};

/// Most events in one call, and their bytes, roughly: as with commands.
const CALL_EVENTS_MAX: usize = 256;
const CALL_BYTES_MAX: usize = 1024 * 1024;

/// How long a participant may take for one call.
const NOTIFY_MAX: Duration = Duration::from_secs(10);

/// A participant that may subscribe.
pub(super) struct Subscriber {
    participant: Arc<Participant>,
    /// Any of them will do.
    clients: Vec<ParticipantServiceClient<Channel>>,
}

impl Subscriber {
    pub(super) fn new(participant: Arc<Participant>, channels: impl Iterator<Item = Channel>) -> Self {
        Self { participant, clients: channels.map(ParticipantServiceClient::new).collect() }
    }

    /// Tells it what it wants to know, in order. `Ok` once it has taken all of that.
    async fn tell(&self, events: &[DomainEvent]) -> Result<(), CourierError> {
        let name = &self.participant.name;
        let mut wanted = Vec::new();
        for event in events {
            match self.participant.subscribes(&event.topic) {
                Some(true) => wanted.push(event),
                Some(false) => {}
                // It may want to know; nobody can tell before it is reached.
                None => return Err(CourierError::Unavailable(format!("{name} has not said which events it wants"))),
            }
        }
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() {
            let mut size = 0;
            let mut call = Vec::new();
            while let Some(event) = wanted.next_if(|event| {
                size += event.payload.as_str().len();
                call.is_empty() || call.len() < CALL_EVENTS_MAX && size <= CALL_BYTES_MAX
            }) {
                call.push(translate::event(event));
            }
            let told = self.call(call).await;
            told.map_err(|why| CourierError::Unavailable(format!("{name} did not take events: {why}")))?;
        }
        Ok(())
    }

    /// Tells one of its processes; the next, where nobody is there.
    async fn call(&self, events: Vec<proto::DomainEvent>) -> Result<(), String> {
        let mut why = String::new();
        for client in &self.clients {
            let mut request = Request::new(proto::NotifyRequest { events: events.clone() });
            request.set_timeout(NOTIFY_MAX);
            let Err(status) = client.clone().notify(request).await else { return Ok(()) };
            why = absence(&status);
            if !is_absence(&status) {
                break;
            }
        }
        Err(why)
    }
}

#[async_trait]
impl Publisher for GrpcCourier {
    /// Each subscriber is told in order, all at the same time. One that does not take its events is told again, and
    /// those that took theirs are, too; until then no later events are given to anybody.
    async fn publish(&self, events: &[DomainEvent]) -> Result<(), CourierError> {
        let told = self.subscribers.iter().map(|subscriber| subscriber.tell(events));
        futures::future::join_all(told).await.into_iter().collect()
    }
}
