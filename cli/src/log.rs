//! The log of the programs that run as services: on standard error, one line an entry.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::LogSettings;
use crate::error::{CliError, Exit};

/// Begins to log. Once per process.
pub(crate) fn init(settings: &LogSettings) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|error| {
        CliError::new(Exit::Usage, format!("log.level cannot be {}", settings.level))
            .why(error)
            .next("amends config explain log.level")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let log = log.with_ansi(std::io::stderr().is_terminal());
    // An error means that a test has begun to log already.
    let _ = match settings.format.as_str() {
        "text" => log.try_init(),
        _ => log.json().flatten_event(true).with_current_span(false).try_init(),
    };
    Ok(())
}

/// What the Kafka client says is repeated in the errors that commands end with.
const PLAIN: &str = "warn,librdkafka=off,rdkafka=off";

/// Warnings only, for commands that people wait for.
pub(crate) fn init_plain() {
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(PLAIN)).with_writer(std::io::stderr);
    let _ = log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init();
}
