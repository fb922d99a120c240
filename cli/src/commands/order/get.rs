//! `amends order get`

use clap::Args;

use crate::args::{Global, ReadArgs};
use crate::client::Client;
use crate::error::CliError;
use crate::output::Page;
use crate::watch;

/// Arguments of `amends order get`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends order get 0198c2f1-7f3a-7000-8000-00003f2a91bc -o json")]
pub(super) struct GetArgs {
    /// The order's id
    #[arg(value_name = "ORDER")]
    id: String,
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub(super) async fn run(global: &Global, args: GetArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    watch::run(&args.read, async || {
        let order = super::fetch(&client, &args.id, "order get").await?;
        super::draw(global, &order).map(Page::data)
    })
    .await
}
