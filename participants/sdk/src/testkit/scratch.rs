//! Databases that last as long as a test.

use std::cell::RefCell;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

/// Names the server.
const STORE: &str = "AMENDS_STORE";

thread_local! {
    /// The database of the test that this thread runs.
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

/// Makes a place without tables on the server that the environment's `AMENDS_STORE` names, and returns its URL. It is
/// gone when the thread of the test ends.
///
/// The first place of a test is a database; further ones are schemas of it, which are made much faster. Their writers
/// wait for each other.
///
/// # Panics
/// When there is no such server: a test that was skipped would be taken for one that has passed.
pub async fn scratch_postgres() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Ok(store) = std::env::var(STORE) else {
        panic!("{STORE} is not set; `cargo xtask up` starts a Postgres server and says what to set it to");
    };
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let made = match SCRATCH.with_borrow(|scratch| scratch.as_ref().map(|scratch| scratch.name.clone())) {
        Some(name) => {
            let url = in_server(&store, &name);
            let joint = if url.contains('?') { '&' } else { '?' };
            let made = on_server(&url, format!("CREATE SCHEMA scratch_{number}")).await;
            made.map(|()| format!("{url}{joint}options[search_path]=scratch_{number}"))
        }
        None => {
            let name = format!("amends_test_{}_{number}", std::process::id());
            let url = in_server(&store, &name);
            let made = on_server(&store, format!("CREATE DATABASE {name}")).await;
            SCRATCH.set(Some(Scratch { store, name }));
            made.map(|()| url)
        }
    };
    made.unwrap_or_else(|error| panic!("{STORE} names no server that this test can use: {error}"))
}

/// The URL of another database on the same server.
fn in_server(store: &str, name: &str) -> String {
    let (place, query) =
        store.split_once('?').map_or((store, String::new()), |(place, rest)| (place, format!("?{rest}")));
    let server = place.rsplit_once('/').map_or(place, |(server, _)| server);
    format!("{server}/{name}{query}")
}

/// A database on the server of `store`.
struct Scratch {
    store: String,
    name: String,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (store, command) = (self.store.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // The test's own runtime is gone by now.
        let drop_it = std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                // The test has said what it had to say; what is left behind is found by its name.
                let _ = runtime.block_on(on_server(&store, command));
            }
        });
        let _ = drop_it.join();
    }
}

async fn on_server(store: &str, command: String) -> Result<(), sqlx::Error> {
    let mut server = PgConnection::connect_with(&PgConnectOptions::from_str(store)?).await?;
    server.execute(AssertSqlSafe(command)).await?;
    server.close().await
}
