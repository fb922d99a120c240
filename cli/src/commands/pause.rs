//! `amends pause`

use amends_proto::amends::v1::PauseSagaRequest;
use clap::Args;

use crate::args::{Global, WriteArgs};
use crate::bulk::{self, Act, Selection};
use crate::client::Client;
use crate::error::CliError;

const ACT: Act = Act { verb: "pause", done: "paused", destructive: false };

/// Arguments of `amends pause`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends pause --where type=order --reason 'the gateway is down' --yes\n\n\
                        With -o json it prints an array of sagas.")]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    write: WriteArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: PauseArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    bulk::run(global, &client, ACT, &args.selection, &args.write, async |id| {
        let doing = ACT.doing(&id);
        let request = PauseSagaRequest { id, reason: args.write.reason.clone() };
        client.call(&doing, client.sagas().pause_saga(client.request(request))).await
    })
    .await
}
