//! An engine, a worker for three of the participants, and Python for the fourth.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::END_MAX;
use super::venv::{EXAMPLES, python};
use crate::database::Database;
use crate::http::{Call, Client};
use crate::program::{self, SOON, eventually, free_port};

/// The participant in whose place Python stands, and its command.
pub(super) const PARTICIPANT: &str = "notification";
const COMMAND: &str = "notification.send";

/// How commands reach Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Kafka,
    Grpc,
}

pub(super) struct Installation {
    transport: Transport,
    /// Of the database and, with a dot, of the topics.
    name: String,
    folder: TempDir,
    python_port: u16,
    python: Option<Running>,
    _engine: Running,
    _worker: Running,
    /// Talks to the engine.
    pub(super) http: Client,
}

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `cargo xtask up` starts what it names"))
}

impl Installation {
    /// Starts all but Python.
    pub(super) async fn start(transport: Transport) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right");
        let name = format!("python_{}_{}", std::process::id(), now.as_nanos());
        let store = make_database(&name).await;
        let [engine, worker, reads, python_port] = [(); 4].map(|()| free_port());
        let at = |port: u16| format!("127.0.0.1:{port}");

        let mut command = amends();
        command
            .args(["worker", "order", "payment", "inventory", "--seed", "--store"])
            .arg(folder.path().join("own.db"));
        command.args(["--grpc", &at(worker), "--http", &at(reads)]);
        let worker_runs = run(&mut command, folder.path(), "worker");

        let mut command = amends();
        command.args(["serve", "--migrate", "--store", &store, "--listen", &at(engine)]);
        for own in ["order", "payment", "inventory"] {
            command.args(["--participant", &format!("{own}=http://{}", at(worker))]);
            command.args(["--http-of", &format!("{own}=http://{}", at(reads))]);
        }
        match transport {
            Transport::Grpc => {
                command.args(["--participant", &format!("{PARTICIPANT}=http://{}", at(python_port))]);
            }
            Transport::Kafka => {
                command.args(["--bus", &environment("AMENDS_BUS")]).env("AMENDS_BUS_PREFIX", format!("{name}."));
            }
        }
        let engine_runs = run(&mut command, folder.path(), "engine");

