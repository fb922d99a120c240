//! The order's id: its saga's, in the dress that clients see.

use std::fmt;
use std::str::FromStr;

use amends_core::SagaId;

const PREFIX: &str = "ord_";

/// Names an order: `ord_` and the 32 hexadecimal digits of its saga's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(SagaId);

/// The text is not an order's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an order id: {PREFIX} and 32 hexadecimal digits in lower case")]
pub struct InvalidOrderId;

impl OrderId {
    /// The saga that carries the order.
    pub const fn saga_id(self) -> SagaId {
        self.0
    }
}

impl From<SagaId> for OrderId {
    fn from(saga: SagaId) -> Self {
        Self(saga)
    }
}

impl FromStr for OrderId {
    type Err = InvalidOrderId;

    /// Accepts exactly what `Display` writes, so that an order has one name.
    fn from_str(text: &str) -> Result<Self, InvalidOrderId> {
        let digits = text.strip_prefix(PREFIX).ok_or(InvalidOrderId)?;
        if digits.len() != 32 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidOrderId);
        }
        digits.parse().map(Self).map_err(|_| InvalidOrderId)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0.as_uuid().simple())
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
