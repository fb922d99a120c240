//! `amends resolve`

use amends_proto::amends::v1::{ResolveSagaRequest, SagaStatus};
use clap::{Args, ValueEnum};

use crate::args::{Global, WriteArgs};
use crate::client::{Client, Doing};
use crate::error::{CliError, Exit};
use crate::filter::shell_word;
use crate::output::terminal;
use crate::{confirm, follow};

/// Arguments of `amends resolve`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends resolve 3f2a91bc --as compensated --reason 'refunded by hand, ticket 4711'")]
pub(crate) struct ResolveArgs {
    /// The saga: its id, an end of it, or TYPE/KEY
    #[arg(value_name = "ID")]
    id: String,
    /// How it counts as ended
    #[arg(long = "as", value_enum, value_name = "END")]
    end: End,
    #[command(flatten)]
    write: WriteArgs,
}

/// The ends that an operator can declare.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum End {
    /// As if all steps were done
    Completed,
    /// As if all were undone
    Compensated,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: ResolveArgs) -> Result<(), CliError> {
    let ResolveArgs { id, end, write } = args;
    if write.reason.trim().is_empty() {
        return Err(CliError::new(Exit::Usage, "resolving a saga needs a reason")
            .why("nothing but your word says that its matters are settled; the journal keeps it")
            .next("the same with --reason TEXT"));
    }
    let (status, word) = match end {
        End::Completed => (SagaStatus::Completed, "completed"),
        End::Compensated => (SagaStatus::Compensated, "compensated"),
    };
    let client = Client::connect(global).await?;
    if write.dry_run {
        terminal::out(&super::show::draw(global, &follow::get(&client, &id, "resolve").await?)?)?;
        terminal::note(&format!("would declare it {word}; nothing was done"));
        return Ok(());
    }
    confirm::ask(&write, &format!("Declare saga {id} {word}? No command will be sent for it any more.")).await?;
    let doing = Doing::write("resolve", format!("resolve saga {id}")).look(format!("amends show {}", shell_word(&id)));
    let request = ResolveSagaRequest { id, reason: write.reason, status: status.into() };
    let saga = client.call(&doing, client.sagas().resolve_saga(client.request(request))).await?;
    terminal::out(&super::show::draw(global, &saga)?)
}
