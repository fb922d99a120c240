//! Engines and workers as processes of their own, on fresh databases and topics.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xtask::services::Services;

use crate::{BenchError, Courier, Participants, say, topics};

/// Longest wait until a process is ready.
const READY_MAX: Duration = Duration::from_secs(60);

/// How often a process that is not ready is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Pieces of each product: more than any run orders, and fewer than an order that is to fail asks for.
const STOCK: u64 = 900_000;

/// What the program's load orders.
const PRODUCTS: [&str; 3] = ["LAPTOP001", "PHONE001", "MOUSE001"];

/// Databases, and what the names of topics begin with, made anew for each run.
const NAME: &str = "bench";
const PREFIX: &str = "bench.";

const NAMES: [&str; 4] = ["order", "payment", "inventory", "notification"];

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) courier: Courier,
    pub(crate) participants: Participants,
    pub(crate) engines: usize,
    pub(crate) lanes: Option<usize>,
    pub(crate) shards: Option<u16>,
    pub(crate) one_worker: bool,
}

impl Setup {
    pub(crate) fn name(&self) -> String {
        let Self { courier, participants, engines, shards, .. } = self;
        let engines = if *engines == 1 { "1 engine".to_owned() } else { format!("{engines} engines") };
        let participants = format!("{participants:?}").to_lowercase();
        let shards = shards.map(|shards| format!(", {shards} shards")).unwrap_or_default();
        format!("Postgres + {courier}, {participants} participants, {engines}{shards}")
    }
}

/// The running processes; they end when it is dropped.
pub(crate) struct Cluster<'s> {
    program: &'s Path,
    processes: Vec<(&'static str, Child)>,
    /// Where clients reach the first engine.
    server: String,
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// Builds the program in release mode and says where it is.
pub(crate) fn build() -> Result<PathBuf, BenchError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    finish(Command::new(cargo).current_dir(&root).args(["build", "--release", "-p", "amends"]), "cargo build")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/amends"))
}

impl<'s> Cluster<'s> {
    /// Starts everything and waits until it is ready.
    pub(crate) fn start(services: &Services, program: &'s Path, setup: &Setup) -> Result<Self, BenchError> {
        let folder = std::env::temp_dir().join(NAME);
        std::fs::create_dir_all(&folder).map_err(|error| BenchError::Io { doing: NAME.to_owned(), error })?;
        topics::delete(&services.bus, &[PREFIX, "order_", "payment_", "inventory_", "notification_"])?;
        let mut environment =
            vec![("AMENDS_STORE", services.create_database(NAME)?), ("AMENDS_BUS_PREFIX", PREFIX.to_owned())];
        if setup.courier == Courier::Kafka {
            environment.push(("AMENDS_BUS", services.bus.clone()));
        }
        if let Some(lanes) = setup.lanes {
            environment.push(("AMENDS_ENGINE_LANES", lanes.to_string()));
        }
        if let Some(shards) = setup.shards {
            environment.push(("AMENDS_ENGINE_SHARDS", shards.to_string()));
        }
        environment.push(("AMENDS_ENGINE_IN_FLIGHT_MAX", "100000".to_owned()));
        let mut cluster = Self { program, processes: Vec::new(), server: String::new(), folder, environment };
        cluster.once(&["migrate", "up"])?;
        if setup.courier == Courier::Kafka {
            cluster.once(&["bus", "ensure"])?;
        }
        let grpc = cluster.workers(services, setup)?;
        cluster.engines(setup, &grpc)?;
        Ok(cluster)
    }

