//! What follows from an input.
use crate::{Event, Input, Rejected, Saga, Timestamp};
/// Decides.
pub fn decide(_saga: &Saga, _input: &Input, _now: Timestamp) -> Result<Vec<Event>, Rejected> { Err(Rejected::Void) }
