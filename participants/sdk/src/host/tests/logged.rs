//! What the log says of a database that is waited for.

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Event, Level, Metadata};

use super::*;

/// Keeps the levels of what is said about the wait, but for what is said to developers.
#[derive(Clone, Default)]
struct Levels(Arc<Mutex<Vec<Level>>>);

impl Levels {
    /// Listens to this thread.
    fn listen() -> (Self, [Dispatch; 2], DefaultGuard) {
        let levels = Self::default();
        // Were there only one in the program, another test's thread, which has none, could be asked in its place
        // whether anyone listens.
        let dispatches = [Dispatch::new(levels.clone()), Dispatch::new(NoSubscriber::new())];
        let listening = tracing::dispatcher::set_default(&dispatches[0]);
        (levels, dispatches, listening)
    }

    fn heard(&self) -> Vec<Level> {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for Levels {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().ends_with("host::patience") && *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(*event.metadata().level());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_lasts_is_warned_of_every_minute() {
    let database = memory().await;
    database.close().await;
    let (levels, ..) = &Levels::listen();
    let waited = tokio::time::timeout(Duration::from_secs(150), Patience::default().begin(&database)).await;
    assert!(waited.is_err(), "it waits for ever");
    assert_eq!(levels.heard(), [Level::WARN; 3]);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_database_that_does_not_exist_is_an_error() {
    use sqlx::postgres::{PgConnectOptions, PgConnection};
    use sqlx::{AssertSqlSafe, Connection, Executor};

    let url = crate::testkit::scratch_postgres().await;
    let database = Database::open(&url).await.unwrap();
    let options: PgConnectOptions = url.parse().unwrap();
    let dropped = format!("DROP DATABASE {} WITH (FORCE)", options.get_database().unwrap());
    let mut server = PgConnection::connect_with(&options.database("postgres")).await.unwrap();
    server.execute(AssertSqlSafe(dropped)).await.unwrap();
    server.close().await.unwrap();

    let (levels, ..) = &Levels::listen();
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(Patience::new(cancel, Arc::new(Collected::default())).begin(&database).await.is_none());
    assert_eq!(levels.heard(), [Level::ERROR]);
}
