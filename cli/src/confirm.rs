//! Asks before something is done that cannot be taken back.

use std::io::IsTerminal as _;

use crate::args::WriteArgs;
use crate::error::{CliError, Exit};
use crate::output::terminal;

/// Asks `question` on a terminal. Where nobody can answer, or with `--yes`, it counts as answered with yes.
pub(crate) async fn ask(write: &WriteArgs, question: &str) -> Result<(), CliError> {
    if write.yes || !can_ask() {
        return Ok(());
    }
    terminal::prompt(&format!("{question} [y/N] "));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    // No answer is a no.
    let answer = answer.await.map_err(std::io::Error::other).and_then(|line| line).unwrap_or_default();
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(CliError::new(Exit::Other, "nothing was done")
        .why("the question was not answered with yes")
        .next("the same with --yes"))
}

/// The same for sagas chosen by a filter: where nobody can answer, only `--yes` will do.
pub(crate) async fn ask_for_many(write: &WriteArgs, question: &str) -> Result<(), CliError> {
    if !write.yes && !can_ask() {
        return Err(CliError::new(Exit::Usage, "nothing was done")
            .why("--where chooses sagas unseen, and nobody is there to confirm them")
            .next("the same with --dry-run to see them, then with --yes"));
    }
    ask(write, question).await
}

fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}
