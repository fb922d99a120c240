//! How messages leave the house.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::message::Text;

/// The way a user is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// An e-mail.
    #[default]
    Email,
    /// A text message.
    Sms,
    /// A notification on a device.
    Push,
}

impl Medium {
    /// The word in tables and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Push => "push",
        }
    }
}

/// A message that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same for every attempt: lets a provider tell a copy.
    pub notification_id: String,
    /// Whom to tell.
    pub user_id: String,
    /// In which way.
    pub medium: Medium,
    /// What.
    pub text: Text,
}

/// The message could not be handed over at present.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undelivered(pub String);

/// Hands messages to whoever delivers them.
///
/// It is called inside the transaction that records the message, before it commits. So it must be quick, and must tell
/// copies by the message's id: after a crash the same message comes again.
#[async_trait]
pub trait Channel: Send + Sync + 'static {
    /// Hands one message over.
    async fn deliver(&self, message: &Message) -> Result<(), Undelivered>;
}

/// Delivers by writing to the log, at debug level and without the text: the row in the table is the message.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogChannel;

#[async_trait]
impl Channel for LogChannel {
    async fn deliver(&self, message: &Message) -> Result<(), Undelivered> {
        tracing::debug!(
            notification_id = message.notification_id,
            medium = message.medium.as_str(),
            subject = message.text.subject,
            "notification sent"
        );
        Ok(())
    }
}
