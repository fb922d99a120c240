//! The services as processes of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::error::{Error, Result};
use super::record::{Kafka, Postgres, Record};
use super::tools::{self, Tools};
use super::{StopMode, kafka, postgres, process, say};

/// How long a port may take to become free after its process is gone.
const PORT_LONGEST: Duration = Duration::from_secs(3);

/// How long a process that runs may leave a request without an answer before it is taken for stuck.
const ANSWER_LONGEST: Duration = Duration::from_secs(15);

/// Whether both run and answer.
pub(super) fn answers(record: &Record) -> bool {
    let Record { postgres, kafka, .. } = record;
    let postgres = postgres::find(postgres).is_some() && postgres::answers(postgres);
    // A broker of another version than the pom asks for is not the one that is wanted.
    postgres && kafka::fetched(&kafka.libs) && kafka::find(kafka).is_some() && kafka::answers(kafka)
}

/// Starts what does not answer, both at once, and writes down what runs.
pub(super) fn up(folder: &Path, record: &mut Record, install: bool) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Err(Error::NotLinux);
    }
    let fetch = !kafka::fetched(&libs(folder));
    let Tools { postgres: bin, java } = tools::find(install, fetch)?;
    record.kafka.java = java;
    record.postgres.bin = bin;
    place(folder, record)?;
    clear(record)?;
    choose_ports(record)?;
    record.write(folder)?;
    let Record { postgres, kafka, .. } = &mut *record;
    let (postgres, kafka) = thread::scope(|scope| {
        let kafka = scope.spawn(|| {
            if fetch {
                // A running one would lose its classes.
                kafka::stop(kafka)?;
                kafka::fetch(kafka)?;
            }
            start_kafka(kafka)
        });
        let postgres = start_postgres(postgres);
        (postgres, kafka.join())
    });
    // One that came up is written down although the other did not.
    record.write(folder)?;
    postgres?;
    kafka.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Where data and logs go; processes are known by that, so it comes before looking for any.
fn place(folder: &Path, record: &mut Record) -> Result<()> {
    let home = postgres::home(folder)?;
    let kafka = folder.join("kafka");
    record.postgres.data = home.join("data");
    record.postgres.log = home.join("postgres.log");
    record.kafka.data = kafka.join("data");
    record.kafka.libs = libs(folder);
    record.kafka.log = kafka.join("kafka.log");
    Ok(())
}

fn libs(folder: &Path) -> PathBuf {
    folder.join("kafka/libs")
}

/// Ends processes that run and do not answer: they would hold the data of the next. Those of a lost record are among
/// them, since nobody knows their ports.
fn clear(record: &mut Record) -> Result<()> {
    let stuck = |runs: bool, port: u16, answers: &dyn Fn() -> bool| {
        runs && (port == 0 || !process::until(ANSWER_LONGEST, answers))
    };
    let Record { postgres, kafka, .. } = record;
    if stuck(postgres::find(postgres).is_some(), postgres.port, &|| postgres::answers(postgres)) {
        say("postgres: runs and does not answer where it should");
        postgres::stop(postgres, StopMode::Immediate)?;
    }
    if stuck(kafka::find(kafka).is_some(), kafka.port, &|| kafka::answers(kafka)) {
        say("kafka: runs and does not answer where it should");
        kafka::stop(kafka)?;
    }
    Ok(())
}

/// Keeps the ports of the last time, or of a service that runs; else takes the usual ones, or the next that are spare.
fn choose_ports(record: &mut Record) -> Result<()> {
    if postgres::find(&record.postgres).is_none() {
        record.postgres.port = choose("postgres", record.postgres.port, postgres::PORT, &[])?;
    }
    if kafka::find(&record.kafka).is_none() {
        let kafka = &mut record.kafka;
        // The usual ports of the three are kept for them even where one had to move.
        kafka.port = choose("kafka", kafka.port, kafka::PORT, &[kafka::CONTROLLER_PORT])?;
        kafka.controller_port =
            choose("kafka's controller", kafka.controller_port, kafka::CONTROLLER_PORT, &[kafka.port])?;
    }
    let (postgres, kafka) = (&mut record.postgres, &mut record.kafka);
    postgres.url = format!("postgres://{name}@127.0.0.1:{port}/{name}", name = postgres::NAME, port = postgres.port);
    kafka.bootstrap = format!("127.0.0.1:{}", kafka.port);
    Ok(())
}

fn choose(service: &'static str, last: u16, usual: u16, taken: &[u16]) -> Result<u16> {
    let (port, free) = if last == 0 { (usual, process::is_free(usual)) } else { (last, becomes_free(last)) };
    if free {
        return Ok(port);
    }
    let spare = process::spare_port(usual, taken).ok_or(Error::PortTaken { service, port })?;
    say(&format!("{service}: port {port} is held by another program, taking {spare}"));
    Ok(spare)
}

/// The port of a process that was just killed is not free at once.
fn becomes_free(port: u16) -> bool {
    process::until(PORT_LONGEST, || process::is_free(port))
}

/// Starts Postgres unless it runs; its port is as recorded.
pub(super) fn start_postgres(record: &mut Postgres) -> Result<()> {
    record.pid = postgres::find(record);
    if record.pid.is_some() {
        return Ok(());
    }
    check_port("postgres", record.port)?;
    postgres::start(record)
}

/// Starts Kafka unless it runs; its ports are as recorded.
pub(super) fn start_kafka(record: &mut Kafka) -> Result<()> {
    record.pid = kafka::find(record);
    if record.pid.is_some() {
        return Ok(());
    }
    check_port("kafka", record.port)?;
    check_port("kafka", record.controller_port)?;
    kafka::start(record)
}

fn check_port(service: &'static str, port: u16) -> Result<()> {
    if port == 0 {
        return Err(Error::NotUp(service));
    }
    if becomes_free(port) { Ok(()) } else { Err(Error::PortTaken { service, port }) }
}

/// Stops both; with `wipe` also removes their data and logs. What Maven fetched stays.
pub(super) fn down(folder: &Path, record: &mut Record, wipe: bool) -> Result<()> {
    if record.kafka.data.as_os_str().is_empty() {
        place(folder, record)?;
    }
    if postgres::find(&record.postgres).is_none() && kafka::find(&record.kafka).is_none() {
        say("postgres and kafka are down already");
    }
    let kafka = kafka::stop(&mut record.kafka);
    let postgres = postgres::stop(&mut record.postgres, StopMode::Fast);
    record.write(folder)?;
    kafka?;
    postgres?;
    if wipe {
        say("removing their data");
        // Postgres' folder may stand elsewhere and holds nothing else.
        record.postgres.data.parent().map_or(Ok(()), postgres::remove)?;
        postgres::remove(&record.kafka.data)?;
        let _ = fs::remove_file(&record.kafka.log);
    }
    Ok(())
}
