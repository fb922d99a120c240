//! `amends resume`

use amends_proto::amends::v1::ResumeSagaRequest;
use clap::Args;

use crate::args::{Global, WriteArgs};
use crate::bulk::{self, Act, Selection};
use crate::client::Client;
use crate::error::CliError;

const ACT: Act = Act { verb: "resume", done: "resumed", destructive: false };

/// Arguments of `amends resume`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends resume 3f2a91bc aa55c0de\n\n\
                        With -o json it prints an array of sagas.")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    write: WriteArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: ResumeArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    bulk::run(global, &client, ACT, &args.selection, &args.write, async |id| {
        let doing = ACT.doing(&id);
        let request = ResumeSagaRequest { id, reason: args.write.reason.clone() };
        client.call(&doing, client.sagas().resume_saga(client.request(request))).await
    })
    .await
}
