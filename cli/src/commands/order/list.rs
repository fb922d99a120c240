//! `amends order list`

use amends_proto::orders::v1::{ListOrdersRequest, ListOrdersResponse};
use clap::Args;

use crate::args::{Global, OutputFormat, ReadArgs};
use crate::client::{Client, Doing};
use crate::error::CliError;
use crate::output::{Page, View, json, order};
use crate::watch;

/// Arguments of `amends order list`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends order list --user user_123 --limit 10")]
pub(super) struct ListArgs {
    /// Whose orders
    #[arg(long, value_name = "USER")]
    user: String,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000), value_name = "N")]
    limit: i32,
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub(super) async fn run(global: &Global, args: ListArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    let doing = Doing::read("order list", "list the orders");
    watch::run(&args.read, async || {
        let request = ListOrdersRequest { user_id: args.user.clone(), page_size: args.limit };
        draw(global, &client.call(&doing, client.orders().list_orders(client.request(request))).await?)
    })
    .await
}

fn draw(global: &Global, answer: &ListOrdersResponse) -> Result<Page, CliError> {
    Ok(match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => Page::data(json::page(answer, &answer.orders, global.output)?),
        OutputFormat::Id => Page::data(answer.orders.iter().map(|order| format!("{}\n", order.order_id)).collect()),
        _ => {
            let count = answer.orders.len();
            let footer = if count == 1 { "1 order".to_owned() } else { format!("{count} orders") };
            Page { data: order::render(&View::of(global), &answer.orders), footer }
        }
    })
}
