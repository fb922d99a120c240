//! What this program was built without.

#[cfg(not(all(feature = "kafka", feature = "postgres")))]
use crate::error::{CliError, Exit};

/// Kafka was asked for.
#[cfg(not(feature = "kafka"))]
pub(crate) fn without_kafka() -> CliError {
    without("Kafka", "kafka")
}

/// Postgres was asked for.
#[cfg(not(feature = "postgres"))]
pub(crate) fn without_postgres() -> CliError {
    without("Postgres", "postgres")
}

#[cfg(not(all(feature = "kafka", feature = "postgres")))]
fn without(what: &str, feature: &str) -> CliError {
    CliError::new(Exit::Usage, format!("this program was built without {what}"))
        .why(format!("its feature `{feature}` is off"))
        .next("cargo install --path cli")
}
