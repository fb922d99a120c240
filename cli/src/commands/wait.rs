//! `amends wait`

use amends_proto::amends::v1::{Saga, SagaStatus};
use clap::{Args, ValueEnum};

use crate::args::{Global, OutputFormat};
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::follow;
use crate::output::{format, json, status, terminal};

/// Arguments of `amends wait`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends wait order/cart-42 --for completed --timeout 30s\n\n\
                        The program ends with 7 if the saga was undone, with 8 if it is parked, with 6 after --timeout.")]
pub(crate) struct WaitArgs {
    /// The saga: its id, an end of it, or TYPE/KEY
    #[arg(value_name = "ID")]
    id: String,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value_t, value_name = "END")]
    goal: Goal,
}

/// The ends that one can wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Goal {
    /// Any end
    #[default]
    Done,
    /// All steps done
    Completed,
    /// All undone; then the program ends with 0, and with 4 if the saga completed instead
    Compensated,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: WaitArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    let saga = follow::until_settled(&client, &args.id, "wait", global.timeout).await?;
    terminal::out(&match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => json::one(&saga, global.output)?,
        OutputFormat::Id => format!("{}\n", saga.id),
        _ => {
            let (word, tone) = status::of_saga(saga.status(), saga.paused);
            format!("{}\n", tone.paint(word))
        }
    })?;
    verdict(args.goal, &saga)
}

fn verdict(goal: Goal, saga: &Saga) -> Result<(), CliError> {
    match (goal, saga.status()) {
        (Goal::Compensated, SagaStatus::Compensated) => Ok(()),
        (Goal::Compensated, SagaStatus::Completed) => {
            Err(CliError::new(Exit::Refused, "the saga completed; it will not be compensated")
                .why(format::clean(&saga.why))
                .next(format!("amends show {}", format::short_id(&saga.id))))
        }
        _ => follow::verdict(saga),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_decides_which_end_is_a_success() {
        let code = |goal, status: SagaStatus| {
            let saga = Saga { status: status.into(), ..Saga::default() };
            verdict(goal, &saga).err().map_or(0, |error| error.exit().code())
        };
        assert_eq!(code(Goal::Done, SagaStatus::Completed), 0);
        assert_eq!(code(Goal::Done, SagaStatus::Compensated), 7);
        assert_eq!(code(Goal::Completed, SagaStatus::Compensated), 7);
        assert_eq!(code(Goal::Compensated, SagaStatus::Compensated), 0);
        assert_eq!(code(Goal::Compensated, SagaStatus::Completed), 4);
        assert_eq!(code(Goal::Compensated, SagaStatus::Parked), 8);
    }
}
