//! The two streams of the program and what they are connected to.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anstream::ColorChoice;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::When;
use crate::error::CliError;

/// Fast enough to look alive.
const SPINNER_TICK: Duration = Duration::from_millis(100);

/// Sets for both streams when colour is used. `Auto` asks the terminal and the environment (NO_COLOR, TERM).
pub(crate) fn choose_colour(when: When) {
    match when {
        When::Auto => ColorChoice::Auto,
        When::Always => ColorChoice::Always,
        When::Never => ColorChoice::Never,
    }
    .write_global();
}

/// Prints data.
pub(crate) fn out(text: &str) -> Result<(), CliError> {
    let mut stream = anstream::stdout().lock();
    stream.write_all(text.as_bytes())?;
    stream.flush()?;
    Ok(())
}

/// Prints a remark on a line of its own. That it cannot be printed is nothing to fail for.
pub(crate) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Prints a question and leaves the cursor behind it.
pub(crate) fn prompt(text: &str) {
    let mut stream = anstream::stderr().lock();
    let _ = write!(stream, "{text}").and_then(|()| stream.flush());
}

/// Empties the screen if there is one. Not through the colour filter, which would swallow it under `--color never`.
pub(crate) fn clear() -> Result<(), CliError> {
    let mut stream = std::io::stdout().lock();
    if stream.is_terminal() {
        stream.write_all(b"\x1b[H\x1b[2J\x1b[3J")?;
        stream.flush()?;
    }
    Ok(())
}

/// Whether data goes to a person.
pub(crate) fn is_interactive() -> bool {
    std::io::stdout().is_terminal()
}

/// Columns of the terminal, if data goes to one.
pub(crate) fn width() -> Option<u16> {
    comfy_table::Table::new().width()
}

/// A spinner on standard error; invisible where that is no terminal.
pub(crate) fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(SPINNER_TICK);
    spinner
}
