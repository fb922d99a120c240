//! What a client hears about an order: less than the saga knows.

use std::fmt;

use amends_core::{Saga, Status};

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Not decided yet.
    Pending,
    /// It will be delivered; only the message to the customer may still be on its way.
    Confirmed,
    /// It will not be delivered, and nothing of it is left.
    Cancelled,
}

impl OrderStatus {
    /// Derives it from where the saga stands and whether its point of no return is behind.
    pub const fn of(status: Status, committed: bool) -> Self {
        match status {
            Status::Completed => Self::Confirmed,
            Status::Compensated => Self::Cancelled,
            _ if committed => Self::Confirmed,
            _ => Self::Pending,
        }
    }

    /// The word in APIs and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<&Saga> for OrderStatus {
    fn from(saga: &Saga) -> Self {
        Self::of(saga.status, saga.is_committed())
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
