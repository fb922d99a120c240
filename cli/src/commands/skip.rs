//! `amends skip`

use amends_proto::amends::v1::SkipStepRequest;
use clap::Args;

use crate::args::{Global, WriteArgs};
use crate::client::{Client, Doing};
use crate::error::CliError;
use crate::filter::shell_word;
use crate::output::terminal;
use crate::{confirm, follow, payload};

/// Arguments of `amends skip`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends skip 3f2a91bc --step send_notification --reason 'told by phone'")]
pub(crate) struct SkipArgs {
    /// The saga: its id, an end of it, or TYPE/KEY
    #[arg(value_name = "ID")]
    id: String,
    /// The parked step
    #[arg(long, value_name = "STEP")]
    step: String,
    /// What later steps see as its output: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    result: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: SkipArgs) -> Result<(), CliError> {
    let SkipArgs { id, step, result, write } = args;
    let result = payload::read_optional("--result", result.as_deref()).await?;
    let client = Client::connect(global).await?;
    if write.dry_run {
        terminal::out(&super::show::draw(global, &follow::get(&client, &id, "skip").await?)?)?;
        terminal::note(&format!("would pass over step {step}; nothing was done"));
        return Ok(());
    }
    confirm::ask(&write, &format!("Pass over step {step} of saga {id}?")).await?;
    let doing = Doing::write("skip", format!("pass over step {step} of saga {id}"))
        .look(format!("amends show {}", shell_word(&id)));
    let request = SkipStepRequest { id, reason: write.reason, step, result };
    let saga = client.call(&doing, client.sagas().skip_step(client.request(request))).await?;
    terminal::out(&super::show::draw(global, &saga)?)
}
