//! The output for programs: the API's messages as standard proto JSON.

use serde::Serialize;

use crate::args::OutputFormat;
use crate::error::{CliError, Exit};

/// One message: over several lines for `json`, on one line for `jsonl`.
pub(crate) fn one(message: &impl Serialize, format: OutputFormat) -> Result<String, CliError> {
    let text = match format {
        OutputFormat::Jsonl => serde_json::to_string(message),
        _ => serde_json::to_string_pretty(message),
    };
    text.map(|text| text + "\n").map_err(unwritable)
}

/// Several messages as one array.
pub(crate) fn array<'a, T: Serialize + 'a>(messages: impl Iterator<Item = &'a T>) -> Result<String, CliError> {
    let messages: Vec<&T> = messages.collect();
    serde_json::to_string_pretty(&messages).map(|text| text + "\n").map_err(unwritable)
}

/// Several messages, one a line.
pub(crate) fn lines<'a, T: Serialize + 'a>(messages: impl Iterator<Item = &'a T>) -> Result<String, CliError> {
    let mut text = String::new();
    for message in messages {
        text += &serde_json::to_string(message).map_err(unwritable)?;
        text.push('\n');
    }
    Ok(text)
}

/// A page of a list: the answer itself for `json`, its items one a line for `jsonl`.
pub(crate) fn page<'a, T: Serialize + 'a>(
    answer: &impl Serialize,
    items: impl IntoIterator<Item = &'a T>,
    format: OutputFormat,
) -> Result<String, CliError> {
    if format == OutputFormat::Jsonl { lines(items.into_iter()) } else { one(answer, format) }
}

fn unwritable(error: serde_json::Error) -> CliError {
    CliError::new(Exit::Other, "the answer cannot be written as JSON").why(error).next("the same with -o table")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    /// The contract of `show -o json`: members may be added, none may change.
    #[test]
    fn saga_json_is_stable() {
        let saga = samples::compensated();
        assert_eq!(one(&saga, OutputFormat::Json).expect("JSON"), include_str!("samples/compensated.json"));
        assert_eq!(one(&saga, OutputFormat::Jsonl).expect("JSON").lines().count(), 1);
    }
}
