//! Payloads from the command line: JSON as it stands, `@file`, or `-` for standard input.

use serde_json::value::RawValue;

use crate::error::{CliError, Exit};

/// Reads the payload that `flag` names. The text stays as it is: every digit counts.
pub(crate) async fn read(flag: &str, given: &str) -> Result<String, CliError> {
    let (source, text) = fetch(flag, given).await?;
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(value) => Ok(value.get().to_owned()),
        Err(error) => Err(not_json(&source, &error, flag)),
    }
}

/// Reads a payload that need not be given.
pub(crate) async fn read_optional(flag: &str, given: Option<&str>) -> Result<String, CliError> {
    match given {
        Some(given) => read(flag, given).await,
        None => Ok(String::new()),
    }
}

/// The text that is meant and what to call it.
async fn fetch(flag: &str, given: &str) -> Result<(String, String), CliError> {
    if given == "-" {
        // On a thread of its own: a terminal may keep the read waiting for ever, and Ctrl-C must still work.
        let read = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await;
        let text = read.map_err(std::io::Error::other).and_then(|text| text);
        return text
            .map(|text| ("standard input".to_owned(), text))
            .map_err(|error| unreadable("standard input", &error, flag));
    }
    if let Some(path) = given.strip_prefix('@') {
        return match tokio::fs::read_to_string(path).await {
            Ok(text) => Ok((path.to_owned(), text)),
            Err(error) => Err(unreadable(path, &error, flag)),
        };
    }
    Ok((flag.to_owned(), given.to_owned()))
}

fn unreadable(source: &str, error: &std::io::Error, flag: &str) -> CliError {
    CliError::new(Exit::Usage, format!("{source} cannot be read"))
        .why(error)
        .next(format!("{flag} @FILE with a file that is there, or {flag} - for standard input"))
}

fn not_json(source: &str, error: &serde_json::Error, flag: &str) -> CliError {
    CliError::new(Exit::Usage, format!("{source} is not JSON"))
        .why(error)
        .next(format!("{flag} '{{\"name\":\"value\"}}', {flag} @FILE or {flag} -"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn text_is_kept_to_the_digit() {
        let text = read("-d", r#" {"price": 1299.9900000000000000001, "n": 1e400} "#).await;
        assert_eq!(text.ok().as_deref(), Some(r#"{"price": 1299.9900000000000000001, "n": 1e400}"#));
    }

    #[tokio::test]
    async fn file_is_read() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "[1, 2]\n").expect("written");
        assert_eq!(read("-d", &format!("@{}", file.path().display())).await.ok().as_deref(), Some("[1, 2]"));
    }

    #[tokio::test]
    async fn wrong_payloads_are_usage_errors() {
        for given in ["{", "@no-such-file.json", "{} {}"] {
            assert_eq!(read("-d", given).await.err().map(|error| error.exit()), Some(Exit::Usage), "{given}");
        }
    }
}
