//! Failures as the user meets them: what happened, why, one command to try next, and the exit code.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::output::terminal;

/// How the program ends when not everything went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Whoever reads the output has gone; that is their right and no failure.
    OutputClosed,
    /// Anything that has no code of its own.
    Other,
    /// The request is wrong and will stay so.
    Usage,
    /// There is no such thing.
    NotFound,
    /// The state does not allow it, or it contradicts what is there.
    Refused,
    /// The caller may not do that.
    NotAllowed,
    /// No answer in time; safe to try again.
    Unreachable,
    /// The saga ended compensated.
    Compensated,
    /// The saga waits for an operator.
    Parked,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::NotAllowed => 5,
            Self::Unreachable => 6,
            Self::Compensated => 7,
            Self::Parked => 8,
            Self::Interrupted => 130,
        }
    }
}

/// A failure, ready to be printed.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    what: String,
    why: Option<Why>,
    next: Option<String>,
}

/// The cause, as a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Why(String);

impl CliError {
    /// Says what happened.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), why: None, next: None }
    }

    /// Adds why.
    pub(crate) fn why(mut self, why: impl ToString) -> Self {
        let why = why.to_string();
        self.why = (!why.is_empty()).then_some(Why(why));
        self
    }

    /// Adds what to try next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The user pressed Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted").why("what the server has accepted goes on").next("amends list")
    }

    /// How the program ends.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened, why, and what to try, each where it is known.
    pub(crate) fn parts(&self) -> (&str, Option<&str>, Option<&str>) {
        (&self.what, self.why.as_ref().map(|why| why.0.as_str()), self.next.as_deref())
    }

    /// Prints it to standard error.
    pub(crate) fn report(&self) {
        if self.exit != Exit::OutputClosed {
            terminal::note(&self.render());
        }
    }

    fn render(&self) -> String {
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode()).with_wrap_lines(false);
        let mut text = String::new();
        match handler.render_report(&mut text, self) {
            Ok(()) => text.trim_end().to_owned(),
            Err(fmt::Error) => self.what.clone(),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for CliError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.why.as_ref().map(|why| why as _)
    }
}

impl miette::Diagnostic for CliError {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.next.as_ref().map(|next| Box::new(next) as _)
    }
}

impl From<std::io::Error> for CliError {
    /// For writes to the program's own output.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::OutputClosed, "the reader of the output has gone");
        }
        Self::new(Exit::Other, "the output cannot be written")
            .why(error)
            .next("the same with the output to another place")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let all = [
            (Exit::OutputClosed, 0),
            (Exit::Other, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::Refused, 4),
            (Exit::NotAllowed, 5),
            (Exit::Unreachable, 6),
            (Exit::Compensated, 7),
            (Exit::Parked, 8),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn report_says_what_why_and_what_next() {
        let error = CliError::new(Exit::NotFound, "cannot show saga 1234abcd")
            .why("there is no saga 1234abcd")
            .next("amends list --all");
        assert_eq!(
            anstream::adapter::strip_str(&error.render()).to_string(),
            "  × cannot show saga 1234abcd\n  ╰─▶ there is no saga 1234abcd\n  help: amends list --all"
        );
    }

    #[test]
    fn broken_pipe_is_not_a_failure() {
        let error = CliError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit().code(), 0);
    }
}
