//! Three engines and two of each worker on fresh databases and topics.
//!
//! The tests of this target share one Postgres and one Kafka, and restart them: they take turns.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use amends_tests::program::free_port;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};
use xtask::services::{Services, up};

use crate::bus::Bus;
use crate::database::Database;
use crate::process::{Process, command, eventually, last_panic, log_folder, remember_panics, run, say, tail};

/// Whose turn it is.
static TURN: Mutex<()> = Mutex::const_new(());

/// Enough of the common products that no order which should succeed is refused for want of it.
const STOCK: i64 = 500_000;

/// What the names of the engines' own topics begin with, before the test's name.
pub(crate) const PREFIXES: &str = "production-";

/// Of each engine, however many cores there are: neighbouring shards are in different ones.
const LANES: &str = "2";

/// Everything that one test runs.
pub(crate) struct Cluster {
    pub(crate) services: Services,
    pub(crate) bus: Bus,
    /// The engines' database.
    pub(crate) engine: Database,
    /// The participants' own.
    pub(crate) participants: Database,
    pub(crate) engines: Vec<Member>,
    pub(crate) workers: Vec<Member>,
    pub(crate) http: reqwest::Client,
    test: &'static str,
    engine_url: String,
    participants_url: String,
    folder: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// A process that comes back under the same name and port.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// Counts its starts: the database sees each as another program.
    starts: u32,
    process: Option<Process>,
}

impl Member {
    fn new(name: String) -> Self {
        Self { name, port: free_port(), starts: 0, process: None }
    }

    /// Where it answers HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// As it stands beside its shards in the database.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// Stops it in order.
    pub(crate) async fn terminate(&mut self) {
        let status = self.process.take().expect("it runs").terminate().await;
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}

impl Cluster {
    /// Makes databases and topics, starts so many engines and workers, and returns when all are ready.
    pub(crate) async fn start(test: &'static str, engines: usize, workers: usize) -> Self {
        remember_panics();
        let turn = TURN.lock().await;
        let begun = Instant::now();
        let (services, engine_url, participants_url) = blocking(move || {
            let services = up().expect("postgres and kafka");
            let database = |whose: &str| services.create_database(&format!("production_{test}_{whose}")).expect("one");
            let (engine, participants) = (database("engine"), database("participants"));
            (services, engine, participants)
        })
        .await;
        let bus = Bus::new(&services.bus, &format!("{PREFIXES}{test}."));
        bus.clear().await;
        let mut cluster = Self {
            bus,
            engine: Database::new(&engine_url),
            participants: Database::new(&participants_url),
            engines: (0..engines).map(|number| Member::new(format!("engine-{number}"))).collect(),
            workers: (0..workers).map(|number| Member::new(format!("worker-{number}"))).collect(),
            http: reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("an HTTP client"),
            test,
            engine_url,
            participants_url,
            folder: log_folder(test),
            services,
            _turn: turn,
        };
        cluster.operator(&["migrate", "up"]).await;
        cluster.operator(&["bus", "ensure"]).await;
        cluster.engine.install_witness().await;
        (0..workers).for_each(|number| cluster.start_worker(number));
        (0..engines).for_each(|number| cluster.start_engine(number));
        cluster.ready().await;
        cluster.balanced().await;
        cluster.stock_up().await;
        say(&format!("{test}: {engines} engines and {workers} workers are ready after {:.1?}", begun.elapsed()));
        cluster
    }

    /// Runs a command of the program as an operator would; it must succeed.
    pub(crate) async fn operator(&self, arguments: &[&str]) -> String {
        self.attempt(arguments).await.unwrap_or_else(|error| panic!("amends {}: {error}", arguments.join(" ")))
    }

    /// The same where it may fail.
    pub(crate) async fn attempt(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command("operator");
        let server = self.engines.first().map(Member::url).unwrap_or_default();
        command.args(arguments).env("AMENDS_SERVER", server);
        run(command).await
    }

    /// Starts an engine, again perhaps. Does not wait for it.
    pub(crate) fn start_engine(&mut self, number: usize) {
        let engine = &mut self.engines[number];
        assert!(engine.process.is_none(), "it runs");
        engine.starts += 1;
        let (name, starts, address) = (engine.name.clone(), engine.starts, engine.address());
        let mut command = self.command(&format!("{name}.{starts}"));
        command.args(["serve", "--listen", &address]);
        for participant in ["order", "payment", "inventory", "notification"] {
            if let Some(worker) = self.workers.first() {
                command.args(["--http-of", &format!("{participant}={}", worker.url())]);
            }
        }
        self.engines[number].process = Some(Process::start(&self.folder.join(name), command));
    }

