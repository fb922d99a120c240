//! A Postgres of this workspace's own: made once, started by its own `pg_ctl`.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, geteuid};

use super::error::{Error, Result, at};
use super::process::{self, Mark, run};
use super::record::Postgres;
use super::tools::succeeds;
use super::{StopMode, say};

/// Its role and its database, as in the compose file.
pub(super) const NAME: &str = "amends";

/// The usual port; not Postgres' own, which a Postgres of the machine may hold.
pub(super) const PORT: u16 = 7432;

/// Recovery after a crash replays up to `max_wal_size` of log.
const START_LONGEST: Duration = Duration::from_secs(120);

/// For how long a start is tried again: after a postmaster was killed its backends take a moment to notice, and until
/// then Postgres rightly refuses to start on their data.
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// How long a stop in order may take: it writes all changed pages to disk.
const STOP_LONGEST: Duration = Duration::from_secs(60);

const SETTINGS: &str = include_str!("../../postgres/amends.conf");

/// Whom Postgres runs as where it must not run as us.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// Finds the running postmaster.
pub(super) fn find(record: &Postgres) -> Option<u32> {
    let data = record.data.to_str().filter(|data| !data.is_empty())?;
    Mark { program: "postgres", args: vec!["-D", data] }.find(record.pid)
}

/// Whether it takes sessions; one whose sessions are all taken answers too.
pub(super) fn answers(record: &Postgres) -> bool {
    let port = record.port.to_string();
    succeeds(record.bin.join("pg_isready"), &["-q", "-h", "127.0.0.1", "-p", &port, "-U", NAME, "-d", "postgres"])
}

/// Starts it on its data, which is made if there is none; the record's port and programs must be chosen.
pub(super) fn start(record: &mut Postgres) -> Result<()> {
    let user = user()?;
    let folder = record.data.parent().unwrap_or(&record.data).to_owned();
    prepare(&folder, user).map_err(at(&folder))?;
    if !record.data.join("PG_VERSION").exists() {
        init(record, user)?;
    }
    let settings = record.data.join("amends.conf");
    fs::write(&settings, SETTINGS.replace("{port}", &record.port.to_string())).map_err(at(&settings))?;

    say(&format!("postgres: starting on port {}", record.port));
    let mut refused = None;
    let up = process::until(RETRY_LONGEST, || {
        refused = pg_ctl(record, user, &["start", "-w", "-s", "-l", &record.log.to_string_lossy()]).err();
        refused.is_none()
    });
    record.pid = find(record);
    if !up || !process::until(RETRY_LONGEST, || answers(record)) {
        let tail = format!("{}\n{}", process::tail(&record.log), refused.map_or_else(String::new, |e| e.to_string()));
        return Err(Error::Silent { service: "postgres", log: record.log.clone(), tail });
    }
    let databases = psql(record, &["SELECT datname FROM pg_database"])?;
    if !databases.lines().any(|name| name == NAME) {
        psql(record, &[&format!("CREATE DATABASE {NAME}")])?;
    }
    Ok(())
}

/// Stops it; a postmaster that is not there is fine.
pub(super) fn stop(record: &mut Postgres, mode: StopMode) -> Result<()> {
    if let Some(pid) = find(record) {
        // What pg_ctl would send; unlike it this works where the data was removed under the server.
        let (name, signal, longest) = match mode {
            StopMode::Fast => ("fast", Signal::INT, STOP_LONGEST),
            StopMode::Immediate => ("immediate", Signal::QUIT, RETRY_LONGEST),
        };
        say(&format!("postgres: stopping ({name})"));
        process::signal(pid, signal);
        if !process::wait_gone(pid, longest) {
            return Err(Error::Stuck { service: "postgres", pid });
        }
    }
    record.pid = None;
    Ok(())
}

/// Runs statements, each in a transaction of its own, and gives the rows bare.
pub(super) fn psql(record: &Postgres, statements: &[&str]) -> Result<String> {
    if record.port == 0 {
        return Err(Error::NotUp("postgres"));
    }
    let mut command = Command::new(record.bin.join("psql"));
    command
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", NAME, "-d", "postgres"])
        .args(["-p", &record.port.to_string()])
        // A developer's own settings may demand what a server on loopback does not offer.
        .env("PGSSLMODE", "disable")
        .env("PGCONNECT_TIMEOUT", "10")
        .env_remove("PGOPTIONS");
    for statement in statements {
        command.args(["-c", statement]);
    }
    run("psql", &mut command)
}

/// Where the data goes: under the services' folder, or where the user that Postgres runs as cannot get there, to a
/// folder of the system's temporary one that is named after it.
pub(super) fn home(services: &Path) -> Result<PathBuf> {
    let usual = services.join("postgres");
    let user = user()?;
    if prepare(&usual, user).is_ok() {
        return Ok(usual);
    }
    let mut hasher = DefaultHasher::new();
    services.hash(&mut hasher);
    let other = std::env::temp_dir().join(format!("amends-postgres-{:016x}", hasher.finish()));
    say(&format!("postgres: its user cannot get to {}; the data goes to {}", usual.display(), other.display()));
    prepare(&other, user).map_err(at(&other))?;
    Ok(other)
}

/// Makes a folder that Postgres' user owns and can get to.
fn prepare(folder: &Path, user: Option<User>) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let Some(User { uid, gid }) = user else { return Ok(()) };
    chown(folder, Some(uid), Some(gid))?;
    // Only that user can tell whether all the folders above let it through.
    let test = as_user(Path::new("/bin/sh"), user).args(["-c", "cd \"$0\" && test -w ."]).arg(folder).output()?;
    if test.status.success() { Ok(()) } else { Err(std::io::ErrorKind::PermissionDenied.into()) }
}

/// Makes the data under another name first, so that an interrupted attempt is not taken for a database.
fn init(record: &Postgres, user: Option<User>) -> Result<()> {
    say(&format!("postgres: making a database in {}", record.data.display()));
    let new = record.data.with_extension("new");
    remove(&new)?;
    let mut initdb = as_user(&record.bin.join("initdb"), user);
    initdb.args(["-U", NAME, "--auth=trust", "--encoding=UTF8", "--no-locale", "-D"]).arg(&new);
    run("initdb", &mut initdb)?;
    let settings = new.join("postgresql.conf");
    let mut text = fs::read_to_string(&settings).map_err(at(&settings))?;
    text.push_str("include 'amends.conf'\n");
    fs::write(&settings, text).map_err(at(&settings))?;
    fs::rename(&new, &record.data).map_err(at(&record.data))
}

/// Removes a folder with all in it; one that is not there is fine.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

fn pg_ctl(record: &Postgres, user: Option<User>, args: &[&str]) -> Result<String> {
    let mut command = as_user(&record.bin.join("pg_ctl"), user);
    command.arg("-D").arg(&record.data).args(["-t", &START_LONGEST.as_secs().to_string()]).args(args);
    run(&format!("pg_ctl {}", args[0]), &mut command)
}

/// A command that runs as that user, from a folder that everyone can be in.
fn as_user(program: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Postgres refuses to run as root; then it runs as the user that its package made, or as nobody.
fn user() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let passwd = Path::new("/etc/passwd");
    let text = fs::read_to_string(passwd).map_err(at(passwd))?;
    let entry = |name: &str| {
        let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
        Some(User { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
    };
    let none = || at(passwd)(std::io::Error::other("neither postgres nor nobody is a user, and root may not run it"));
    entry("postgres").or_else(|| entry("nobody")).map(Some).ok_or_else(none)
}
