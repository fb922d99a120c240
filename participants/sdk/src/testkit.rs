//! Tests for participant authors, and for authors of definitions.
//!
//! [`check_step`] runs one step through every fault that the barrier promises to survive. [`SagaTest`] tells a saga's
//! story command by command, on the engine's own state machine.

mod scene;
#[cfg(feature = "postgres")]
mod scratch;
mod step;

pub use amends_core::testkit::SagaTest;
#[cfg(feature = "postgres")]
pub use scratch::scratch_postgres;
pub use step::{StepReport, check_step};
