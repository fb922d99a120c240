//! Which sagas are meant: the flags of `list` and the `--where` of commands that act on many.

use std::str::FromStr;
use std::time::SystemTime;

use amends_proto::Timestamp;
use amends_proto::amends::v1::{ListSagasRequest, SagaStatus};
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};

/// The statuses as words of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusWord {
    /// On its way forward
    Running,
    /// Being undone
    Compensating,
    /// All steps done
    Completed,
    /// All undone
    Compensated,
    /// Waiting for an operator
    Parked,
}

impl StatusWord {
    const UNFINISHED: [Self; 3] = [Self::Running, Self::Compensating, Self::Parked];

    const fn proto(self) -> SagaStatus {
        match self {
            Self::Running => SagaStatus::Running,
            Self::Compensating => SagaStatus::Compensating,
            Self::Completed => SagaStatus::Completed,
            Self::Compensated => SagaStatus::Compensated,
            Self::Parked => SagaStatus::Parked,
        }
    }
}

/// A point in time: RFC 3339, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When(DateTime<Utc>);

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(time.to_utc()));
        }
        humantime::parse_duration(text)
            .ok()
            .and_then(|ago| SystemTime::now().checked_sub(ago))
            .map(|time| Self(time.into()))
            .ok_or_else(|| "write how long ago, e.g. 2h, or a time, e.g. 2026-01-31T12:00:00Z".to_owned())
    }
}

impl From<When> for Timestamp {
    fn from(when: When) -> Self {
        when.0.into()
    }
}

/// Which sagas; what is not given does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Filter {
    /// Only sagas in this status; may be given several times
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS")]
    pub(crate) status: Vec<StatusWord>,
    /// Only sagas of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) saga_type: Option<String>,
    /// Only sagas that stand at this step
    #[arg(long, value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// Only the saga with this idempotency key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Only sagas whose error has this in its code or message
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// Only sagas started since then, e.g. 2h or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<When>,
    /// Only sagas started until then
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<When>,
    /// Only sagas that wait for a next attempt
    #[arg(long)]
    pub(crate) retrying: bool,
    /// Only sagas that are parked, overdue, or have not moved for five minutes
    #[arg(long)]
    pub(crate) stuck: bool,
}

impl Filter {
    /// Reads the `--where` form: `status=parked,type=order,error=GATEWAY`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').map_or((part, None), |(name, value)| (name.trim(), Some(value.trim())));
            let given =
                || value.filter(|value| !value.is_empty()).map(str::to_owned).ok_or(format!("`{name}` needs a value"));
            match name {
                "status" => filter.status.push(status(&given()?)?),
                "type" => filter.saga_type = Some(given()?),
                "step" => filter.step = Some(given()?),
                "key" => filter.key = Some(given()?),
                "error" => filter.error = Some(given()?),
                "since" => filter.since = Some(given()?.parse()?),
                "until" => filter.until = Some(given()?.parse()?),
                "retrying" => filter.retrying = flag(value)?,
                "stuck" => filter.stuck = flag(value)?,
                _ => {
                    return Err(format!(
                        "`{name}` is not one of status, type, step, key, error, since, until, retrying, stuck"
                    ));
                }
            }
        }
        if filter == Self::default() {
            return Err("it chooses every saga; write e.g. status=parked,type=order".to_owned());
        }
        Ok(filter)
    }

    /// The first page of the sagas that are meant. Ended ones are left out unless a status or `all` asks for them.
    pub(crate) fn request(&self, all: bool, page_size: i32) -> ListSagasRequest {
        let statuses: &[StatusWord] = match (self.status.as_slice(), all) {
            ([], true) => &[],
            ([], false) => &StatusWord::UNFINISHED,
            (given, _) => given,
        };
        ListSagasRequest {
            page_size,
            page_token: String::new(),
            r#type: self.saga_type.clone().unwrap_or_default(),
            statuses: statuses.iter().map(|status| status.proto().into()).collect(),
            step: self.step.clone().unwrap_or_default(),
            idempotency_key: self.key.clone().unwrap_or_default(),
            error: self.error.clone().unwrap_or_default(),
            start_time_from: self.since.map(Into::into),
            start_time_until: self.until.map(Into::into),
            retrying: self.retrying,
            stuck: self.stuck,
        }
    }

    /// The flags that say the same, for the command line of the next page. Times are absolute, so that pages fit.
    pub(crate) fn flags(&self) -> String {
        let mut flags = String::new();
        for status in &self.status {
            let name = status.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            flags += &format!(" --status {name}");
        }
        let texts = [("type", &self.saga_type), ("step", &self.step), ("key", &self.key), ("error", &self.error)];
        for (name, value) in texts {
            if let Some(value) = value {
                flags += &format!(" --{name} {}", shell_word(value));
            }
        }
        for (name, value) in [("since", self.since), ("until", self.until)] {
            if let Some(When(time)) = value {
                flags += &format!(" --{name} {}", time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
            }
        }
        for (name, set) in [("retrying", self.retrying), ("stuck", self.stuck)] {
            if set {
                flags += &format!(" --{name}");
            }
        }
        flags
    }
}

/// Quotes a word where a shell would not take it as it stands.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn status(word: &str) -> Result<StatusWord, String> {
    StatusWord::from_str(word, true)
        .map_err(|_| format!("`{word}` is not one of running, compensating, completed, compensated, parked"))
}

fn flag(value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(format!("`{other}` is not true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_reads_the_filters_of_list() {
        let filter = Filter::parse("status=parked, status=running,type=order,step=charge_payment,error=GATE,stuck");
        let expected = Filter {
            status: vec![StatusWord::Parked, StatusWord::Running],
            saga_type: Some("order".to_owned()),
            step: Some("charge_payment".to_owned()),
            error: Some("GATE".to_owned()),
            stuck: true,
            ..Filter::default()
        };
        assert_eq!(filter, Ok(expected));
    }

    #[test]
    fn where_refuses_what_it_does_not_know() {
        for text in ["", "colour=red", "status=odd", "type=", "type", "since=yesterday", "stuck=maybe"] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ended_sagas_are_left_out_unless_asked_for() {
        let unfinished = [SagaStatus::Running as i32, SagaStatus::Compensating as i32, SagaStatus::Parked as i32];
        let filter = Filter::default();
        assert_eq!(filter.request(false, 0).statuses, unfinished);
        assert_eq!(filter.request(true, 0).statuses, [0; 0]);
        let parked = Filter { status: vec![StatusWord::Parked], ..filter };
        assert_eq!(parked.request(false, 0).statuses, [SagaStatus::Parked as i32]);
    }

    #[test]
    fn flags_repeat_the_filter() {
        let filter =
            Filter::parse("status=parked,error=no such card,since=2026-01-31T12:00:00Z,stuck").expect("a filter");
        assert_eq!(filter.flags(), " --status parked --error 'no such card' --since 2026-01-31T12:00:00.000Z --stuck");
    }
}
