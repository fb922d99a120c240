//! What is written down about the services, in `target/services/services.json`, and the lock around changing them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Result, at};
use super::say;

/// Who runs the services.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// Processes of this machine.
    #[default]
    Native,
    /// Docker, by the compose file.
    Docker,
}

/// The services as they were started last; without pids they are down.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) mode: Mode,
    pub(super) postgres: Postgres,
    pub(super) kafka: Kafka,
}

/// The database's part.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Postgres {
    pub(super) url: String,
    /// 0 when none was chosen yet.
    pub(super) port: u16,
    pub(super) pid: Option<u32>,
    pub(super) data: PathBuf,
    pub(super) bin: PathBuf,
    pub(super) log: PathBuf,
}

/// The broker's part.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kafka {
    pub(super) bootstrap: String,
    /// 0 when none was chosen yet.
    pub(super) port: u16,
    pub(super) controller_port: u16,
    pub(super) pid: Option<u32>,
    pub(super) data: PathBuf,
    /// The broker's classes, and those of its command line tools.
    pub(super) libs: PathBuf,
    pub(super) java: PathBuf,
    pub(super) log: PathBuf,
}

impl Record {
    /// Reads the record; one that is not there or not readable is an empty one, since running services are also found
    /// without it. So is one that came with a copied folder: it tells of the services of another workspace.
    pub(super) fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(file(folder)).unwrap_or_default();
        let record: Self = serde_json::from_str(&text).unwrap_or_default();
        let ours = record.mode == Mode::Docker || record.kafka.data.starts_with(folder);
        if ours { record } else { Self::default() }
    }

    /// Writes the record whole or not at all: readers take no lock.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let (file, new) = (file(folder), folder.join("services.json.new"));
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        fs::write(&new, text + "\n").map_err(at(&new))?;
        fs::rename(&new, &file).map_err(at(&file))
    }

    /// Forgets the services.
    pub(super) fn remove(folder: &Path) {
        let _ = fs::remove_file(file(folder));
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("services.json")
}

/// Makes the folder and waits for its lock, which is let go when the value is dropped or its process ends. Services do
/// not inherit it.
pub(super) fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(at(&path))?;
    if file.try_lock().is_err() {
        say("waiting for another process that starts or stops the services");
        file.lock().map_err(at(&path))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_written_and_a_bad_one_is_empty() {
        let folder = std::env::temp_dir().join(format!("amends-record-{}", std::process::id()));
        assert_eq!(Record::read(&folder).kafka.port, 0);
        let held = lock(&folder).unwrap();
        let mut record = Record { mode: Mode::Docker, ..Record::default() };
        record.kafka.port = 7;
        record.write(&folder).unwrap();
        let read = Record::read(&folder);
        assert_eq!((read.mode, read.kafka.port, read.postgres.pid), (Mode::Docker, 7, None));
        record.mode = Mode::Native;
        record.kafka.data = folder.join("kafka/data");
        record.write(&folder).unwrap();
        assert_eq!(Record::read(&folder).kafka.port, 7);
        record.kafka.data = "/elsewhere/kafka/data".into();
        record.write(&folder).unwrap();
        assert_eq!(Record::read(&folder).kafka.port, 0, "of a copied folder");
        fs::write(file(&folder), "{\"kafka\": {\"po").unwrap();
        assert_eq!(Record::read(&folder).kafka.port, 0);
        drop(held);
        fs::remove_dir_all(&folder).unwrap();
    }
}
