//! The compose file, as far as ours uses the format. A key that is not here is a mistake.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The file.
#[derive(Debug, Deserialize)]
pub(super) struct Compose {
    #[serde(rename = "name")]
    pub(super) _name: String,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) volumes: BTreeMap<String, Option<IgnoredAny>>,
    pub(super) configs: BTreeMap<String, Config>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) content: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) image: String,
    #[serde(default)]
    pub(super) build: Option<String>,
    #[serde(default)]
    pub(super) entrypoint: Vec<String>,
    #[serde(default)]
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) configs: Vec<Mount>,
    #[serde(default)]
    pub(super) volumes: Vec<String>,
    #[serde(default)]
    pub(super) ports: Vec<String>,
    #[serde(default)]
    pub(super) healthcheck: Option<Healthcheck>,
    #[serde(default)]
    pub(super) depends_on: BTreeMap<String, Dependency>,
    #[serde(default)]
    pub(super) restart: Option<String>,
    #[serde(default, rename = "hostname")]
    _hostname: Option<String>,
    #[serde(default, rename = "init")]
    _init: bool,
    #[serde(default, rename = "stop_grace_period")]
    _stop_grace_period: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mount {
    pub(super) source: String,
    #[serde(rename = "target")]
    _target: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Healthcheck {
    pub(super) test: Vec<String>,
    #[serde(rename = "interval")]
    _interval: String,
    #[serde(rename = "timeout")]
    _timeout: String,
    #[serde(rename = "retries")]
    _retries: u32,
    #[serde(rename = "start_period")]
    _start_period: String,
    #[serde(rename = "start_interval")]
    _start_interval: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dependency {
    pub(super) condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Condition {
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

impl Compose {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    /// The databases that there are: the one made by the image, and those of our script.
    pub(super) fn databases(&self) -> Vec<&str> {
        let made = self.services.values().filter_map(|service| service.environment.get("POSTGRES_DB"));
        let ours = self.configs.values().flat_map(|config| config.content.lines());
        let ours = ours.filter_map(|line| line.strip_prefix("CREATE DATABASE ")?.strip_suffix(';'));
        made.map(String::as_str).chain(ours).collect()
    }
}

impl Service {
    /// Whether it does one thing and ends.
    pub(super) fn is_one_shot(&self) -> bool {
        self.restart.as_deref() == Some("no")
    }

    /// Whether it runs our program.
    pub(super) fn is_ours(&self) -> bool {
        self.build.is_some()
    }

    /// The command lines of our program that it runs, or what else it runs.
    pub(super) fn command_lines(&self) -> Result<Vec<Vec<String>>, String> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        match (self.entrypoint.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), self.command.as_slice()) {
            ([], command) => Ok(vec![command.to_vec()]),
            (["/bin/sh", "-ec"], [script]) => script
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(|line| line.strip_prefix("amends ").map(words).ok_or_else(|| format!("runs {line:?}")))
                .collect(),
            (other, _) => Err(format!("starts by {other:?}")),
        }
    }

    /// Published ports: on the host, and inside.
    pub(super) fn published(&self) -> Vec<(u16, u16)> {
        let pair = |port: &String| {
            let mut parts = port.rsplit(':').map(|part| part.parse().unwrap_or(0));
            let inside = parts.next().unwrap_or(0);
            (parts.next().unwrap_or(0), inside)
        };
        self.ports.iter().map(pair).collect()
    }

    /// The port at which our program serves HTTP.
    pub(super) fn http_port(&self) -> Option<u16> {
        let after_flag = self.command.iter().skip_while(|word| *word != "--http").nth(1);
        let address = after_flag.or_else(|| self.environment.get("AMENDS_LISTEN"))?;
        address.rsplit(':').next()?.parse().ok()
    }
}