    /// Workers first, so that no command waits for its participant. Answers where they are reached over gRPC.
    fn workers(&mut self, services: &Services, setup: &Setup) -> Result<Vec<(String, String)>, BenchError> {
        let store = services.create_database(&format!("{NAME}_participants"))?;
        let groups: Vec<Vec<&str>> =
            if setup.one_worker { vec![NAMES.to_vec()] } else { NAMES.iter().map(|name| vec![*name]).collect() };
        let mut reached = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            let http = spare_address()?;
            let mut args: Vec<String> = vec!["worker".to_owned()];
            args.extend(group.iter().map(|name| (*name).to_owned()));
            args.extend(["--http".to_owned(), http.clone()]);
            if setup.courier == Courier::Grpc {
                let grpc = spare_address()?;
                args.extend(["--grpc".to_owned(), grpc.clone()]);
                reached.extend(group.iter().map(|name| ((*name).to_owned(), format!("http://{grpc}"))));
            }
            match setup.participants {
                Participants::Trivial => args.push("--trivial".to_owned()),
                Participants::Full => {
                    args.extend(["--store".to_owned(), store.clone()]);
                    if number == groups.iter().position(|group| group.contains(&"inventory")).unwrap_or_default() {
                        args.push("--seed".to_owned());
                    }
                }
            }
            self.spawn("workers", &args)?;
            self.wait_ready(&http)?;
            if setup.participants == Participants::Full && group.contains(&"inventory") {
                stock_up(&http)?;
            }
        }
        Ok(reached)
    }

    fn engines(&mut self, setup: &Setup, grpc: &[(String, String)]) -> Result<(), BenchError> {
        let mut listens = Vec::new();
        for _ in 0..setup.engines {
            let listen = spare_address()?;
            let mut args = vec!["serve".to_owned(), "--listen".to_owned(), listen.clone()];
            for (name, url) in grpc {
                args.extend(["--participant".to_owned(), format!("{name}={url}")]);
            }
            self.spawn("engines", &args)?;
            listens.push(listen);
        }
        for listen in &listens {
            self.wait_ready(listen)?;
        }
        self.server = format!("http://{}", listens[0]);
        Ok(())
    }

    /// Lets the program's own load generator drive orders to their ends; answers what it reports.
    pub(crate) fn load(
        &mut self,
        orders: u64,
        concurrency: u64,
        fail_rate: f64,
    ) -> Result<(serde_json::Value, f64), BenchError> {
        let (orders, concurrency, fail_rate) = (orders.to_string(), concurrency.to_string(), fail_rate.to_string());
        let mut command = Command::new(self.program);
        command.args(["bench", "--target", &self.server, "-o", "json", "--orders", &orders]);
        command.args(["--concurrency", &concurrency, "--fail-rate", &fail_rate]).stderr(Stdio::inherit());
        let before = children_cpu();
        let output = command.output().map_err(|error| BenchError::Io { doing: "amends bench".to_owned(), error })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let report = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
        let report = report.ok_or_else(|| BenchError::Process(format!("amends bench reports nothing: {text}")))?;
        Ok((report, children_cpu() - before))
    }

    /// The processes by part.
    pub(crate) fn parts(&self) -> Vec<(&'static str, u32)> {
        self.processes.iter().map(|(part, process)| (*part, process.id())).collect()
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(self.program);
        command.args(args).current_dir(&self.folder).env_remove("AMENDS_BUS");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn once(&self, args: &[&str]) -> Result<(), BenchError> {
        finish(self.command(args).stdout(Stdio::null()), &args.join(" "))
    }

    fn spawn(&mut self, part: &'static str, args: &[String]) -> Result<(), BenchError> {
        let doing = args.join(" ");
        let log = self.folder.join(format!("{part}-{}.log", self.processes.len()));
        let log = std::fs::File::create(log).map_err(|error| BenchError::Io { doing: doing.clone(), error })?;
        let process = self.command(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.processes.push((part, process.map_err(|error| BenchError::Io { doing, error })?));
        Ok(())
    }

    fn wait_ready(&self, address: &str) -> Result<(), BenchError> {
        let until = Instant::now() + READY_MAX;
        while Instant::now() < until {
            if http(address, "GET /readyz", "").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        Err(BenchError::Process(format!("nothing is ready at {address}; the logs are in {}", self.folder.display())))
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        // Engines first, so that no worker is missed.
        for (_, process) in self.processes.iter_mut().rev() {
            if let Some(pid) = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            if process.wait().is_err() {
                say("a process of the bench could not be waited for");
            }
        }
    }
}

/// Fills the shelves of the products that the load orders.
fn stock_up(inventory: &str) -> Result<(), BenchError> {
    for product in PRODUCTS {
        let answer = http(inventory, &format!("PUT /inventory/{product}"), &format!("{{\"on_hand\":{STOCK}}}"));
        if !answer.as_ref().is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            return Err(BenchError::Process(format!("{product} cannot be stocked up: {answer:?}")));
        }
    }
    Ok(())
}

/// One request over a connection of its own; `None` if nothing answers.
fn http(address: &str, request: &str, body: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let headers = format!(
        "Host: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close",
        body.len()
    );
    write!(stream, "{request} HTTP/1.1\r\n{headers}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn spare_address() -> Result<String, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.to_string())
        .map_err(|error| BenchError::Io { doing: "no spare port".to_owned(), error })
}

fn finish(command: &mut Command, doing: &str) -> Result<(), BenchError> {
    let status = command.status().map_err(|error| BenchError::Io { doing: doing.to_owned(), error })?;
    if status.success() { Ok(()) } else { Err(BenchError::Process(format!("{doing} failed ({status})"))) }
}

/// CPU seconds of the children that this process has waited for.
fn children_cpu() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return 0.0 };
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks: f64 = fields.get(13..15).unwrap_or_default().iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}
