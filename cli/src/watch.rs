//! Runs a read once, or again every second.

use std::time::Duration;

use crate::args::ReadArgs;
use crate::error::{CliError, Exit};
use crate::output::Page;
use crate::output::terminal;

/// Often enough to look live, seldom enough to cost the engine nothing.
const INTERVAL: Duration = Duration::from_secs(1);

/// Prints what `fetch` gives; with `--watch` until the user stops it.
pub(crate) async fn run(read: &ReadArgs, fetch: impl AsyncFn() -> Result<Page, CliError>) -> Result<(), CliError> {
    let mut page = fetch().await?;
    if !read.watch {
        return page.print();
    }
    loop {
        terminal::clear()?;
        page.print()?;
        page = next(&fetch).await?;
    }
}

/// The next page. An engine that is away for a while (a restart, a new owner) does not end the watch.
async fn next(fetch: &impl AsyncFn() -> Result<Page, CliError>) -> Result<Page, CliError> {
    loop {
        tokio::time::sleep(INTERVAL).await;
        match fetch().await {
            Err(error) if error.exit() == Exit::Unreachable => error.report(),
            result => return result,
        }
    }
}
