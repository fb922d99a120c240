//! `amends start`

use std::time::{Duration, Instant};

use amends_proto::amends::v1::{Saga, StartSagaRequest, StartSagaResponse};
use clap::Args;
use indicatif::ProgressBar;

use crate::args::{Global, OutputFormat, WriteArgs};
use crate::client::{Client, Doing};
use crate::error::{CliError, Exit};
use crate::filter::shell_word;
use crate::follow::left;
use crate::output::{json, terminal};
use crate::{follow, payload};

/// Arguments of `amends start`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends start order -d @order.json --key cart-42 --wait\n\n\
                        With --wait the program ends with 7 if the saga was undone and with 8 if it is parked.")]
pub(crate) struct StartArgs {
    /// The type of saga, see `amends types`
    #[arg(value_name = "TYPE")]
    saga_type: String,
    /// Its input: JSON, @FILE, or - for standard input
    #[arg(short, long, default_value = "{}", value_name = "JSON")]
    data: String,
    /// Makes it safe to start again: the same key never makes two sagas
    #[arg(long, default_value = "", hide_default_value = true, value_name = "KEY")]
    key: String,
    /// How long it may take until it is undone, instead of what its definition says
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    deadline: Option<Duration>,
    /// Wait until it has ended, then print its steps
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    write: WriteArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: StartArgs) -> Result<(), CliError> {
    let request = StartSagaRequest {
        r#type: args.saga_type.clone(),
        idempotency_key: args.key.clone(),
        input: payload::read("-d", &args.data).await?,
        deadline: args.deadline.map(proto_duration).transpose()?,
        wait: args.wait,
    };
    if args.write.dry_run {
        terminal::out(&json::one(&request, global.output)?)?;
        terminal::note("would start this saga; nothing was done");
        return Ok(());
    }
    let client = Client::connect(global).await?;
    let doing = Doing::write("start", format!("start a saga of type {}", args.saga_type)).among("amends types");
    let doing = if args.key.is_empty() { doing } else { doing.look(format!("amends show {}", handle(&args))) };
    let (spinner, began) = (args.wait.then(terminal::spinner), Instant::now());
    let answer = client.call(&doing, client.sagas().start_saga(client.request(request))).await;
    spinner.iter().for_each(ProgressBar::finish_and_clear);
    let answer = answer?;
    if answer.existed {
        terminal::note("it existed already: same type, key and input");
    }
    let saga = answer.saga.clone().unwrap_or_default();
    if args.wait { wait(global, &client, &saga, began).await } else { print(global, &answer, &saga) }
}

fn handle(args: &StartArgs) -> String {
    shell_word(&format!("{}/{}", args.saga_type, args.key))
}

fn print(global: &Global, answer: &StartSagaResponse, saga: &Saga) -> Result<(), CliError> {
    match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => terminal::out(&json::one(answer, global.output)?),
        _ => terminal::out(&format!("{}\n", saga.id)),
    }
}

async fn wait(global: &Global, client: &Client, saga: &Saga, began: Instant) -> Result<(), CliError> {
    // The engine waits as long as one call may take; only what takes longer is followed.
    let settled = match follow::is_settled(saga) {
        true => saga.clone(),
        false => follow::until_settled(client, &saga.id, "start", left(global, began)).await?,
    };
    terminal::out(&super::show::draw(global, &settled)?)?;
    follow::verdict(&settled)
}

fn proto_duration(duration: Duration) -> Result<amends_proto::Duration, CliError> {
    let seconds = i64::try_from(duration.as_secs())
        .map_err(|error| CliError::new(Exit::Usage, "--deadline is too far away").why(error).next("--deadline 15m"))?;
    Ok(amends_proto::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() })
}
