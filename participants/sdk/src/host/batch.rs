//! One batch of commands: one transaction, one answer each.

use std::time::Duration;

use amends_core::{Command, Failure, Operation, Outcome, Payload, Reply, Timestamp};

use super::Host;
use super::delivery::Answered;
use super::erased::AnyStep;
use crate::barrier::table::{self, Record, Stored};
use crate::barrier::{Answer, Mark, Verdict, judge};
use crate::context::StepContext;
use crate::database::{DatabaseError, Transaction};
use crate::guard::{guard, now};
use crate::step::StepError;

/// No step of this host answers to the command.
pub const UNKNOWN_COMMAND: &str = "UNKNOWN_COMMAND";

/// A batch that has run and is not committed.
pub(crate) struct Prepared<'c> {
    transaction: Transaction,
    now: Timestamp,
    records: Vec<Record<'c>>,
    answered: Vec<Answered>,
}

impl Prepared<'_> {
    /// Commits; only then may the answers leave.
    async fn commit(mut self) -> Result<Vec<Answered>, DatabaseError> {
        self.transaction.end_parts()?;
        for record in &self.records {
            table::store(&mut self.transaction, record, self.now)?;
        }
        self.transaction.commit().await?;
        Ok(self.answered)
    }
}

/// How a command ends within the batch.
struct Settled {
    outcome: Outcome,
    hold: Option<Duration>,
}

impl From<Outcome> for Settled {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, hold: None }
    }
}

impl Host {
    /// Runs the commands, which must concern different steps, and commits. Answers all of them, in their order.
    pub(crate) async fn process(&self, commands: &[Command]) -> Vec<Answered> {
        let committed = async { self.prepare(commands).await?.commit().await };
        committed.await.unwrap_or_else(|error: DatabaseError| {
            tracing::error!(%error, commands = commands.len(), "a batch was not committed; its commands are to come again");
            let failed = |command| answer(command, StepError::try_again(&error).into_outcome().into());
            commands.iter().map(failed).collect()
        })
    }

    /// Runs the commands, but does not commit.
    pub(crate) async fn prepare<'c>(&self, commands: &'c [Command]) -> Result<Prepared<'c>, DatabaseError> {
        let transaction = self.database.begin().await?;
        let (records, answered) = (Vec::with_capacity(commands.len()), Vec::with_capacity(commands.len()));
        let mut prepared = Prepared { transaction, now: now(), records, answered };
        for command in commands {
            prepared.transaction.next_part()?;
            let stored = table::load(&mut prepared.transaction, command)?;
            let settled = self.settle(&mut prepared, command, stored).await?;
            if prepared.transaction.has_ended() {
                return Err(DatabaseError::Ended);
            }
            prepared.answered.push(answer(command, settled));
        }
        Ok(prepared)
    }

    async fn settle<'c>(
        &self,
        prepared: &mut Prepared<'c>,
        command: &'c Command,
        stored: Stored,
    ) -> Result<Settled, DatabaseError> {
        let Prepared { transaction, now, records, .. } = prepared;
        let Some(step) = self.steps.get(command.command.as_str()) else {
            let message = format!("no step answers to {:?} here", command.command);
            return Ok(Outcome::Refused(Failure::new(UNKNOWN_COMMAND, message)).into());
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(why) => {
                tracing::error!(saga_id = %command.saga_id, step = %command.step, why, "a barrier row is not readable");
                return Ok(StepError::try_again("what is stored about the step is not readable").into_outcome().into());
            }
        };
        let digest = command.payload.digest();
        let mut own = |answer: Answer| {
            records.push(Record { command, mark: Mark::Own { digest, answer: answer.clone() } });
            Outcome::from(answer)
        };
        let mut cx = StepContext::new(transaction, command, *now);
        let result = match judge(command, digest, &stored) {
            Verdict::Answer(answer) => return Ok(Outcome::from(answer).into()),
            Verdict::Entomb => {
                let outcome = own(Answer::Done(Payload::null()));
                records.push(Record { command, mark: Mark::Tombstone });
                return Ok(outcome.into());
            }
            Verdict::Execute => guard(&command.command, command.saga_id, step.execute(&mut cx, &command.payload)).await,
            Verdict::Undo(outputs) => {
                guard(&command.command, command.saga_id, undo(step.as_ref(), &mut cx, command, &outputs)).await
            }
        };
        let hold = cx.hold();
        let outcome = match result {
            Ok(output) => own(Answer::Done(output)),
            Err(error) => {
                transaction.undo_part()?;
                match error.into_outcome() {
                    // A compensation has no business refusal to remember: an operator will have it tried again.
                    Outcome::Refused(failure) if command.operation == Operation::Execute => {
                        own(Answer::Refused(failure))
                    }
                    outcome => outcome,
                }
            }
        };
        Ok(Settled { outcome, hold })
    }
}

async fn undo(
    step: &dyn AnyStep,
    cx: &mut StepContext<'_>,
    command: &Command,
    outputs: &[Payload],
) -> Result<Payload, StepError> {
    for output in outputs {
        step.compensate(cx, &command.payload, output).await?;
    }
    Ok(Payload::null())
}

fn answer(command: &Command, settled: Settled) -> Answered {
    let reply = Reply {
        command_id: command.id,
        saga_id: command.saga_id,
        step: command.step.clone(),
        operation: command.operation,
        attempt: command.attempt,
        outcome: settled.outcome,
    };
    Answered { reply, hold: settled.hold }
}
