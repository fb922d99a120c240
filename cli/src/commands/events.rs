//! `amends events`

use amends_proto::amends::v1::{JournalEvent, ListEventsRequest, ListEventsResponse};
use clap::Args;
use futures::StreamExt as _;

use crate::args::{Global, OutputFormat, ReadArgs};
use crate::client::{Client, Doing};
use crate::error::{CliError, Exit};
use crate::filter::shell_word;
use crate::output::{Page, View, events, json, terminal};
use crate::{follow, watch};

/// Events asked for at a time: the most that the engine gives.
const PAGE_SIZE: i32 = 1000;

/// Arguments of `amends events`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends events 3f2a91bc --step charge_payment --failed")]
pub(crate) struct EventsArgs {
    /// The saga: its id, an end of it, or TYPE/KEY
    #[arg(value_name = "ID")]
    id: String,
    /// Follow the journal until the saga has ended
    #[arg(short, long, conflicts_with = "watch")]
    follow: bool,
    /// Only events of this step
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Only events of this kind, e.g. step_refused
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only events that tell of something gone wrong
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    read: ReadArgs,
}

impl EventsArgs {
    fn wants(&self, event: &JournalEvent) -> bool {
        self.step.as_ref().is_none_or(|step| *step == event.step)
            && self.kind.as_ref().is_none_or(|kind| *kind == event.kind)
            && (!self.failed || events::is_failure(event))
    }
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: EventsArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    if !args.follow {
        return watch::run(&args.read, async || {
            let mut events = fetch(&client, &args.id, 0, "events").await?;
            events.retain(|event| args.wants(event));
            draw(global, events).map(Page::data)
        })
        .await;
    }
    let following = follow(global, &client, &args);
    match global.timeout {
        None => following.await,
        Some(limit) => tokio::time::timeout(limit, following).await.unwrap_or_else(|_| {
            Err(CliError::new(Exit::Unreachable, format!("saga {} has not ended yet; it goes on", args.id))
                .why("the time of --timeout is over")
                .next(format!("amends events {} -f", shell_word(&args.id))))
        }),
    }
}

/// All events of a saga beyond a journal row.
pub(super) async fn fetch(
    client: &Client,
    id: &str,
    after: u64,
    command: &'static str,
) -> Result<Vec<JournalEvent>, CliError> {
    let doing = Doing::read(command, format!("read the journal of saga {id}"));
    let mut request = ListEventsRequest { id: id.to_owned(), after_seq: after, page_size: PAGE_SIZE };
    let mut events: Vec<JournalEvent> = Vec::new();
    loop {
        let page = client.call(&doing, client.sagas().list_events(client.request(request.clone()))).await?.events;
        // Until a page is empty: only the engine knows how many it cares to give at a time.
        let Some(last) = page.last() else { return Ok(events) };
        request.after_seq = last.seq;
        events.extend(page);
    }
}

/// Prints events as they come. Every transition of the saga is the occasion to read on in its journal.
async fn follow(global: &Global, client: &Client, args: &EventsArgs) -> Result<(), CliError> {
    let mut sagas = follow::watch(client, &args.id, "events").await?;
    let mut seen = 0;
    while let Some(saga) = sagas.next().await {
        let events = fetch(client, &saga?.id, seen, "events").await?;
        seen = events.last().map_or(seen, |event| event.seq);
        for event in events.iter().filter(|event| args.wants(event)) {
            terminal::out(&line(global, event)?)?;
        }
    }
    Ok(())
}

fn line(global: &Global, event: &JournalEvent) -> Result<String, CliError> {
    match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => json::one(event, OutputFormat::Jsonl),
        OutputFormat::Id => Ok(format!("{}\n", event.seq)),
        _ => Ok(events::line(&View::of(global), event)),
    }
}

fn draw(global: &Global, events: Vec<JournalEvent>) -> Result<String, CliError> {
    match global.output {
        OutputFormat::Json => json::one(&ListEventsResponse { events }, global.output),
        OutputFormat::Jsonl => json::lines(events.iter()),
        OutputFormat::Id => Ok(events.iter().map(|event| format!("{}\n", event.seq)).collect()),
        _ => Ok(events::render(&View::of(global), &events)),
    }
}
