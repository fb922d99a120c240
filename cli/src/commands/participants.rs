//! `amends participants`

use amends_proto::amends::v1::{ListParticipantsRequest, ListParticipantsResponse};
use clap::Args;

use crate::args::{Global, OutputFormat, ReadArgs};
use crate::client::{Client, Doing};
use crate::error::CliError;
use crate::output::table::Table;
use crate::output::tone::Tone;
use crate::output::{Page, View, format, json};
use crate::watch;

/// Arguments of `amends participants`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends participants -o json")]
pub(crate) struct ParticipantsArgs {
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: ParticipantsArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    let doing = Doing::read("participants", "list the participants");
    watch::run(&args.read, async || {
        let request = client.request(ListParticipantsRequest {});
        draw(global, &client.call(&doing, client.cluster().list_participants(request)).await?).map(Page::data)
    })
    .await
}

fn draw(global: &Global, answer: &ListParticipantsResponse) -> Result<String, CliError> {
    match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => json::page(answer, &answer.participants, global.output),
        OutputFormat::Id => {
            Ok(answer.participants.iter().map(|participant| format!("{}\n", participant.name)).collect())
        }
        _ => {
            let mut table = Table::new(&View::of(global), &["PARTICIPANT", "COURIER", "COMMANDS"]);
            for participant in &answer.participants {
                table.row(vec![
                    Tone::Strong.cell(format::clean(&participant.name)),
                    Tone::Plain.cell(format::clean(&participant.courier)),
                    Tone::Plain.cell(format::clean(&participant.commands.join(", "))),
                ]);
            }
            Ok(table.render())
        }
    }
}
