//! A small participant that the crate's own tests run.

use amends_core::{Command, CommandId, DomainEvent, Operation, Payload, SagaId, SagaType, StepName, Timestamp};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::{Database, DatabaseKind, EventContext, Step, StepContext, StepError, Subscriber, Value};

/// The migrations of the built-in participants, the barrier's among them.
pub(crate) fn migrations(kind: DatabaseKind) -> &'static Migrator {
    static SQLITE: Migrator = sqlx::migrate!("../../migrations/participants/sqlite");
    #[cfg(feature = "postgres")]
    static POSTGRES: Migrator = sqlx::migrate!("../../migrations/participants/postgres");
    match kind {
        DatabaseKind::Sqlite => &SQLITE,
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => &POSTGRES,
    }
}

const fn table(kind: DatabaseKind) -> &'static str {
    match kind {
        DatabaseKind::Sqlite => {
            "CREATE TABLE charge (n INTEGER PRIMARY KEY, saga_id BLOB, amount INTEGER NOT NULL CHECK (amount > -1000000))"
        }
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => {
            "CREATE TABLE charge (n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, saga_id UUID, \
             amount BIGINT NOT NULL CHECK (amount > -1000000))"
        }
    }
}

/// One line per charge and refund.
pub(crate) const LEDGER: &str = "SELECT CAST(amount AS TEXT) FROM charge ORDER BY n";

/// A database of its own, with tables.
pub(crate) async fn open(kind: DatabaseKind) -> Database {
    let database = match kind {
        DatabaseKind::Sqlite => Database::open_sqlite(":memory:").await,
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => Database::open(&crate::testkit::scratch_postgres().await).await,
    };
    prepare(database.unwrap()).await
}

pub(crate) async fn memory() -> Database {
    open(DatabaseKind::Sqlite).await
}

pub(crate) async fn prepare(database: Database) -> Database {
    database.migrate(migrations(database.kind())).await.unwrap();
    database.execute(table(database.kind()), &[]).await.unwrap();
    database
}

pub(crate) async fn ledger(database: &Database) -> Vec<i64> {
    let rows = database.fetch_all("SELECT amount FROM charge ORDER BY n", &[]).await.unwrap();
    rows.into_iter().map(|(amount,): (i64,)| amount).collect()
}

/// Writes a line, and then ends as its input says.
pub(crate) struct Charge;

#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Input {
    amount: i64,
    #[serde(default)]
    then: Then,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Then {
    #[default]
    Done,
    Refuse,
    TryAgain,
    Panic,
    Hang,
    AnswerLate,
    IgnoreAnError,
    RefundRefused,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Output {
    charged: i64,
}

impl Step for Charge {
    type Input = Input;
    type Output = Output;
    const COMMAND: &'static str = "payment.charge";

    async fn execute(&self, cx: &mut StepContext<'_>, input: Input) -> Result<Output, StepError> {
        insert(cx, input.amount).await?;
        match input.then {
            Then::Refuse => return Err(StepError::refused("DECLINED", "no money")),
            Then::TryAgain => return Err(StepError::try_again("not now")),
            Then::Panic => panic!("the step is broken"),
            Then::Hang => std::future::pending().await,
            Then::AnswerLate => cx.reply_after(std::time::Duration::from_secs(60)),
            Then::IgnoreAnError => drop(insert(cx, -1_000_000).await),
            Then::Done | Then::RefundRefused => {}
        }
        Ok(Output { charged: input.amount })
    }

    async fn compensate(&self, cx: &mut StepContext<'_>, input: Input, done: Output) -> Result<(), StepError> {
        insert(cx, -done.charged).await?;
        match input.then {
            Then::RefundRefused if cx.redrive() == 0 => Err(StepError::refused("REFUND_FAILED", "closed account")),
            _ => Ok(()),
        }
    }
}

async fn insert(cx: &mut StepContext<'_>, amount: i64) -> Result<(), StepError> {
    let id = cx.saga_id().as_uuid();
    let changed =
        cx.execute("INSERT INTO charge (saga_id, amount) VALUES ($1, $2)", &[(&id).into(), amount.into()]).await?;
    assert_eq!(changed, 1, "the number of changed rows is that of the statement alone");
    Ok(())
}

pub(crate) fn command(saga: u128, operation: Operation, input: &str) -> Command {
    let saga_id = SagaId::from_uuid(Uuid::from_u128(saga));
    let step = StepName::new("charge_payment").unwrap();
    Command {
        id: CommandId::derive(saga_id, &step, operation, 0),
        saga_id,
        saga_type: SagaType::new("order").unwrap(),
        step,
        operation,
        command: Charge::COMMAND.into(),
        participant: "payment".into(),
        attempt: 1,
        revision: 0,
        redrive: 0,
        deadline: Timestamp(0),
        payload: Payload::from_json(input.into()).unwrap(),
        cause: None,
    }
}

/// Writes down each event's number, and then ends as its number says.
pub(crate) struct Scribe;

impl Scribe {
    pub(crate) const REFUSED: i64 = 13;
    pub(crate) const TRY_AGAIN: i64 = 77;
    pub(crate) const PANICS: i64 = 99;
}

#[async_trait]
impl Subscriber for Scribe {
    fn topics(&self) -> &'static [&'static str] {
        &["numbers"]
    }

    async fn on_event(&self, cx: &mut EventContext<'_>, event: &DomainEvent) -> Result<(), StepError> {
        let number: i64 = event.payload.decode().unwrap();
        cx.execute("INSERT INTO charge (amount) VALUES ($1)", &[Value::Int(number)]).await?;
        match number {
            Self::REFUSED => Err(StepError::refused("UNLUCKY", "no such number here")),
            Self::TRY_AGAIN => Err(StepError::try_again("not now")),
            Self::PANICS => panic!("the subscriber is broken"),
            _ => Ok(()),
        }
    }
}

pub(crate) fn event(topic: &str, number: i64) -> DomainEvent {
    DomainEvent {
        id: Uuid::from_u128(1),
        topic: topic.into(),
        saga_id: SagaId::from_uuid(Uuid::from_u128(1)),
        saga_type: SagaType::new("order").unwrap(),
        at: Timestamp(0),
        payload: Payload::encode(&number).unwrap(),
    }
}
