//! `amends list`

use amends_proto::amends::v1::{ListSagasRequest, ListSagasResponse};
use clap::Args;

use crate::args::{Global, OutputFormat, ReadArgs};
use crate::client::{Client, Doing};
use crate::error::CliError;
use crate::filter::Filter;
use crate::output::{Page, View, json, list};
use crate::watch;

/// How many sagas a page has unless told otherwise: a screenful.
const PAGE_SIZE: i32 = 50;

/// Arguments of `amends list`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends list --status parked --type order --error GATEWAY --since 2h")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// Ended sagas too
    #[arg(long, conflicts_with = "status")]
    all: bool,
    /// How many at most
    #[arg(long, default_value_t = PAGE_SIZE, value_parser = clap::value_parser!(i32).range(1..=1000), value_name = "N")]
    limit: i32,
    /// Where the page before ended
    #[arg(long, default_value = "", hide_default_value = true, value_name = "CURSOR")]
    cursor: String,
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: ListArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    let doing = Doing::read("list", "list the sagas");
    watch::run(&args.read, async || {
        let request = ListSagasRequest { page_token: args.cursor.clone(), ..args.filter.request(args.all, args.limit) };
        draw(global, &args, &client.call(&doing, client.sagas().list_sagas(client.request(request))).await?)
    })
    .await
}

fn draw(global: &Global, args: &ListArgs, page: &ListSagasResponse) -> Result<Page, CliError> {
    Ok(match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => Page::data(json::page(page, &page.sagas, global.output)?),
        OutputFormat::Id => Page::data(page.sagas.iter().map(|saga| format!("{}\n", saga.id)).collect()),
        _ => Page {
            data: list::render(&View::of(global), &page.sagas),
            footer: list::footer(page, &args.command_line(), !args.all && args.filter.status.is_empty()),
        },
    })
}

impl ListArgs {
    /// The command line that lists the same, without a cursor.
    fn command_line(&self) -> String {
        let all = if self.all { " --all" } else { "" };
        let limit = if self.limit == PAGE_SIZE { String::new() } else { format!(" --limit {}", self.limit) };
        format!("amends list{}{all}{limit}", self.filter.flags())
    }
}
