//! From a gRPC status to a failure that a person can act on.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::error::{CliError, Exit};
use crate::output::format::clean;

/// What a call is for: the words for when it fails.
#[derive(Debug, Clone)]
pub(crate) struct Doing {
    what: String,
    /// The command line that is at work, without its arguments, e.g. `order submit`.
    command: &'static str,
    /// Shows the thing in question.
    look: Option<String>,
    /// Lists the things it could have been.
    among: &'static str,
    /// The call changes something, so no answer leaves open whether it has.
    writes: bool,
}

impl Doing {
    /// Reads something: `what` follows "cannot", e.g. `list the shards`.
    pub(crate) fn read(command: &'static str, what: impl Into<String>) -> Self {
        Self { what: what.into(), command, look: None, among: "amends list --all", writes: false }
    }

    /// Changes something.
    pub(crate) fn write(command: &'static str, what: impl Into<String>) -> Self {
        Self { writes: true, ..Self::read(command, what) }
    }

    /// Names the command that shows what it is about.
    pub(crate) fn look(mut self, look: impl Into<String>) -> Self {
        self.look = Some(look.into());
        self
    }

    /// Names the command that lists what there is.
    pub(crate) fn among(mut self, among: &'static str) -> Self {
        self.among = among;
        self
    }

    /// The engine has answered, with a failure.
    pub(crate) fn failed(&self, status: &Status) -> CliError {
        let exit = exit_for(status.code());
        let mut why = reasons(status);
        if exit == Exit::Unreachable && self.writes && status.code() != Code::ResourceExhausted {
            why.push_str("; whether it was done is unknown");
        }
        CliError::new(exit, format!("cannot {}", self.what)).why(why).next(self.next(exit))
    }

    /// The engine has not answered.
    pub(crate) fn timed_out(&self, limit: &str) -> CliError {
        let unknown = if self.writes { "; whether it was done is unknown" } else { "" };
        CliError::new(Exit::Unreachable, format!("cannot {}", self.what))
            .why(format!("no answer within {limit}{unknown}"))
            .next(self.next(Exit::Unreachable))
    }

    fn next(&self, exit: Exit) -> String {
        let look = || self.look.clone().unwrap_or_else(|| self.among.to_owned());
        match exit {
            Exit::Usage => format!("amends {} --help", self.command),
            Exit::NotFound => self.among.to_owned(),
            Exit::Refused => look(),
            Exit::Unreachable if self.writes => look(),
            Exit::Unreachable => format!("amends {} again, or with a longer --timeout", self.command),
            Exit::NotAllowed => "ask who runs this engine for the right to do it".to_owned(),
            _ => "amends version".to_owned(),
        }
    }
}

/// The exit code that says what a status means to a script.
fn exit_for(code: Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::NotFound => Exit::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Refused,
        Code::PermissionDenied | Code::Unauthenticated => Exit::NotAllowed,
        // Cancelled is how the transport says that the caller's deadline has passed.
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => Exit::Unreachable,
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => Exit::Other,
    }
}

/// The fields at fault if the engine names them, else its message; then its stable word, for looking it up.
fn reasons(status: &Status) -> String {
    let details = status.get_error_details();
    if let Some(request) = details.bad_request().filter(|request| !request.field_violations.is_empty()) {
        let lines =
            request.field_violations.iter().map(|at| format!("{}: {}", clean(&at.field), clean(&at.description)));
        return lines.collect::<Vec<_>>().join("\n");
    }
    let mut text = match (clean(status.message()), status.code()) {
        (message, Code::Unimplemented) => format!("this server does not know that call ({message})"),
        (message, code) if message.is_empty() => code.description().to_owned(),
        (message, _) => message,
    };
    if let Some(info) = details.error_info().filter(|info| !info.reason.is_empty()) {
        text = format!("{text} [{}]", clean(&info.reason));
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        text = format!("{text}; come back in {}", humantime::format_duration(delay));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn codes_map_to_exit_codes() {
        let codes = [
            (Code::InvalidArgument, 2),
            (Code::OutOfRange, 2),
            (Code::NotFound, 3),
            (Code::AlreadyExists, 4),
            (Code::FailedPrecondition, 4),
            (Code::Aborted, 4),
            (Code::PermissionDenied, 5),
            (Code::Unauthenticated, 5),
            (Code::Unavailable, 6),
            (Code::DeadlineExceeded, 6),
            (Code::ResourceExhausted, 6),
            (Code::Cancelled, 6),
            (Code::Internal, 1),
            (Code::Unknown, 1),
            (Code::DataLoss, 1),
            (Code::Unimplemented, 1),
        ];
        for (code, exit) in codes {
            assert_eq!(exit_for(code).code(), exit, "{code:?}");
        }
    }

    #[test]
    fn field_violations_are_named() {
        let mut details = ErrorDetails::with_bad_request_violation("items[0].quantity", "must be at least 1");
        details.add_bad_request_violation("currency", "XYZ is not a currency");
        let status = Status::with_error_details(Code::InvalidArgument, "2 fields are wrong", details);
        let error = Doing::write("order submit", "submit the order").failed(&status);
        assert_eq!(
            error.parts(),
            (
                "cannot submit the order",
                Some("items[0].quantity: must be at least 1\ncurrency: XYZ is not a currency"),
                Some("amends order submit --help"),
            )
        );
    }

    #[test]
    fn reason_and_retry_delay_are_told() {
        let mut details = ErrorDetails::with_error_info("OVERLOADED", "amends", [("shard".to_owned(), "3".to_owned())]);
        details.set_retry_info(Some(Duration::from_millis(250)));
        let status = Status::with_error_details(Code::ResourceExhausted, "too many sagas are under way", details);
        let error = Doing::write("start", "start the saga").failed(&status);
        assert_eq!(error.exit(), Exit::Unreachable);
        assert_eq!(error.parts().1, Some("too many sagas are under way [OVERLOADED]; come back in 250ms"));
    }

    #[test]
    fn a_refusal_points_at_the_saga() {
        let doing = Doing::write("cancel", "cancel saga 1234abcd").look("amends show 1234abcd");
        let error = doing.failed(&Status::failed_precondition("the saga is past its pivot"));
        assert_eq!(
            error.parts(),
            ("cannot cancel saga 1234abcd", Some("the saga is past its pivot"), Some("amends show 1234abcd"))
        );
    }

    #[test]
    fn an_unanswered_write_says_that_its_effect_is_unknown() {
        let error = Doing::write("start", "start the saga").timed_out("10s");
        assert_eq!(error.parts().1, Some("no answer within 10s; whether it was done is unknown"));
    }
}
