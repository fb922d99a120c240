//! `amends retry`

use amends_proto::amends::v1::RetrySagaRequest;
use clap::Args;

use crate::args::{Global, WriteArgs};
use crate::bulk::{self, Act, Selection};
use crate::client::Client;
use crate::error::CliError;
use crate::payload;

const ACT: Act = Act { verb: "retry", done: "told to try again", destructive: false };

/// Arguments of `amends retry`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  amends retry 3f2a91bc --step charge_payment --with @fixed.json --reason 'typo in the card'\n  \
                        amends retry --where status=parked,error=GATEWAY --yes\n\n\
                        With -o json it prints an array of sagas."
)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    selection: Selection,
    /// Only this step; without it every step that is parked or waits for its next attempt
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Another input for the step: JSON, @FILE, or - for standard input
    #[arg(long, requires = "step", value_name = "JSON")]
    with: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: RetryArgs) -> Result<(), CliError> {
    let input = payload::read_optional("--with", args.with.as_deref()).await?;
    let client = Client::connect(global).await?;
    bulk::run(global, &client, ACT, &args.selection, &args.write, async |id| {
        let doing = ACT.doing(&id);
        let request = RetrySagaRequest {
            id,
            reason: args.write.reason.clone(),
            step: args.step.clone().unwrap_or_default(),
            input: input.clone(),
        };
        client.call(&doing, client.sagas().retry_saga(client.request(request))).await
    })
    .await
}
