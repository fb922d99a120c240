//! What the real program says to what a container would tell it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::program::command;

type Environment = BTreeMap<String, String>;

/// What is wrong with the words of a command, if anything. Its help comes last: a command line that is good so far prints
/// it, one that is not is refused before.
pub(super) fn refused(words: &[String]) -> Option<String> {
    static SAID: OnceLock<Mutex<HashMap<Vec<String>, Option<String>>>> = OnceLock::new();
    let mut said = SAID.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    said.entry(words.to_vec()).or_insert_with(|| ask(words, &Environment::new()).err()).clone()
}

/// Whether the program knows a participant of that name.
pub(super) fn is_participant(name: &str) -> bool {
    refused(&["worker".to_owned(), name.to_owned()]).is_none()
}

/// The variables that the program takes its configuration from, of those given; or why it takes none.
pub(super) fn variables_read(environment: &Environment) -> Result<Vec<String>, String> {
    // In a folder without a configuration of its own.
    let folder = tempfile::tempdir().expect("a folder");
    let output = command()
        .args(["config", "show", "--output", "json"])
        .envs(environment)
        .current_dir(folder.path())
        .output()
        .expect("the program runs");
    if !output.status.success() {
        return Err(first_line(&output.stderr));
    }
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("a list of entries");
    let source = |entry: &serde_json::Value| entry["source"].as_str()?.strip_prefix("environment ").map(str::to_owned);
    Ok(entries.iter().filter_map(source).collect())
}

fn ask(words: &[String], environment: &Environment) -> Result<(), String> {
    let output = command().args(words).arg("--help").envs(environment).output().expect("the program runs");
    if output.status.success() { Ok(()) } else { Err(first_line(&output.stderr)) }
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("refused").trim().to_owned()
}
