//! Who owns what, and the one loop that moves sagas.

mod catch_up;
mod clocks;
mod commit;
mod control;
mod intake;
mod lane;
mod lease;
mod outbound;
mod recovery;
mod resident;
mod round;
mod share;

pub(crate) use catch_up::CatchUp;
pub(crate) use control::{CONTROL_QUEUE, Control};
pub(crate) use lane::{Lane, LaneConfig, LaneInput, LaneQueues, StartRequest};
pub use lease::LEASE_MIN;
pub(crate) use lease::{Holdings, Keeper, orphaned_max};
pub(crate) use outbound::{Dispatcher, PublishQueue};
pub(crate) use resident::Residents;

use amends_core::Timestamp;

/// The wall clock. The core is told the time; this is where it is read.
pub(crate) fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
