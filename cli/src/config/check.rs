//! Holds merged values against the table of keys.

use config::{Value, ValueKind};
use serde::Serialize;

use super::keys::{self, Fallback, KEYS, Key, Kind};
use super::layers::DEFAULT;
use super::secret::{HIDDEN, redact};
use crate::error::{CliError, Exit};

/// One value, fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// Its path, with a participant's name in it.
    pub(crate) key: String,
    /// The value without its secrets; `None` where it is not set.
    pub(crate) value: Option<String>,
    /// `default`, `file PATH`, `environment NAME` or `flag --NAME`.
    pub(crate) source: String,
}

/// Checks every value and lists all of them, those that are not set too.
pub(super) fn entries(merged: &Value) -> Result<Vec<Entry>, CliError> {
    let mut found = Vec::new();
    visit(String::new(), merged, &mut found)?;
    for key in KEYS.iter().filter(|key| !key.is_per_participant()) {
        if !found.iter().any(|entry: &Entry| entry.key == key.path) {
            let value = match key.default {
                Fallback::Found(how) => Some(how.to_owned()),
                _ => None,
            };
            found.push(Entry { key: key.path.to_owned(), value, source: DEFAULT.to_owned() });
        }
    }
    let place =
        |entry: &Entry| KEYS.iter().position(|key| keys::find(&entry.key).is_some_and(|own| own.path == key.path));
    // The keys of one participant stand together.
    found.sort_by_key(|entry| {
        let owner = keys::find(&entry.key).filter(|key| key.is_per_participant()).map(|_| participant(&entry.key));
        let first = KEYS.iter().position(Key::is_per_participant);
        (if owner.is_some() { first } else { place(entry) }, owner.unwrap_or_default().to_owned(), place(entry))
    });
    Ok(found)
}

/// The name in `participants.NAME.field`.
fn participant(path: &str) -> &str {
    path.strip_prefix("participants.").and_then(|rest| rest.rsplit_once('.')).map_or("", |(name, _)| name)
}

fn visit(path: String, value: &Value, found: &mut Vec<Entry>) -> Result<(), CliError> {
    match (keys::find(&path), &value.kind) {
        (Some(key), _) => found.push(entry(path, key, value)?),
        (None, ValueKind::Table(table)) => {
            let mut members: Vec<_> = table.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                visit(path, member, found)?;
            }
        }
        (None, _) => {
            let nearest = keys::nearest(&path);
            return Err(CliError::new(Exit::Usage, format!("{}: there is no key {path}", source(value)))
                .why(format!("the nearest is {nearest}"))
                .next(format!("amends config explain {nearest}")));
        }
    }
    Ok(())
}

fn entry(path: String, key: &Key, value: &Value) -> Result<Entry, CliError> {
    let shown = match shown(key.kind, value) {
        Some(shown) => shown,
        None => {
            let given = text(value).map(|text| redact(&text)).unwrap_or_else(|| "a table".to_owned());
            return Err(CliError::new(Exit::Usage, format!("{}: {path} cannot be {given}", source(value)))
                .why(format!("it must be: {}", key.kind.form()))
                .next(format!("amends config explain {path}")));
        }
    };
    let source = match &value.kind {
        // The table has no place of its own, its members have.
        ValueKind::Table(table) => table.values().next().map_or_else(|| DEFAULT.to_owned(), source),
        _ => source(value),
    };
    Ok(Entry { key: path, value: Some(shown), source })
}

/// The value as it may be shown; `None` if it is none of this kind.
fn shown(kind: Kind, value: &Value) -> Option<String> {
    if let Kind::Table = kind {
        let ValueKind::Table(table) = &value.kind else { return None };
        let mut names: Vec<_> = table.iter().map(|(name, member)| text(member).map(|_| name)).collect::<Option<_>>()?;
        names.sort_unstable();
        return Some(names.into_iter().map(|name| format!("{name}={HIDDEN}")).collect::<Vec<_>>().join(","));
    }
    let text = text(value)?;
    let good = match kind {
        Kind::Text => !text.trim().is_empty(),
        Kind::Address => is_address(&text),
        Kind::Url => is_url(&text),
        // Without TLS, which the gRPC courier does not speak.
        Kind::Urls => text.split(',').all(|url| is_url(url.trim()) && !url.trim().starts_with("https")),
        Kind::Database => is_database(&text),
        Kind::Whole(from, to) => text.parse::<i64>().is_ok_and(|number| (from..=to).contains(&number)),
        Kind::Duration => humantime::parse_duration(&text).is_ok_and(|span| !span.is_zero()),
        Kind::Choice(words) => words.contains(&text.as_str()),
        Kind::Table => false,
    };
    good.then(|| redact(&text))
}

/// A plain value as text.
fn text(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil => None,
        _ => value.clone().into_string().ok(),
    }
}

/// `HOST:PORT`; the host may be in brackets.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !host.contains(['/', ' ', '@']) && port.parse::<u16>().is_ok())
}

/// Whether it may be asked over HTTP.
fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}

/// Any other scheme than these is a mistake, not a path.
fn is_database(text: &str) -> bool {
    match text.split_once("://") {
        Some((scheme, rest)) => matches!(scheme, "postgres" | "postgresql") && !rest.is_empty(),
        None => !text.trim_start_matches("sqlite:").is_empty(),
    }
}

/// Where a value was set, in words.
fn source(value: &Value) -> String {
    match value.origin() {
        Some(DEFAULT) | None => DEFAULT.to_owned(),
        Some(ours) if ours.starts_with("environment ") || ours.starts_with("flag ") => ours.to_owned(),
        Some(file) => format!("file {file}"),
    }
}
