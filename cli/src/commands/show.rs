//! `amends show`

use amends_proto::amends::v1::{JournalEvent, Saga};
use clap::Args;
use futures::StreamExt as _;

use super::events;
use crate::args::{Global, OutputFormat, ReadArgs};
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::filter::shell_word;
use crate::output::saga::More;
use crate::output::{Page, View, graph, json, saga, terminal};
use crate::{follow, watch};

/// Arguments of `amends show`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends show 3f2a91bc --history --payloads\n  amends show order/cart-42 -f")]
pub(crate) struct ShowArgs {
    /// The saga: its id, an end of it, or TYPE/KEY
    #[arg(value_name = "ID")]
    id: String,
    /// The journal too
    #[arg(long)]
    history: bool,
    /// Input and outputs too
    #[arg(long)]
    payloads: bool,
    /// Follow it until it has ended
    #[arg(short, long, conflicts_with = "watch")]
    follow: bool,
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: ShowArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    if !args.follow {
        return watch::run(&args.read, async || {
            let saga = follow::get(&client, &args.id, "show").await?;
            page(global, &client, &args, &saga).await.map(Page::data)
        })
        .await;
    }
    let following = follow(global, &client, &args);
    match global.timeout {
        None => following.await,
        Some(limit) => tokio::time::timeout(limit, following).await.unwrap_or_else(|_| {
            Err(CliError::new(Exit::Unreachable, format!("saga {} has not ended yet; it goes on", args.id))
                .why("the time of --timeout is over")
                .next(format!("amends show {} -f", shell_word(&args.id))))
        }),
    }
}

/// A saga in the form that was asked for, without what only `show` has flags for.
pub(crate) fn draw(global: &Global, saga: &Saga) -> Result<String, CliError> {
    draw_more(global, saga, &More::default())
}

fn draw_more(global: &Global, saga: &Saga, more: &More<'_>) -> Result<String, CliError> {
    Ok(match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => json::one(saga, global.output)?,
        OutputFormat::Id => format!("{}\n", saga.id),
        OutputFormat::Mermaid => graph::saga_mermaid(saga),
        OutputFormat::Table | OutputFormat::Wide => saga::render(&View::of(global), saga, more),
    })
}

async fn page(global: &Global, client: &Client, args: &ShowArgs, saga: &Saga) -> Result<String, CliError> {
    let drawn_for_people = matches!(global.output, OutputFormat::Table | OutputFormat::Wide);
    let history: Option<Vec<JournalEvent>> =
        if args.history && drawn_for_people { Some(events::fetch(client, &saga.id, 0, "show").await?) } else { None };
    draw_more(global, saga, &More { payloads: args.payloads, history: history.as_deref() })
}

/// Draws the saga anew after every transition on a terminal; elsewhere prints the lines that have changed.
async fn follow(global: &Global, client: &Client, args: &ShowArgs) -> Result<(), CliError> {
    let mut sagas = follow::watch(client, &args.id, "show").await?;
    let mut before = String::new();
    while let Some(saga) = sagas.next().await {
        let saga = saga?;
        if matches!(global.output, OutputFormat::Json | OutputFormat::Jsonl) {
            // A stream of values: each has its line.
            terminal::out(&json::one(&saga, OutputFormat::Jsonl)?)?;
            continue;
        }
        let text = page(global, client, args, &saga).await?;
        if terminal::is_interactive() {
            terminal::clear()?;
            terminal::out(&text)?;
        } else {
            terminal::out(&changed(&before, &text))?;
        }
        before = text;
    }
    Ok(())
}

/// The lines of `text` that `before` does not have.
fn changed(before: &str, text: &str) -> String {
    let known: std::collections::HashSet<&str> = before.lines().collect();
    text.lines().filter(|line| !line.is_empty() && !known.contains(line)).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_lines_are_printed() {
        assert_eq!(changed("", "a\n\nb\n"), "a\nb\n");
        assert_eq!(changed("a\n\nb\n", "a\n\nc\n"), "c\n");
    }
}
