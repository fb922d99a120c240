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
        _ => Ok(table(&View::of(global), answer)),
    }
}

fn table(view: &View, answer: &ListParticipantsResponse) -> String {
    let mut table = Table::new(view, &["PARTICIPANT", "COURIER", "TARGET", "COMMANDS", "HELD"]);
    for participant in &answer.participants {
        table.row(vec![
            Tone::Strong.cell(format::clean(&participant.name)),
            Tone::Plain.cell(format::clean(&participant.courier)),
            Tone::Plain.cell(format::clean(&participant.target)),
            Tone::Plain.cell(format::clean(&participant.commands.join(", "))),
            Tone::Bad.cell(format::clean(&participant.held)),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use amends_proto::amends::v1::Participant;

    use super::*;
    use crate::output::samples;

    #[test]
    fn one_whose_commands_are_held_says_why() {
        let participant = |name: &str, held: &str| Participant {
            name: name.to_owned(),
            courier: "grpc".to_owned(),
            commands: vec!["payment.charge".to_owned()],
            target: "http://10.0.0.7:7402".to_owned(),
            held: held.to_owned(),
        };
        let participants = vec![participant("payment", "nobody answers"), participant("other", "")];
        let text = table(&samples::view(), &ListParticipantsResponse { participants });
        let expected = "\
PARTICIPANT  COURIER  TARGET                COMMANDS        HELD
payment      grpc     http://10.0.0.7:7402  payment.charge  nobody answers
other        grpc     http://10.0.0.7:7402  payment.charge
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }
}