    /// The same for a worker; each runs all four participants.
    pub(crate) fn start_worker(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        assert!(worker.process.is_none(), "it runs");
        worker.starts += 1;
        let (name, starts, address) = (worker.name.clone(), worker.starts, worker.address());
        let mut command = self.command(&format!("{name}.{starts}"));
        command.args(["worker", "order", "payment", "inventory", "notification", "--seed", "--http", &address]);
        self.workers[number].process = Some(Process::start(&self.folder.join(name), command));
    }

    /// The program with this test's configuration; the database knows it by a name.
    fn command(&self, name: &str) -> Command {
        let named = |url: &str| format!("{url}?options[witness.app]={name}");
        let mut command = command();
        command
            .env("AMENDS_STORE", named(&self.engine_url))
            .env("AMENDS_WORKER_STORE", &self.participants_url)
            .env("AMENDS_BUS", &self.services.bus)
            .env("AMENDS_BUS_PREFIX", self.bus.prefix())
            .env("AMENDS_ENGINE_LANES", LANES)
            .current_dir(&self.folder);
        command
    }

    /// Waits until everything that runs is ready.
    pub(crate) async fn ready(&mut self) {
        let http = self.http.clone();
        for member in self.engines.iter_mut().chain(&mut self.workers) {
            let Some(process) = &mut member.process else { continue };
            let url = format!("http://127.0.0.1:{}/readyz", member.port);
            eventually(&format!("{} becomes ready", member.name), || {
                process.assert_alive();
                let asked = http.get(&url).send();
                async { asked.await.ok().filter(|answer| answer.status().is_success()) }
            })
            .await;
        }
    }

    /// Fails if a process that should run has ended by itself.
    pub(crate) fn assert_alive(&mut self) {
        let members = self.engines.iter_mut().chain(&mut self.workers);
        members.filter_map(|member| member.process.as_mut()).for_each(Process::assert_alive);
    }

    async fn stock_up(&self) {
        for product in ["MOUSE001", "PHONE001"] {
            let url = format!("{}/inventory/{product}", self.workers[0].url());
            let answer = self.http.put(url).json(&json!({ "on_hand": STOCK })).send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        }
    }

    /// Waits until every engine has its even share of the shards.
    async fn balanced(&self) {
        eventually("the engines share the shards evenly", || async {
            let shards = self.engine.shards().await;
            let least = shards.len() / self.engines.len();
            let held = |engine: &Member| shards.iter().filter(|shard| shard.address == engine.address()).count();
            let even = self.engines.iter().all(|engine| (least..=least + 1).contains(&held(engine)));
            (even && shards.iter().all(|shard| !shard.address.is_empty())).then_some(())
        })
        .await;
    }

    /// The sum of a counter with a label over all engines that run.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> u64 {
        let mut sum = 0;
        for engine in self.engines.iter().filter(|engine| engine.process.is_some()) {
            let answer = self.http.get(format!("{}/metrics", engine.url())).send().await.expect("metrics");
            let text = answer.text().await.expect("text");
            let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
            sum += lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as u64;
        }
        sum
    }

    pub(crate) fn first_running(&self) -> &Member {
        self.engines.iter().find(|engine| engine.process.is_some()).expect("an engine runs")
    }

    /// What a member has written to its log, over all its starts.
    pub(crate) fn log_of(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Fails if any process has panicked.
    pub(crate) fn assert_no_panic(&self) {
        for member in self.engines.iter().chain(&self.workers) {
            let log = self.log_of(&member.name);
            let line = log.lines().find(|line| line.contains("panicked"));
            assert!(line.is_none(), "{} of {}: {line:?}", member.name, self.test);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::new();
            for member in self.engines.iter().chain(&self.workers) {
                let log = self.folder.join(&member.name);
                let _ = write!(text, "\n==> {}\n{}", log.display(), tail(&log));
            }
            say(&format!("{text}\n==> {} of {}", last_panic(), self.test));
        }
    }
}

/// Does something that blocks.
pub(crate) async fn blocking<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(what).await.expect("it does not panic")
}
