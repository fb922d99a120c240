//! `amends dlq`: what could not be processed or finished.

use amends_proto::amends::v1::{ListDeadLettersRequest, ListDeadLettersResponse};
use clap::{Args, Subcommand};

use crate::args::{Global, OutputFormat, ReadArgs};
use crate::client::{Client, Doing};
use crate::error::CliError;
use crate::filter::shell_word;
use crate::output::table::Table;
use crate::output::tone::Tone;
use crate::output::{Page, View, format, json};
use crate::watch;

/// Arguments of `amends dlq`.
#[derive(Debug, Args)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// List dead letters, newest first
    List(ListArgs),
}

/// Arguments of `amends dlq list`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends dlq list --step charge_payment --error REFUND_FAILED")]
struct ListArgs {
    /// Only those of this step
    #[arg(long, default_value = "", hide_default_value = true, value_name = "STEP")]
    step: String,
    /// Only those whose error has this in its code or message
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    error: String,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000), value_name = "N")]
    limit: i32,
    /// Where the page before ended
    #[arg(long, default_value = "", hide_default_value = true, value_name = "CURSOR")]
    cursor: String,
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: DlqArgs) -> Result<(), CliError> {
    let DlqCommand::List(args) = args.command;
    let client = Client::connect(global).await?;
    let doing = Doing::read("dlq list", "list the dead letters");
    watch::run(&args.read, async || {
        let request = ListDeadLettersRequest {
            page_size: args.limit,
            page_token: args.cursor.clone(),
            step: args.step.clone(),
            error: args.error.clone(),
        };
        draw(
            global,
            &args,
            &client.call(&doing, client.dead_letters().list_dead_letters(client.request(request))).await?,
        )
    })
    .await
}

fn draw(global: &Global, args: &ListArgs, page: &ListDeadLettersResponse) -> Result<Page, CliError> {
    Ok(match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => Page::data(json::page(page, &page.dead_letters, global.output)?),
        OutputFormat::Id => Page::data(page.dead_letters.iter().map(|letter| format!("{}\n", letter.id)).collect()),
        _ => Page { data: table(&View::of(global), page), footer: footer(args, page) },
    })
}

fn table(view: &View, page: &ListDeadLettersResponse) -> String {
    let mut table = Table::new(view, &["ID", "SAGA", "STEP", "OPERATION", "ATT", "AGE", "ERROR"]);
    for letter in &page.dead_letters {
        table.row(vec![
            Tone::Strong.cell(view.id(&letter.id)),
            Tone::Plain.cell(view.id(&letter.saga_id)),
            Tone::Plain.cell(format::clean(&letter.step)),
            Tone::Plain.cell(format::clean(&letter.operation)),
            Tone::Plain.cell(letter.attempts),
            Tone::Faint.cell(format::age(view, letter.time.as_ref())),
            Tone::Bad.cell(format::error(&letter.error_code, &letter.error_message)),
        ]);
    }
    table.render()
}

fn footer(args: &ListArgs, page: &ListDeadLettersResponse) -> String {
    let count = page.dead_letters.len();
    let mut text = if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") };
    if !page.next_page_token.is_empty() {
        text += " · next page: amends dlq list";
        for (name, value) in [("step", &args.step), ("error", &args.error), ("cursor", &page.next_page_token)] {
            if !value.is_empty() {
                text += &format!(" --{name} {}", shell_word(value));
            }
        }
    }
    text
}
