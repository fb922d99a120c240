//! Subscribers: services that keep themselves up to date by domain events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use amends_core::DomainEvent;
use async_trait::async_trait;

use crate::context::EventContext;
use crate::database::{Database, DatabaseError, Transaction};
use crate::guard::{guard, now};
use crate::step::StepError;

/// Tries that one event has when its subscriber cannot take it, and the wait between them: well under the five seconds
/// that a poison record may hold up others.
const EVENT_TRIES: u32 = 5;
const EVENT_RETRY: Duration = Duration::from_millis(200);

/// Does something about domain events.
///
/// Events come at least once, those of one saga in order: doing the same again must change nothing.
#[async_trait]
pub trait Subscriber: Send + Sync {
    /// The topics it wants to see.
    fn topics(&self) -> &'static [&'static str];

    /// Takes one event. [`StepError::Refused`] rolls back what it has written for this event and passes the event
    /// over; [`StepError::TryAgain`] has the whole delivery repeated.
    async fn on_event(&self, cx: &mut EventContext<'_>, event: &DomainEvent) -> Result<(), StepError>;
}

/// The subscribers of one database.
#[derive(Clone)]
pub struct Subscriptions {
    database: Database,
    /// By topic.
    subscribers: Arc<HashMap<&'static str, Vec<Arc<dyn Subscriber>>>>,
}

/// A delivery changed nothing and is to be repeated as a whole.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A subscriber could not take an event now.
    #[error("an event of {topic} cannot be taken now: {why}")]
    TryAgain {
        /// The event's topic.
        topic: String,
        /// What the subscriber said.
        why: String,
    },
}

/// An event that a subscriber could not take, and that nobody will be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its place in what was to be delivered.
    pub index: usize,
    /// What the subscriber said.
    pub why: String,
}

impl Subscriptions {
    /// Brings subscribers together whose tables are in one database.
    pub fn new(database: Database, subscribers: Vec<Arc<dyn Subscriber>>) -> Self {
        let mut by_topic: HashMap<_, Vec<_>> = HashMap::new();
        for subscriber in subscribers {
            for topic in subscriber.topics() {
                by_topic.entry(*topic).or_default().push(Arc::clone(&subscriber));
            }
        }
        Self { database, subscribers: Arc::new(by_topic) }
    }

    /// The topics that its subscribers want, sorted.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.subscribers.keys().map(|topic| (*topic).to_owned()).collect();
        topics.sort();
        topics
    }

    /// Hands events to their subscribers as [`Self::deliver`] does. An event that a subscriber cannot take has some
    /// tries, about a second, and is then passed over: it must not hold up the events of all others (I35).
    ///
    /// Returns those, in order. On an error some events may have been delivered; deliver all of them again.
    pub async fn deliver_or_pass_over(&self, events: &[DomainEvent]) -> Result<Vec<PassedOver>, DatabaseError> {
        match self.deliver(events).await {
            Ok(()) => return Ok(Vec::new()),
            Err(DeliverError::TryAgain { .. }) => {}
            Err(DeliverError::Database(error)) => return Err(error),
        }
        let mut passed_over = Vec::new();
        for (index, event) in events.iter().enumerate() {
            if let Some(why) = self.deliver_patiently(event).await? {
                let (saga_id, topic) = (event.saga_id, &event.topic);
                tracing::error!(%saga_id, topic, why, "a subscriber cannot take an event; it goes on without it");
                passed_over.push(PassedOver { index, why });
            }
        }
        Ok(passed_over)
    }

    /// Gives one event its tries; says why if it has used them up.
    async fn deliver_patiently(&self, event: &DomainEvent) -> Result<Option<String>, DatabaseError> {
        let mut attempt = 1;
        loop {
            match self.deliver(std::slice::from_ref(event)).await {
                Ok(()) => return Ok(None),
                Err(DeliverError::Database(error)) => return Err(error),
                Err(DeliverError::TryAgain { why, .. }) if attempt == EVENT_TRIES => return Ok(Some(why)),
                Err(DeliverError::TryAgain { .. }) => tokio::time::sleep(EVENT_RETRY).await,
            }
            attempt += 1;
        }
    }

    /// Hands events to their subscribers, in the given order and in one transaction. Durable when it returns.
    pub async fn deliver(&self, events: &[DomainEvent]) -> Result<(), DeliverError> {
        let wanted = |event: &&DomainEvent| self.subscribers.contains_key(event.topic.as_str());
        let wanted: Vec<DomainEvent> = events.iter().filter(wanted).cloned().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let subscriptions = self.clone();
        let deliver = async move {
            let mut transaction = subscriptions.database.begin().await?;
            // Dropped on an error, it is rolled back.
            subscriptions.take(&mut transaction, &wanted, false).await?;
            if transaction.must_rerun() {
                transaction.restart().await?;
                subscriptions.take(&mut transaction, &wanted, true).await?;
            }
            Ok(transaction.commit().await?)
        };
        self.database.on_writer_thread(deliver).await
    }

    /// Hands events over, if need be (`careful`) so that each can be passed over alone.
    async fn take(
        &self,
        transaction: &mut Transaction,
        events: &[DomainEvent],
        careful: bool,
    ) -> Result<(), DeliverError> {
        let now = now();
        for event in events {
            for subscriber in self.subscribers.get(event.topic.as_str()).into_iter().flatten() {
                transaction.next_part(careful)?;
                let mut cx = EventContext::new(transaction, now);
                let taken = guard(&event.topic, event.saga_id, subscriber.on_event(&mut cx, event)).await;
                settle(transaction, event, taken).await?;
                if transaction.must_rerun() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

async fn settle(
    transaction: &mut Transaction,
    event: &DomainEvent,
    taken: Result<(), StepError>,
) -> Result<(), DeliverError> {
    if transaction.has_ended() {
        return Err(DatabaseError::Ended.into());
    }
    if transaction.is_aborted() {
        return Ok(());
    }
    match taken {
        Ok(()) => Ok(()),
        Err(StepError::Refused { code, message }) => {
            let (topic, saga_id) = (&event.topic, event.saga_id);
            tracing::warn!(%saga_id, topic, code, message, "a subscriber refused an event; it is passed over");
            Ok(transaction.undo_part().await?)
        }
        Err(StepError::TryAgain { message, .. }) => {
            Err(DeliverError::TryAgain { topic: event.topic.clone(), why: message })
        }
    }
}

#[cfg(test)]
mod tests;
