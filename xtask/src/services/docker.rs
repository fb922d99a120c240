//! The services as containers of the compose file, where a Docker engine answers.

use std::path::Path;
use std::process::Command;

use super::error::Result;
use super::process::run;
use super::record::{Mode, Record};
use super::tools::succeeds;

/// Where the compose file publishes the two.
const STORE: &str = "postgres://amends@127.0.0.1:5432/amends";
const BUS: &str = "127.0.0.1:9092";

/// The services' names in the compose file.
pub(super) const POSTGRES: &str = "postgres";
pub(super) const KAFKA: &str = "kafka";

/// Whether there are a compose file and an engine to run it.
pub(super) fn usable(root: &Path) -> bool {
    root.join("docker-compose.yml").exists() && succeeds("docker", &["info"])
}

/// Starts both and waits until they are healthy.
pub(super) fn up(root: &Path) -> Result<Record> {
    compose(root, &["up", "--detach", "--wait", POSTGRES, KAFKA])?;
    let mut record = Record { mode: Mode::Docker, ..Record::default() };
    record.postgres.url = STORE.to_owned();
    record.kafka.bootstrap = BUS.to_owned();
    pids(root, &mut record);
    Ok(record)
}

/// Writes down the processes as they are now.
pub(super) fn pids(root: &Path, record: &mut Record) {
    record.postgres.pid = pid(root, POSTGRES);
    record.kafka.pid = pid(root, KAFKA);
}

/// Stops both, and removes them with their volumes if so asked.
pub(super) fn down(root: &Path, wipe: bool) -> Result<()> {
    compose(root, &["stop", POSTGRES, KAFKA])?;
    if wipe {
        compose(root, &["down", "--volumes"])?;
    }
    Ok(())
}

/// Runs `docker compose` in the workspace.
pub(super) fn compose(root: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new("docker");
    command.arg("compose").args(args).current_dir(root);
    run(&format!("docker compose {}", args.join(" ")), &mut command)
}

/// The container's first process as the host sees it; the engine may run on another host, then there is none to see.
fn pid(root: &Path, service: &str) -> Option<u32> {
    let container = compose(root, &["ps", "--quiet", service]).ok()?;
    let mut inspect = Command::new("docker");
    inspect.args(["inspect", "--format", "{{.State.Pid}}", &container]);
    run("docker inspect", &mut inspect).ok()?.parse().ok()
}
