//! A real Postgres and a real Kafka for development and tests.
//!
//! They belong to the workspace: their data, logs and the record of what runs (`services.json`) are under
//! `target/services`. [`up`] brings up what is not up, so every test may call it; processes that call it at once wait for
//! each other. The services outlive whoever started them; [`down`] ends them.

mod docker;
mod error;
mod kafka;
mod metadata;
mod native;
mod postgres;
mod process;
mod record;
mod tools;

use std::path::{Path, PathBuf};

pub use self::error::{Error, Result};
use self::record::{Mode, Record, lock};

/// Longest name that Postgres does not cut off.
const NAME_MAX: usize = 63;

/// How Postgres is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopMode {
    /// Ends all sessions and shuts down in order.
    Fast,
    /// Ends at once, as in a crash: the next start replays the log.
    Immediate,
}

/// The running services, and what tests do to them.
///
/// All tests of the workspace share them: one that stops a service stops it for all that run at that time.
#[derive(Clone, Debug)]
pub struct Services {
    /// Postgres, as in `AMENDS_STORE`: its superuser and the database `amends`.
    pub postgres_url: String,
    /// Kafka's bootstrap address, as in `AMENDS_BUS`.
    pub bus: String,
    root: PathBuf,
}

/// The processes of both services, for measuring what they use.
#[derive(Clone, Debug)]
pub struct Pids {
    /// Postgres' first process. The time of a backend that ended counts among that of its waited-for children.
    pub postmaster: u32,
    /// Its children at this moment: backends and the writers of the background.
    pub postgres_children: Vec<u32>,
    /// The broker, one process.
    pub kafka: u32,
}

/// Brings up what is not up and waits until both services answer; at once where they do. Installs missing packages where
/// the environment says so (`AMENDS_XTASK_INSTALL=1` or `CI`).
pub fn up() -> Result<Services> {
    up_with(tools::install_wanted())
}

/// As [`up`], and says whether missing packages are installed: that takes root and `apt-get`.
pub fn up_with(install: bool) -> Result<Services> {
    let root = root();
    let folder = folder(&root);
    let _lock = lock(&folder)?;
    let mut record = Record::read(&folder);
    if record.mode == Mode::Native && native::answers(&record) {
        say("postgres and kafka are up already");
    } else if docker::usable(&root) {
        say("docker: starting postgres and kafka");
        record = docker::up(&root)?;
        record.write(&folder)?;
    } else {
        if record.mode == Mode::Docker {
            record = Record::default();
        }
        native::up(&folder, &mut record, install)?;
    }
    Ok(Services { postgres_url: record.postgres.url, bus: record.kafka.bootstrap, root })
}

/// Stops what [`up`] started; with `wipe` removes all data too.
pub fn down(wipe: bool) -> Result<()> {
    let root = root();
    let folder = folder(&root);
    let _lock = lock(&folder)?;
    let mut record = Record::read(&folder);
    match record.mode {
        Mode::Docker => docker::down(&root, wipe)?,
        Mode::Native => native::down(&folder, &mut record, wipe)?,
    }
    if wipe || record.mode == Mode::Docker {
        Record::remove(&folder);
    }
    Ok(())
}

impl Services {
    /// Stops Postgres and waits until it is gone.
    pub fn stop_postgres(&self, mode: StopMode) -> Result<()> {
        self.change(
            |record| postgres::stop(&mut record.postgres, mode),
            &[if mode == StopMode::Fast { "stop" } else { "kill" }, docker::POSTGRES],
        )
    }

    /// Starts Postgres on the same port and waits until it answers; at once where it does.
    pub fn start_postgres(&self) -> Result<()> {
        self.change(
            |record| native::start_postgres(&mut record.postgres),
            &["up", "--detach", "--wait", docker::POSTGRES],
        )
    }

    /// Stops Postgres and starts it again.
    pub fn restart_postgres(&self, mode: StopMode) -> Result<()> {
        self.stop_postgres(mode)?;
        self.start_postgres()
    }

    /// Stops Kafka in order and waits until it is gone.
    pub fn stop_kafka(&self) -> Result<()> {
        self.change(|record| kafka::stop(&mut record.kafka), &["stop", docker::KAFKA])
    }

    /// Kills Kafka as a crash would and waits until it is gone.
    pub fn kill_kafka(&self) -> Result<()> {
        self.change(|record| kafka::kill(&mut record.kafka), &["kill", docker::KAFKA])
    }

    /// Starts Kafka on the same port and waits until it serves clients; at once where it does.
    pub fn start_kafka(&self) -> Result<()> {
        self.change(|record| native::start_kafka(&mut record.kafka), &["up", "--detach", "--wait", docker::KAFKA])
    }

    /// Stops Kafka in order and starts it again.
    pub fn restart_kafka(&self) -> Result<()> {
        self.stop_kafka()?;
        self.start_kafka()
    }

    /// Makes a fresh database and gives its URL. One of that name is dropped with all in it, whoever is connected.
    pub fn create_database(&self, name: &str) -> Result<String> {
        if !is_plain(name) {
            return Err(Error::Name(name.to_owned()));
        }
        let statements = [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")];
        let record = Record::read(&folder(&self.root));
        for statement in &statements {
            match record.mode {
                Mode::Native => postgres::psql(&record.postgres, &[statement])?,
                Mode::Docker => {
                    let psql = ["psql", "-q", "-U", postgres::NAME, "-d", "postgres", "-c", statement];
                    docker::compose(&self.root, &[&["exec", "-T", docker::POSTGRES][..], &psql].concat())?
                }
            };
        }
        let server = self.postgres_url.trim_end_matches(postgres::NAME);
        Ok(format!("{server}{name}"))
    }

    /// The processes of both as they are now. With Docker, those that the host sees.
    pub fn pids(&self) -> Result<Pids> {
        let record = Record::read(&folder(&self.root));
        let (postmaster, kafka) = match record.mode {
            Mode::Native => (postgres::find(&record.postgres), kafka::find(&record.kafka)),
            Mode::Docker => (record.postgres.pid, record.kafka.pid),
        };
        let postmaster = postmaster.ok_or(Error::NotUp("postgres"))?;
        let kafka = kafka.ok_or(Error::NotUp("kafka"))?;
        Ok(Pids { postmaster, postgres_children: process::children(postmaster), kafka })
    }

    /// Does something to a native service, or has `docker compose` do it, and writes down what became of it.
    fn change(&self, native: impl FnOnce(&mut Record) -> Result<()>, compose: &[&str]) -> Result<()> {
        let folder = folder(&self.root);
        let _lock = lock(&folder)?;
        let mut record = Record::read(&folder);
        if record.mode == Mode::Docker {
            docker::compose(&self.root, compose)?;
            docker::pids(&self.root, &mut record);
            return record.write(&folder);
        }
        let done = native(&mut record);
        record.write(&folder)?;
        done
    }
}

/// Whether a name needs no quotes in SQL, nor escapes in a URL.
fn is_plain(name: &str) -> bool {
    let letters = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '_');
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(letters) && name.len() <= NAME_MAX
}

/// The workspace, whose `target` this is about wherever else builds may go.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

fn folder(root: &Path) -> PathBuf {
    root.join("target/services")
}

#[allow(clippy::print_stderr, reason = "this is what the chores print to")]
fn say(text: &str) {
    eprintln!("xtask: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_become_databases() {
        for name in ["t", "test_7", &"a".repeat(NAME_MAX)] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "7", "_t", "T", "t-1", "t;drop", "t\"", "é", &"a".repeat(NAME_MAX + 1)] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
