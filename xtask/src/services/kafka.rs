//! A Kafka of this workspace's own: fetched by Maven, one node, on the Java machine that is there.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::error::{Error, Result, at};
use super::process::{self, Mark, run};
use super::record::Kafka;
use super::tools::succeeds;
use super::{metadata, postgres, say};

/// The usual port of clients; not Kafka's own, which a Kafka of the machine may hold.
pub(super) const PORT: u16 = 7492;

/// The usual port of the controller.
pub(super) const CONTROLLER_PORT: u16 = 7493;

/// A cold start on a busy machine, with logs to recover after a crash.
const START_LONGEST: Duration = Duration::from_secs(120);

/// How long a broker may take to leave before it is killed.
const STOP_LONGEST: Duration = Duration::from_secs(20);

/// How long a killed one may take to be gone.
const KILL_LONGEST: Duration = Duration::from_secs(10);

/// The memory it may take: enough for thousands of partitions, and bounded beside builds and benches.
const HEAP: [&str; 2] = ["-Xms256m", "-Xmx512m"];

/// Any will do, as long as the data of one cluster is not mixed with another's; it is 16 bytes in base64.
const CLUSTER: &str = "YW1lbmRzLWRldi1rYWZrYQ";

const POM: &str = include_str!("../../kafka/pom.xml");
const PROPERTIES: &str = include_str!("../../kafka/server.properties");
const LOG4J: &str = include_str!("../../kafka/log4j2.properties");

/// Finds the running broker.
pub(super) fn find(record: &Kafka) -> Option<u32> {
    let properties = properties(record);
    Mark { program: "java", args: vec!["kafka.Kafka", properties.to_str()?] }.find(record.pid)
}

/// Whether it takes part in its cluster, which is when it serves clients.
pub(super) fn answers(record: &Kafka) -> bool {
    metadata::brokers(record.port).is_ok_and(|ports| ports.contains(&record.port))
}

/// Whether the classes are there, of the versions that the pom names.
pub(super) fn fetched(libs: &Path) -> bool {
    fs::read_to_string(complete(libs)).is_ok_and(|pom| pom == POM)
}

/// Fetches the classes under another name first, so that an interrupted attempt is not taken for all of them.
pub(super) fn fetch(record: &Kafka) -> Result<()> {
    say("kafka: fetching it with Maven, once");
    let folder = folder(record);
    let (pom, new) = (folder.join("pom.xml"), folder.join("libs.new"));
    fs::create_dir_all(folder).map_err(at(folder))?;
    fs::write(&pom, POM).map_err(at(&pom))?;
    postgres::remove(&new)?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "dependency:copy-dependencies", "-f"]).arg(&pom);
    maven.arg(format!("-DoutputDirectory={}", new.display())).current_dir(folder);
    run("mvn dependency:copy-dependencies", &mut maven)?;
    postgres::remove(&record.libs)?;
    fs::rename(&new, &record.libs).map_err(at(&record.libs))?;
    fs::write(complete(&record.libs), POM).map_err(at(&record.libs))
}

/// Starts it on its data, which is made if there is none; the record's ports and programs must be chosen.
pub(super) fn start(record: &mut Kafka) -> Result<()> {
    let folder = folder(record).to_owned();
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let (properties, log4j) = (properties(record), log4j(record));
    let text = PROPERTIES
        .replace("{port}", &record.port.to_string())
        .replace("{controller_port}", &record.controller_port.to_string())
        .replace("{data}", &record.data.to_string_lossy());
    fs::write(&properties, text).map_err(at(&properties))?;
    fs::write(&log4j, LOG4J).map_err(at(&log4j))?;
    if !record.data.join("meta.properties").exists() {
        say(&format!("kafka: making a log folder in {}", record.data.display()));
        let mut format = java(record, Command::new(&record.java));
        format.args(["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER, "-c"]).arg(&properties);
        run("kafka.tools.StorageTool format", &mut format)?;
    }
    say(&format!("kafka: starting on port {}", record.port));
    let mut child = spawn(record)?;
    record.pid = Some(child.id());
    // An early end is as good as an answer: there is nothing left to wait for.
    let mut ended = false;
    process::until(START_LONGEST, || {
        ended = matches!(child.try_wait(), Ok(Some(_)));
        ended || answers(record)
    });
    if ended || !answers(record) {
        return Err(Error::Silent { service: "kafka", log: record.log.clone(), tail: process::tail(&record.log) });
    }
    Ok(())
}

/// Starts the process in a session of its own, so that neither Ctrl-C nor the end of the terminal reaches it.
fn spawn(record: &Kafka) -> Result<Child> {
    let log = File::options().create(true).append(true).open(&record.log).map_err(at(&record.log))?;
    let errors = log.try_clone().map_err(at(&record.log))?;
    let detached = if succeeds("setsid", &["--version"]) {
        let mut setsid = Command::new("setsid");
        setsid.arg(&record.java);
        setsid
    } else {
        let mut group = Command::new(&record.java);
        group.process_group(0);
        group
    };
    let mut command = java(record, detached);
    command.arg("kafka.Kafka").arg(properties(record)).stdin(Stdio::null()).stdout(log).stderr(errors);
    command.spawn().map_err(|error| Error::Command { what: "java kafka.Kafka".to_owned(), said: error.to_string() })
}

/// Asks it to leave, and kills it if it does not; a broker that is not there is fine.
pub(super) fn stop(record: &mut Kafka) -> Result<()> {
    if let Some(pid) = find(record) {
        say("kafka: stopping");
        process::signal(pid, Signal::TERM);
        if !process::wait_gone(pid, STOP_LONGEST) {
            say(&format!("kafka: still there after {} s, killing it", STOP_LONGEST.as_secs()));
        }
    }
    kill(record)
}

/// Kills it as a crash would; a broker that is not there is fine.
pub(super) fn kill(record: &mut Kafka) -> Result<()> {
    if let Some(pid) = find(record) {
        process::signal(pid, Signal::KILL);
        if !process::wait_gone(pid, KILL_LONGEST) {
            return Err(Error::Stuck { service: "kafka", pid });
        }
    }
    record.pid = None;
    Ok(())
}

/// The Java machine with the broker's classes, up to the name of the class to run.
fn java(record: &Kafka, mut command: Command) -> Command {
    command
        .args(HEAP)
        .args(["-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"])
        .arg(format!("-Dlog4j2.configurationFile={}", log4j(record).display()))
        .arg("-cp")
        .arg(record.libs.join("*"))
        .current_dir(folder(record));
    command
}

fn folder(record: &Kafka) -> &Path {
    record.data.parent().unwrap_or(&record.data)
}

fn properties(record: &Kafka) -> PathBuf {
    folder(record).join("server.properties")
}

fn log4j(record: &Kafka) -> PathBuf {
    folder(record).join("log4j2.properties")
}

/// Holds the pom that the classes were fetched by.
fn complete(libs: &Path) -> PathBuf {
    libs.join("complete")
}
