//! What the program runs with: flags over environment over file over defaults, each value with where it came from.
//!
//! [`keys`] describes every key once. The layers are merged by the `config` crate; what they hold is checked against
//! that table first, so that a complaint names the place, the key and what would be right.

mod check;
pub(crate) mod keys;
mod layers;
pub(crate) mod secret;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

pub(crate) use self::check::Entry;
pub(crate) use self::layers::Flags;
use crate::error::{CliError, Exit};

/// Looked for in this order where neither flag nor environment names a file.
const DEFAULT_FILES: [&str; 2] = ["amends.toml", "/etc/amends/amends.toml"];

/// The flag of every command that is configured.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration; ./amends.toml or /etc/amends/amends.toml where there is one
    #[arg(long, env = "AMENDS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// The configuration with where each value came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The values.
    pub(crate) settings: Settings,
    /// The same for people, in the order of the table.
    pub(crate) entries: Vec<Entry>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
}

/// Everything that can be configured; see [`keys::KEYS`] for what it means.
#[derive(Debug, Deserialize)]
pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) advertise: Option<String>,
    pub(crate) store: StoreSettings,
    pub(crate) bus: BusSettings,
    pub(crate) engine: EngineSettings,
    #[serde(default)]
    pub(crate) participants: BTreeMap<String, ParticipantSettings>,
    #[serde(default)]
    pub(crate) worker: WorkerSettings,
    pub(crate) log: LogSettings,
}

/// `store.…`
#[derive(Debug, Deserialize)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "without Postgres nothing asks for the connections"))]
pub(crate) struct StoreSettings {
    pub(crate) url: Option<SecretString>,
    pub(crate) connections: u32,
}

/// `bus.…`
#[derive(Debug, Deserialize)]
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "without Kafka only the URL is asked for, to say so"))]
pub(crate) struct BusSettings {
    pub(crate) url: Option<String>,
    pub(crate) prefix: String,
    pub(crate) partitions: i32,
    pub(crate) replication: Option<i32>,
    #[serde(default)]
    pub(crate) properties: BTreeMap<String, SecretString>,
}

/// `engine.…`
#[derive(Debug, Deserialize)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "without Postgres there are no leases"))]
pub(crate) struct EngineSettings {
    pub(crate) lanes: Option<usize>,
    pub(crate) in_flight_max: usize,
    #[serde(deserialize_with = "duration")]
    pub(crate) lease_ttl: Duration,
    pub(crate) shards: Option<u16>,
}

/// `participants.<name>.…`
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ParticipantSettings {
    pub(crate) courier: Option<CourierKind>,
    pub(crate) url: Option<String>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) http: Option<String>,
}

/// How commands reach a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CourierKind {
    Kafka,
    Grpc,
}

/// `worker.…`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct WorkerSettings {
    pub(crate) store: Option<SecretString>,
}

/// `log.…`
#[derive(Debug, Deserialize)]
pub(crate) struct LogSettings {
    pub(crate) format: String,
    pub(crate) level: String,
}

/// Reads the configuration of a command that was started with these flags.
pub(crate) fn load(args: &ConfigArgs, flags: Flags) -> Result<Loaded, CliError> {
    let file = match &args.config {
        Some(named) if !named.is_file() => {
            return Err(CliError::new(Exit::Usage, format!("there is no configuration file {}", named.display()))
                .why("it was named by --config or AMENDS_CONFIG")
                .next("amends config show, without it"));
        }
        Some(named) => Some(named.clone()),
        None => DEFAULT_FILES.iter().map(PathBuf::from).find(|file| file.is_file()),
    };
    load_from(file.as_deref(), std::env::vars_os(), flags)
}

pub(crate) fn load_from(
    file: Option<&Path>,
    environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    flags: Flags,
) -> Result<Loaded, CliError> {
    let merged = layers::merge(file, environment, flags)?;
    let entries = check::entries(&merged.cache)?;
    let settings = merged.try_deserialize().map_err(|error| {
        CliError::new(Exit::Usage, "the configuration cannot be read").why(error).next("amends config show")
    })?;
    Ok(Loaded { settings, entries, file: file.map(Path::to_owned) })
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
