//! `amends order`: the order domain.

mod get;
mod list;
mod submit;
mod watch;

use amends_proto::orders::v1::{GetOrderRequest, Order};
use clap::{Args, Subcommand};

use crate::args::{Global, OutputFormat};
use crate::client::{Client, Doing};
use crate::error::CliError;
use crate::output::{self, View, json};

/// What shows orders that there are, to somebody who named one that is not there.
const SOME_LIST: &str = "amends order list --user USER";

/// Arguments of `amends order`.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    #[command(subcommand)]
    command: OrderCommand,
}

#[derive(Debug, Subcommand)]
enum OrderCommand {
    /// Submit an order
    Submit(submit::SubmitArgs),
    /// Show an order
    Get(get::GetArgs),
    /// List orders, newest first
    List(list::ListArgs),
    /// Follow an order until its saga has ended
    Watch(watch::WatchArgs),
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: OrderArgs) -> Result<(), CliError> {
    match args.command {
        OrderCommand::Submit(args) => submit::run(global, args).await,
        OrderCommand::Get(args) => get::run(global, args).await,
        OrderCommand::List(args) => list::run(global, args).await,
        OrderCommand::Watch(args) => watch::run(global, args).await,
    }
}

/// Reads one order.
async fn fetch(client: &Client, order_id: &str, command: &'static str) -> Result<Order, CliError> {
    let doing = Doing::read(command, format!("show order {order_id}")).among(SOME_LIST);
    let request = GetOrderRequest { order_id: order_id.to_owned() };
    client.call(&doing, client.orders().get_order(client.request(request))).await
}

/// An order in the form that was asked for.
fn draw(global: &Global, order: &Order) -> Result<String, CliError> {
    Ok(match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => json::one(order, global.output)?,
        OutputFormat::Id => format!("{}\n", order.order_id),
        _ => output::order::render(&View::of(global), std::slice::from_ref(order)),
    })
}
