//! The programs that the services need, where they are on this machine, and how they get there.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::geteuid;

use super::error::{Error, Result};
use super::say;

/// The oldest Java that the broker runs on.
const JAVA_MIN: u32 = 17;

/// Debian's packages with a Java that will do, the preferred first; which of them there are depends on the release.
const JAVA_PACKAGES: [&str; 3] = ["openjdk-21-jre-headless", "openjdk-17-jre-headless", "default-jre-headless"];

/// Where the programs are.
pub(super) struct Tools {
    /// The folder of Postgres' programs.
    pub(super) postgres: PathBuf,
    /// The Java machine.
    pub(super) java: PathBuf,
}

/// Finds the programs, and with `install` puts in place what is missing. Maven is needed only to fetch the broker.
pub(super) fn find(install: bool, fetch: bool) -> Result<Tools> {
    if install && !lacking(fetch).is_empty() {
        apt_install(fetch)?;
    }
    match (postgres(), java(), !fetch || maven()) {
        (Some(postgres), Some(java), true) => Ok(Tools { postgres, java }),
        (postgres, java, maven) => {
            let what = [
                (postgres.is_none(), "no Postgres (initdb) under /usr/lib/postgresql nor by pg_config".to_owned()),
                (java.is_none(), format!("no Java {JAVA_MIN} or newer in JAVA_HOME, PATH or /usr/lib/jvm")),
                (!maven, "no Maven (mvn) in PATH, which fetches Kafka".to_owned()),
            ];
            let what: Vec<_> = what.into_iter().filter_map(|(missing, what)| missing.then_some(what)).collect();
            let install = format!("apt-get install {}", lacking(fetch).join(" "));
            Err(Error::Missing { what: what.join("; "), install })
        }
    }
}

/// Whether missing packages are to be installed without being asked: in CI, or where the environment says so.
pub(super) fn install_wanted() -> bool {
    ["AMENDS_XTASK_INSTALL", "CI"]
        .iter()
        .any(|name| env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false")))
}

/// The packages of what is not here.
fn lacking(fetch: bool) -> Vec<&'static str> {
    let mut packages = Vec::new();
    if postgres().is_none() {
        packages.push("postgresql");
    }
    if java().is_none() {
        // Only a trial tells: a release may know a package by name and have none to install.
        let there = |package: &&&str| succeeds("apt-get", &["install", "--simulate", package]);
        packages.push(JAVA_PACKAGES.iter().find(there).copied().unwrap_or("default-jre-headless"));
    }
    if fetch && !maven() {
        packages.push("maven");
    }
    packages
}

fn apt_install(fetch: bool) -> Result<()> {
    if !geteuid().is_root() || !succeeds("apt-get", &["--version"]) {
        say("cannot install packages: that takes root and apt-get");
        return Ok(());
    }
    apt_get(&["update", "--quiet"])?;
    // A fresh image knows of no packages before.
    let packages = lacking(fetch);
    say(&format!("apt-get install {}", packages.join(" ")));
    apt_get(&[&["install", "--quiet", "--yes", "--no-install-recommends"], &packages[..]].concat())
}

/// Its output is shown as it comes, on standard error: standard output belongs to the shell that evaluates it.
fn apt_get(args: &[&str]) -> Result<()> {
    let what = format!("apt-get {}", args.join(" "));
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::Command { what, said: status.to_string() }),
        Err(error) => Err(Error::Command { what, said: error.to_string() }),
    }
}

/// The newest Postgres as Debian lays them out side by side, else the one that `pg_config` names.
fn postgres() -> Option<PathBuf> {
    let complete =
        |bin: &PathBuf| ["initdb", "pg_ctl", "pg_isready", "psql"].iter().all(|program| bin.join(program).exists());
    let newest = entries(Path::new("/usr/lib/postgresql"))
        .filter_map(|version| Some((version.file_name()?.to_str()?.parse::<u32>().ok()?, version.join("bin"))))
        .filter(|(_, bin)| complete(bin))
        .max();
    newest.map(|(_, bin)| bin).or_else(|| {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim())).filter(complete)
    })
}

fn java() -> Option<PathBuf> {
    let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let jvms = entries(Path::new("/usr/lib/jvm")).map(|jvm| jvm.join("bin/java"));
    home.into_iter()
        .chain([PathBuf::from("java")])
        .chain(jvms)
        .find(|java| java_version(java).is_some_and(|version| version >= JAVA_MIN))
}

fn java_version(java: &Path) -> Option<u32> {
    feature_release(&String::from_utf8(Command::new(java).arg("-version").output().ok()?.stderr).ok()?)
}

/// The first number of what `java -version` prints; before Java 9 that was a 1.
fn feature_release(text: &str) -> Option<u32> {
    let version = text.split('"').nth(1)?;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn maven() -> bool {
    succeeds("mvn", &["-version"])
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether a command ends well; what it prints is left out.
pub(super) fn succeeds(program: impl AsRef<OsStr>, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_a_java_is_its_first_number() {
        assert_eq!(feature_release("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(feature_release("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(feature_release("openjdk version \"24-ea\""), Some(24));
        assert_eq!(feature_release("java version \"1.8.0_452\""), Some(1));
        assert_eq!(feature_release("no java here"), None);
    }
}
