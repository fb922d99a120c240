//! `amends cancel`

use amends_proto::amends::v1::{CancelSagaRequest, CancelSagaResponse};
use clap::Args;

use crate::args::{Global, OutputFormat, WriteArgs};
use crate::bulk::{self, Act, Selection};
use crate::client::Client;
use crate::error::CliError;
use crate::output::table::Table;
use crate::output::tone::Tone;
use crate::output::{View, format, json, terminal};

const ACT: Act = Act { verb: "cancel", done: "cancelled", destructive: true };

/// Arguments of `amends cancel`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends cancel 3f2a91bc --plan\n  \
                        amends cancel --where type=order,step=reserve_inventory --reason 'sold out' --yes\n\n\
                        With -o json it prints an array of answers, one per saga.")]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    selection: Selection,
    /// Print the exact compensations in their order, with what they would undo, and do nothing
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    write: WriteArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: CancelArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    if args.plan || args.write.dry_run {
        return plan(global, &client, &args).await;
    }
    bulk::run(global, &client, ACT, &args.selection, &args.write, async |id| cancel(&client, &args, id, false).await)
        .await
}

async fn cancel(
    client: &Client,
    args: &CancelArgs,
    id: String,
    plan_only: bool,
) -> Result<CancelSagaResponse, CliError> {
    let doing = ACT.doing(&id);
    let request = CancelSagaRequest { id, reason: args.write.reason.clone(), plan_only };
    client.call(&doing, client.sagas().cancel_saga(client.request(request))).await
}

async fn plan(global: &Global, client: &Client, args: &CancelArgs) -> Result<(), CliError> {
    let mut answers = Vec::new();
    for id in bulk::ids(client, ACT.verb, &args.selection).await? {
        answers.push(cancel(client, args, id, true).await?);
    }
    terminal::out(&match global.output {
        OutputFormat::Json => json::array(answers.iter())?,
        OutputFormat::Jsonl => json::lines(answers.iter())?,
        OutputFormat::Id => {
            answers.iter().filter_map(|answer| answer.saga.as_ref()).map(|saga| format!("{}\n", saga.id)).collect()
        }
        _ => {
            let view = View::of(global);
            answers.iter().map(|answer| draw(&view, answer)).collect::<Vec<_>>().join("\n")
        }
    })?;
    terminal::note("this is what cancelling would do; nothing was done");
    Ok(())
}

/// The saga and its compensations, numbered.
fn draw(view: &View, answer: &CancelSagaResponse) -> String {
    let saga = answer.saga.clone().unwrap_or_default();
    let title = Tone::Strong.paint(format!("{} {}", format::clean(&saga.r#type), view.id(&saga.id)));
    let mut table = Table::new(view, &["#", "STEP", "COMPENSATES", "PARTICIPANT", "OUTCOME", "WHAT IT DID"]);
    for (at, planned) in answer.plan.iter().enumerate() {
        table.row(vec![
            Tone::Faint.cell(at + 1),
            Tone::Strong.cell(format::clean(&planned.step)),
            Tone::Plain.cell(format::clean(&planned.command)),
            Tone::Plain.cell(format::clean(&planned.participant)),
            Tone::Plain.cell(format::clean(&planned.outcome)),
            Tone::Plain.cell(format::clean(&planned.output)),
        ]);
    }
    if table.is_empty() {
        return format!("{title}\nnothing to undo\n");
    }
    format!("{title}\n{}", table.render())
}

#[cfg(test)]
mod tests {
    use amends_proto::amends::v1::PlannedCompensation;

    use super::*;
    use crate::output::samples;

    #[test]
    fn plan_shows_order_and_amounts() {
        let planned = |step: &str, outcome: &str, output: &str| PlannedCompensation {
            step: step.to_owned(),
            command: "payment.charge".to_owned(),
            participant: "payment".to_owned(),
            outcome: outcome.to_owned(),
            output: output.to_owned(),
        };
        let plan =
            vec![planned("charge_payment", "confirmed", r#"{"amount":129999}"#), planned("charge_fee", "unknown", "")];
        let answer = CancelSagaResponse { saga: Some(samples::running()), plan };
        let text = anstream::adapter::strip_str(&draw(&samples::view(), &answer)).to_string();
        let expected = "\
order 3f2a91bc
#  STEP            COMPENSATES     PARTICIPANT  OUTCOME    WHAT IT DID
1  charge_payment  payment.charge  payment      confirmed  {\"amount\":129999}
2  charge_fee      payment.charge  payment      unknown
";
        assert_eq!(text, expected);
    }
}
