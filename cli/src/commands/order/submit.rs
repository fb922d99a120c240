//! `amends order submit`

use std::time::Instant;

use amends_proto::orders::v1::{Order, SubmitOrderRequest};
use clap::Args;
use indicatif::ProgressBar;

use crate::args::{Global, OutputFormat, WriteArgs};
use crate::client::{Client, Doing};
use crate::error::{CliError, Exit};
use crate::filter::shell_word;
use crate::follow::left;
use crate::output::saga::More;
use crate::output::{View, format, json, saga, terminal};
use crate::{follow, order_body, payload};

const EXAMPLE: &str = r#"Example:
  amends order submit -d '{"user_id":"user_123","items":[{"product_id":"LAPTOP001","quantity":1,"price":1299.99}]}' --wait

With --wait the program ends with 7 if the order was cancelled and with 8 if its saga is parked."#;

/// The status of an order whose saga has not ended.
const PENDING: &str = "pending";

/// Arguments of `amends order submit`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct SubmitArgs {
    /// The order: JSON, @FILE, or - for standard input
    #[arg(short, long, value_name = "JSON")]
    data: String,
    /// Makes it safe to submit again: the same key never makes two orders
    #[arg(long, default_value = "", hide_default_value = true, value_name = "KEY")]
    key: String,
    /// Wait until its saga has ended, then print its steps
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    write: WriteArgs,
}

/// Runs the command.
pub(super) async fn run(global: &Global, args: SubmitArgs) -> Result<(), CliError> {
    let body = payload::read("-d", &args.data).await?;
    let request = order_body::parse(&body, &args.key).map_err(|error| {
        CliError::new(Exit::Usage, "the order cannot be submitted").why(error).next("amends order submit --help")
    })?;
    if args.write.dry_run {
        terminal::out(&json::one(&request, global.output)?)?;
        terminal::note("would submit this order; nothing was done");
        return Ok(());
    }
    let client = Client::connect(global).await?;
    let doing = Doing::write("order submit", "submit the order").look(look(&args.key, &request.user_id));
    let (spinner, began) = (args.wait.then(terminal::spinner), Instant::now());
    let request = SubmitOrderRequest { wait: args.wait, ..request };
    let order = client.call(&doing, client.orders().submit_order(client.request(request))).await;
    spinner.iter().for_each(ProgressBar::finish_and_clear);
    let order = order?;
    if args.wait {
        return wait(global, &client, &order, began).await;
    }
    terminal::out(&super::draw(global, &order)?)?;
    if terminal::is_interactive() && matches!(global.output, OutputFormat::Table | OutputFormat::Wide) {
        terminal::note(&format!("follow it with: amends order watch {}", shell_word(&order.order_id)));
    }
    Ok(())
}

/// What shows whether an unanswered order was taken.
fn look(key: &str, user_id: &str) -> String {
    if !key.is_empty() {
        return format!("the same again: --key {} never makes two orders", shell_word(key));
    }
    format!("amends order list --user {}, before submitting it again; with --key it would be safe", shell_word(user_id))
}

/// Follows the saga, then prints the order as it is by then.
async fn wait(global: &Global, client: &Client, submitted: &Order, began: Instant) -> Result<(), CliError> {
    // The engine waits as long as one call may take; only what takes longer is followed.
    let mut order = submitted.clone();
    let mut settled = follow::get(client, &submitted.saga_id, "order submit").await?;
    if !follow::is_settled(&settled) {
        settled = follow::until_settled(client, &submitted.saga_id, "order submit", left(global, began)).await?;
    }
    if order.status == PENDING {
        order = super::fetch(client, &submitted.order_id, "order submit").await?;
    }
    terminal::out(&super::draw(global, &order)?)?;
    if matches!(global.output, OutputFormat::Table | OutputFormat::Wide) {
        terminal::out(&format!("\n{}", saga::render(&View::of(global), &settled, &More::default())))?;
    }
    let verdict = follow::verdict(&settled);
    match verdict {
        Err(error) if error.exit() == Exit::Compensated => {
            let what = format!("order {} was cancelled", format::clean(&order.order_id));
            let reason = format::error(&order.reason_code, &order.reason);
            let why = if reason.is_empty() { format::clean(&settled.why) } else { reason };
            Err(CliError::new(Exit::Compensated, what)
                .why(why)
                .next(format!("amends show {} --history", format::short_id(&settled.id))))
        }
        verdict => verdict,
    }
}
