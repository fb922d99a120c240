//! The four layers, merged so that the one nearest to the user wins and every value knows which it came from.

use std::ffi::OsString;
use std::path::Path;

use config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::check;
use super::keys::{Fallback, KEYS, Key, Kind};
use crate::error::{CliError, Exit};

/// What a value is said to come from that nobody has set.
pub(super) const DEFAULT: &str = "default";

/// What the flags of a command set: key, flag, value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(Layer);

impl Flags {
    /// Adds a flag, if it was given.
    pub(crate) fn set(mut self, path: &str, flag: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.0.add(path, value.to_string(), &format!("flag {flag}"));
        }
        self
    }
}

/// Values of one kind of source.
#[derive(Clone, Default)]
struct Layer(Map<String, Value>);

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secret.
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    fn add(&mut self, path: &str, value: impl Into<ValueKind>, origin: &str) {
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default().to_owned();
        // By hand rather than by a path expression: the names of participants may hold what those do not.
        let mut at = self.0.entry(first).or_insert_with(|| Value::new(None, ValueKind::Nil));
        for part in parts {
            if !matches!(at.kind, ValueKind::Table(_)) {
                *at = Value::new(None, ValueKind::Table(Map::new()));
            }
            let ValueKind::Table(table) = &mut at.kind else { return };
            at = table.entry(part.to_owned()).or_insert_with(|| Value::new(None, ValueKind::Nil));
        }
        *at = Value::new(Some(&origin.to_owned()), value);
    }
}

/// Merges defaults, file, environment and flags.
pub(super) fn merge(
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    flags: Flags,
) -> Result<Config, CliError> {
    let mut layers = Config::builder().add_source(defaults());
    if let Some(path) = file {
        layers = layers.add_source(read(path)?);
    }
    layers.add_source(from_environment(environment)?).add_source(flags.0).build().map_err(|error| {
        CliError::new(Exit::Usage, "the configuration cannot be read").why(error).next("amends config show")
    })
}

fn defaults() -> Layer {
    let mut layer = Layer::default();
    for key in KEYS {
        if let Fallback::Value(value) = key.default
            && !key.is_per_participant()
        {
            layer.add(key.path, value, DEFAULT);
        }
    }
    layer
}

/// Reads the file and checks it by itself: a wrong key in it must not hide behind a right one from elsewhere.
fn read(path: &Path) -> Result<Config, CliError> {
    let shown = path.display();
    let wrong = |why: String| {
        CliError::new(Exit::Usage, format!("{shown} cannot be read")).why(why).next("amends config show --config FILE")
    };
    let file = Config::builder().add_source(File::from(path).format(FileFormat::Toml)).build();
    let file = file.map_err(|error| match error {
        ConfigError::FileParse { cause, .. } => wrong(cause.to_string().trim_end().to_owned()),
        error => wrong(error.to_string()),
    })?;
    check::entries(&file.cache)?;
    Ok(file)
}

fn from_environment(environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Layer, CliError> {
    let mut layer = Layer::default();
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with("AMENDS_")) else { continue };
        let Some((key, path)) = KEYS.iter().find_map(|key| Some((key, path_of(key, name)?))) else { continue };
        let Some(value) = value.to_str() else {
            return Err(CliError::new(Exit::Usage, format!("{name} is not text")).next("amends config explain KEY"));
        };
        // Set to nothing counts as not set: compose files and shells can hardly unset a variable.
        if value.is_empty() {
            continue;
        }
        let origin = format!("environment {name}");
        match key.kind {
            Kind::Table => layer.add(&path, table(value, name, &origin)?, &origin),
            _ => layer.add(&path, value, &origin),
        }
    }
    Ok(layer)
}

/// The path that a variable sets, if it is one of this key's.
fn path_of(key: &Key, variable: &str) -> Option<String> {
    let Some((before, after)) = key.env.split_once("<NAME>") else {
        return (key.env == variable).then(|| key.path.to_owned());
    };
    let name = variable.strip_prefix(before)?.strip_suffix(after)?;
    (!name.is_empty()).then(|| key.path_for(&name.to_ascii_lowercase()))
}

fn table(text: &str, variable: &str, origin: &str) -> Result<ValueKind, CliError> {
    let mut table = Map::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(CliError::new(Exit::Usage, format!("{variable} is not a list of NAME=VALUE"))
                .next(format!("{variable}=security.protocol=SSL,ssl.ca.location=/etc/ca.pem")));
        };
        table.insert(name.trim().to_owned(), Value::new(Some(&origin.to_owned()), value.trim()));
    }
    Ok(ValueKind::Table(table))
}
