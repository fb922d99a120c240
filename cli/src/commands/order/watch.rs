//! `amends order watch`

use amends_proto::orders::v1::{Order, WatchOrderRequest};
use clap::Args;

use crate::args::{Global, OutputFormat};
use crate::client::{Client, Doing};
use crate::error::{CliError, Exit};
use crate::filter::shell_word;
use crate::output::{View, json, order, terminal};

/// Arguments of `amends order watch`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends order watch 0198c2f1-7f3a-7000-8000-00003f2a91bc -o jsonl")]
pub(super) struct WatchArgs {
    /// The order's id
    #[arg(value_name = "ORDER")]
    id: String,
}

/// Runs the command.
pub(super) async fn run(global: &Global, args: WatchArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    let following = follow(global, &client, &args.id);
    match global.timeout {
        None => following.await,
        Some(limit) => tokio::time::timeout(limit, following).await.unwrap_or_else(|_| {
            Err(CliError::new(Exit::Unreachable, format!("order {} is not settled yet; it goes on", args.id))
                .why("the time of --timeout is over")
                .next(format!("amends order watch {}", shell_word(&args.id))))
        }),
    }
}

/// Prints the order now and whenever it has changed.
async fn follow(global: &Global, client: &Client, id: &str) -> Result<(), CliError> {
    let doing = Doing::read("order watch", format!("follow order {id}")).among(super::SOME_LIST);
    let request = WatchOrderRequest { order_id: id.to_owned() };
    let mut stream = client.stream(&doing, client.orders().watch_order(request)).await?;
    let mut last: Option<Order> = None;
    while let Some(order) = stream.message().await.map_err(|status| doing.failed(&status))? {
        if last.as_ref() != Some(&order) {
            terminal::out(&draw(global, &order)?)?;
            last = Some(order);
        }
    }
    Ok(())
}

fn draw(global: &Global, order: &Order) -> Result<String, CliError> {
    match global.output {
        // A stream of values: each has its line.
        OutputFormat::Json | OutputFormat::Jsonl => json::one(order, OutputFormat::Jsonl),
        OutputFormat::Id => Ok(format!("{}\n", order.order_id)),
        _ => Ok(order::line(&View::of(global), order)),
    }
}
