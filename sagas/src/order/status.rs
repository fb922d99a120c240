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
    /// The order is decided when its saga is past the pivot or all is undone, whether or not the customer knows yet.
    fn from(saga: &Saga) -> Self {
        match saga.status {
            Status::Completed => Self::Confirmed,
            Status::Compensated => Self::Cancelled,
            _ if saga.is_committed() => Self::Confirmed,
            _ if saga.is_undone() => Self::Cancelled,
            _ => Self::Pending,
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
