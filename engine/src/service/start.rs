//! Accepts a saga.

use amends_core::{IdempotencyKey, Payload, SagaId, SagaType, Status, Timestamp};

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct StartSaga {
    /// The type; its newest definition is pinned.
    pub saga_type: String,
    /// The client's key.
    pub key: Option<IdempotencyKey>,
    /// The id where there is no key: the caller makes it (see [`crate::Engine::new_saga_id`]) so that an input may contain it.
    pub id: SagaId,
    /// What the steps work on.
    pub input: Payload,
    /// How long it may take; overrides the definition's.
    pub deadline: Option<amends_core::Millis>,
}

impl StartSaga {
    /// The id that the saga gets: its key's, if there is one.
    pub fn saga_id(&self) -> SagaId {
        let saga_type = self.key.as_ref().and_then(|key| Some((key, SagaType::new(&self.saga_type).ok()?)));
        saga_type.map_or(self.id, |(key, saga_type)| SagaId::from_key(&saga_type, key))
    }
}

/// The answer, after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The saga.
    pub id: SagaId,
    /// It existed already: same type, key and input.
    pub existed: bool,
    /// Where it stands.
    pub status: Status,
    /// When it was accepted.
    pub started_at: Timestamp,
}
