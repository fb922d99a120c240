//! What a step or a subscriber sees while it runs: its transaction, and what it is running for.

use std::time::Duration;

use amends_core::{Command, CommandId, Failure, SagaId, StepName, Timestamp};

use crate::database::{DatabaseKind, Row, Transaction};
use crate::step::StepError;
use crate::value::Value;

/// The open transaction of one command, and the command's particulars.
pub struct StepContext<'a> {
    transaction: &'a mut Transaction,
    command: &'a Command,
    now: Timestamp,
    hold: Option<Duration>,
}

impl<'a> StepContext<'a> {
    pub(crate) const fn new(transaction: &'a mut Transaction, command: &'a Command, now: Timestamp) -> Self {
        Self { transaction, command, now, hold: None }
    }

    /// Runs one statement and returns the number of rows it changed.
    pub async fn execute(&mut self, sql: &'static str, args: &[Value<'_>]) -> Result<u64, StepError> {
        Ok(self.transaction.execute(sql, args).await?)
    }

    /// Runs one statement and returns its first row, if it has any.
    pub async fn fetch_optional<R: Row>(
        &mut self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Option<R>, StepError> {
        Ok(self.transaction.fetch_optional(sql, args).await?)
    }

    /// Runs one statement and returns all its rows.
    pub async fn fetch_all<R: Row>(&mut self, sql: &'static str, args: &[Value<'_>]) -> Result<Vec<R>, StepError> {
        Ok(self.transaction.fetch_all(sql, args).await?)
    }

    /// What the database runs on, for a statement that is worth writing twice.
    pub const fn kind(&self) -> DatabaseKind {
        self.transaction.kind()
    }

    /// The saga that asks.
    pub const fn saga_id(&self) -> SagaId {
        self.command.saga_id
    }

    /// The step's name within the saga.
    pub const fn step(&self) -> &StepName {
        &self.command.step
    }

    /// The same for every attempt: the idempotency key to give to an outside gateway.
    pub const fn command_id(&self) -> CommandId {
        self.command.id
    }

    /// Counts the sends of this command, from 1.
    pub const fn attempt(&self) -> u32 {
        self.command.attempt
    }

    /// How often an operator has had it retried.
    pub const fn redrive(&self) -> u32 {
        self.command.redrive
    }

    /// When the engine stops waiting for this attempt.
    pub const fn deadline(&self) -> Timestamp {
        self.command.deadline
    }

    /// Why the saga is undone; only on a compensation and on steps that run after one.
    pub const fn cause(&self) -> Option<&Failure> {
        self.command.cause.as_ref()
    }

    /// The time to write into tables: one reading of the clock for the whole batch.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Has the effect committed now and the reply held back: stands in for a provider that is slow to answer.
    ///
    /// Copies of the command are answered at once. The reply goes early when the host ends or holds too many.
    pub const fn reply_after(&mut self, wait: Duration) {
        self.hold = Some(wait);
    }

    pub(crate) const fn hold(&self) -> Option<Duration> {
        self.hold
    }
}

/// The open transaction of one delivery of domain events.
pub struct EventContext<'a> {
    transaction: &'a mut Transaction,
    now: Timestamp,
}

impl<'a> EventContext<'a> {
    pub(crate) const fn new(transaction: &'a mut Transaction, now: Timestamp) -> Self {
        Self { transaction, now }
    }

    /// Runs one statement and returns the number of rows it changed.
    pub async fn execute(&mut self, sql: &'static str, args: &[Value<'_>]) -> Result<u64, StepError> {
        Ok(self.transaction.execute(sql, args).await?)
    }

    /// Runs one statement and returns its first row, if it has any.
    pub async fn fetch_optional<R: Row>(
        &mut self,
        sql: &'static str,
        args: &[Value<'_>],
    ) -> Result<Option<R>, StepError> {
        Ok(self.transaction.fetch_optional(sql, args).await?)
    }

    /// Runs one statement and returns all its rows.
    pub async fn fetch_all<R: Row>(&mut self, sql: &'static str, args: &[Value<'_>]) -> Result<Vec<R>, StepError> {
        Ok(self.transaction.fetch_all(sql, args).await?)
    }

    /// What the database runs on, for a statement that is worth writing twice.
    pub const fn kind(&self) -> DatabaseKind {
        self.transaction.kind()
    }

    /// The time to write into tables: one reading of the clock for the whole delivery.
    pub const fn now(&self) -> Timestamp {
        self.now
    }
}
