//! One batch of commands: one transaction, one answer each.

use std::time::Duration;

use amends_core::{Command, Failure, Operation, Outcome, Payload, Reply, Timestamp};

use super::delivery::Answered;
use super::erased::AnyStep;
use super::{Host, Patience};
use crate::barrier::table::{self, Record, Stored};
use crate::barrier::{Answer, Mark, Verdict, judge};
use crate::context::StepContext;
use crate::database::{DatabaseError, Transaction};
use crate::guard::{guard, now};
use crate::step::StepError;

/// No step of this host answers to the command.
pub const UNKNOWN_COMMAND: &str = "UNKNOWN_COMMAND";

/// Most times that a batch is run again because of the commands that turned out to need care; then all are run with care.
const RERUNS_MAX: usize = 3;

/// The waits before a batch that was not committed is run again: what has happened to its connection, or to the server,
/// is mostly over by then.
const AGAIN: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(200)];

/// The same for a command by itself: the batch has been tried already.
const AGAIN_ALONE: [Duration; 1] = [Duration::from_millis(50)];

/// Commands in a row that fail even by themselves, after which the database is taken to be at fault and not they: one
/// that is full or read-only lets each transaction begin and none end, and to learn that of every command would keep
/// all answers waiting.
const FAILED_MAX: usize = 3;

/// A batch that has run and is not committed.
pub(crate) struct Prepared<'c> {
    transaction: Transaction,
    now: Timestamp,
    records: Vec<Record<'c>>,
    answered: Vec<Answered>,
}

impl Prepared<'_> {
    /// Commits; only then may the answers leave.
    pub(super) async fn commit(mut self) -> Result<Vec<Answered>, DatabaseError> {
        self.transaction.end_parts()?;
        table::store(&mut self.transaction, &self.records, self.now).await?;
        self.transaction.commit().await?;
        Ok(self.answered)
    }

    /// Forgets all that was done.
    async fn restart(&mut self) -> Result<(), DatabaseError> {
        self.records.clear();
        self.answered.clear();
        self.transaction.restart().await
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
    /// Runs the commands, which must concern different steps, and commits. Answers all of them, in their order; `None`,
    /// and answers none, if the patience ends.
    pub(crate) async fn process(&self, commands: &[Command], patience: &Patience) -> Option<Vec<Answered>> {
        let error = match self.commit(commands, &AGAIN, patience).await? {
            Ok(answered) => return Some(answered),
            Err(error) => error,
        };
        if let [command] = commands {
            return Some(vec![failed(command, &error)]);
        }
        tracing::error!(%error, commands = commands.len(), "a batch cannot be committed; its commands are run one by one");
        self.one_by_one(commands, patience).await
    }

    /// Runs and commits each command by itself. When too many in a row have failed the rest is run together once more,
    /// and if that fails too, all of it is told to come again.
    async fn one_by_one(&self, commands: &[Command], patience: &Patience) -> Option<Vec<Answered>> {
        let (mut all, mut in_a_row) = (Vec::with_capacity(commands.len()), 0);
        for (at, command) in commands.iter().enumerate() {
            match self.commit(std::slice::from_ref(command), &AGAIN_ALONE, patience).await? {
                Ok(answered) => {
                    all.extend(answered);
                    in_a_row = 0;
                }
                Err(error) => {
                    all.push(failed(command, &error));
                    in_a_row += 1;
                    if in_a_row == FAILED_MAX {
                        all.extend(self.rest(&commands[at + 1..], patience).await?);
                        break;
                    }
                }
            }
        }
        Some(all)
    }

    async fn rest(&self, commands: &[Command], patience: &Patience) -> Option<Vec<Answered>> {
        if commands.is_empty() {
            return Some(Vec::new());
        }
        let committed = self.commit(commands, &AGAIN_ALONE, patience).await?;
        Some(committed.unwrap_or_else(|error| {
            tracing::error!(%error, commands = commands.len(), "the rest of a batch was not committed; it is to come again");
            commands.iter().map(|command| try_again(command, &error)).collect()
        }))
    }

    /// Runs the commands and commits, and if that fails again after each of the waits. Should a commit have succeeded
    /// whose result was lost, the barrier answers what it has stored.
    async fn commit(
        &self,
        commands: &[Command],
        waits: &[Duration],
        patience: &Patience,
    ) -> Option<Result<Vec<Answered>, DatabaseError>> {
        let mut waits = waits.iter();
        loop {
            let transaction = patience.begin(&self.database).await?;
            let committed = async { self.prepare_in(transaction, commands).await?.commit().await };
            match (committed.await, waits.next()) {
                (Err(error), Some(wait)) => {
                    tracing::warn!(%error, commands = commands.len(), "a batch was not committed; it is run again");
                    patience.pause(*wait).await?;
                }
                (result, _) => return Some(result),
            }
        }
    }

    /// Runs the commands, but does not commit.
    pub(crate) async fn prepare<'c>(&self, commands: &'c [Command]) -> Result<Prepared<'c>, DatabaseError> {
        self.prepare_in(self.database.begin().await?, commands).await
    }

    /// Runs the commands in a transaction that was just begun.
    ///
    /// On Postgres a part of a transaction can be taken back alone only if a savepoint was set before it, at two round
    /// trips. Few commands need that, so it is done without at first. If one needs it after all, everything is taken
    /// back and run again, that one with care: steps must not mind being run twice.
    async fn prepare_in<'c>(
        &self,
        transaction: Transaction,
        commands: &'c [Command],
    ) -> Result<Prepared<'c>, DatabaseError> {
        let (records, answered) = (Vec::with_capacity(commands.len()), Vec::with_capacity(commands.len()));
        let mut prepared = Prepared { transaction, now: now(), records, answered };
        let mut careful = vec![false; commands.len()];
        for rerun in 0.. {
            self.run_all(&mut prepared, commands, &mut careful).await?;
            if !prepared.transaction.must_rerun() {
                break;
            }
            if rerun == RERUNS_MAX {
                careful.fill(true);
            }
            prepared.restart().await?;
        }
        Ok(prepared)
    }

    /// Runs the commands, and marks those that would have needed care. When there is one the others still run, if only
    /// to find out more.
    async fn run_all<'c>(
        &self,
        prepared: &mut Prepared<'c>,
        commands: &'c [Command],
        careful: &mut [bool],
    ) -> Result<(), DatabaseError> {
        let mut loaded = table::load(&mut prepared.transaction, commands).await?;
        for (at, (command, careful)) in commands.iter().zip(careful).enumerate() {
            prepared.transaction.next_part(*careful)?;
            let stored = loaded.of(&mut prepared.transaction, at, command)?;
            let settled = self.settle(prepared, command, stored).await?;
            if prepared.transaction.has_ended() {
                return Err(DatabaseError::Ended);
            }
            *careful |= prepared.transaction.part_failed();
            if prepared.transaction.is_aborted() {
                break;
            }
            prepared.answered.push(answer(command, settled));
        }
        Ok(())
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
                transaction.undo_part().await?;
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

fn failed(command: &Command, error: &DatabaseError) -> Answered {
    let (saga_id, step) = (command.saga_id, &command.step);
    tracing::error!(%saga_id, %step, %error, "a command was not committed; it is to come again");
    try_again(command, error)
}

fn try_again(command: &Command, error: &DatabaseError) -> Answered {
    answer(command, StepError::try_again(error).into_outcome().into())
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