        let http = Client::new(&format!("http://{}", at(engine)));
        let installation = Self {
            transport,
            name,
            folder,
            python_port,
            python: None,
            _engine: engine_runs,
            _worker: worker_runs,
            http,
        };
        installation.ready(&installation.http).await;
        installation.ready(&Client::new(&format!("http://{}", at(reads)))).await;
        installation
    }

    async fn ready(&self, http: &Client) {
        let what = format!("{} becomes ready; in {}: {:?}", http.server(), self.folder.path().display(), self.logs());
        let started = Instant::now();
        while !http.send(&Call::get("/readyz")).await.is_ok_and(|answer| answer.status.is_success()) {
            assert!(started.elapsed() < SOON, "{what}\n{}\n{}", self.log("engine"), self.log("worker"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn logs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Starts Python, with further arguments, on the database that it had before.
    pub(super) async fn start_python(&mut self, arguments: &[&str]) {
        assert!(self.python.is_none(), "it runs already");
        let mut command = Command::new(python());
        command.arg("-B");
        match self.transport {
            Transport::Kafka => {
                command.args([&format!("{EXAMPLES}/kafka_participant.py"), "--bootstrap", &environment("AMENDS_BUS")]);
                command.args(["--prefix", &format!("{}.", self.name)]);
            }
            Transport::Grpc => {
                let listen = format!("127.0.0.1:{}", self.python_port);
                command.args([&format!("{EXAMPLES}/grpc_participant.py"), "--listen", &listen]);
            }
        }
        command
            .args(["--participant", PARTICIPANT, "--command", COMMAND, "--db"])
            .arg(self.points_file())
            .args(arguments);
        let starts = self.python_said().matches(" answers ").count();
        self.python = Some(run(&mut command, self.folder.path(), "python"));
        eventually("Python starts", async || (self.python_said().matches(" answers ").count() > starts).then_some(()))
            .await;
    }

    /// Ends it as an operator does, and expects it to end well.
    pub(super) async fn terminate_python(&mut self) {
        let mut python = self.python.take().expect("it runs");
        let asked = Command::new("kill").args(["-TERM", &python.0.id().to_string()]).status();
        assert!(asked.expect("kill runs").success());
        let ended = eventually("Python ends", || std::future::ready(python.0.try_wait().expect("its status")));
        let ended = tokio::time::timeout(END_MAX, ended).await.expect("it ends in time");
        assert!(ended.success(), "{ended}: {}", self.python_said());
    }

    /// Ends it with SIGKILL.
    pub(super) fn kill_python(&mut self) {
        drop(self.python.take().expect("it runs"));
    }

    /// All that it has printed, over all its starts.
    pub(super) fn python_said(&self) -> String {
        self.log("python")
    }

    /// How the engine's commands reach a participant, by its own word.
    pub(super) fn reached(&self, participant: &str, how: &str) -> bool {
        self.log("engine").lines().any(|line| line.contains(how) && line.contains(participant))
    }

    /// Submits an order; gives its saga.
    pub(super) async fn order(&self, body: &Value) -> String {
        self.http.order(body).await["saga_id"].as_str().expect("a saga").to_owned()
    }

    fn points_file(&self) -> PathBuf {
        self.folder.path().join("points.db")
    }

    /// Every entry in Python's own table for a user.
    pub(super) async fn points(&self, user: &str) -> Vec<i64> {
        let database = Database::open(&self.points_file()).await;
        let rows: Vec<(String, i64)> = database.rows("SELECT user_id, points FROM points ORDER BY entry").await;
        rows.into_iter().filter(|(owner, _)| owner == user).map(|(_, points)| points).collect()
    }

    /// Ends everything and leaves nothing behind on the servers.
    pub(super) async fn finish(mut self) {
        self.terminate_python().await;
        let Self { transport, name, _engine: engine, _worker: worker, .. } = self;
        drop((engine, worker));
        drop_database(&name).await;
        if transport == Transport::Kafka {
            let topics = ["notification.commands", "replies", "dead-letters"].map(|topic| format!("{name}.{topic}"));
            let admin: AdminClient<DefaultClientContext> =
                ClientConfig::new().set("bootstrap.servers", environment("AMENDS_BUS")).create().expect("a client");
            let names = topics.each_ref().map(String::as_str);
            admin.delete_topics(&names, &AdminOptions::new()).await.expect("the topics can be deleted");
        }
    }
}

/// The program without the shared installation in its environment.
fn amends() -> Command {
    let mut command = program::command();
    command.env_remove("AMENDS_STORE").env_remove("AMENDS_BUS").env("AMENDS_LOG", "info");
    command
}

/// Starts a process whose output goes to a file of that name.
fn run(command: &mut Command, folder: &Path, name: &str) -> Running {
    let log = || -> File { OpenOptions::new().create(true).append(true).open(folder.join(name)).expect("a log file") };
    let started = command.current_dir(folder).stdin(Stdio::null()).stdout(log()).stderr(log()).spawn();
    Running(started.unwrap_or_else(|error| panic!("{name} does not start: {error}")))
}

async fn execute(sql: String) {
    let options: PgConnectOptions = environment("AMENDS_STORE").parse().expect("AMENDS_STORE is a URL of Postgres");
    let mut connection = options.connect().await.expect("Postgres answers");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("the connection closes");
}

async fn make_database(name: &str) -> String {
    execute(format!("CREATE DATABASE {name}")).await;
    let store = environment("AMENDS_STORE");
    let (server, _) = store.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}")
}

async fn drop_database(name: &str) {
    execute(format!("DROP DATABASE {name} WITH (FORCE)")).await;
}
