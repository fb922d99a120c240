//! Runs `amends`: as a server that can be killed, and as commands with exit code and output.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) use amends_tests::program::{binary, free_port};
use reqwest::StatusCode;
use tempfile::TempDir;

use crate::http::{Call, Client};

/// How long anything may take that is promised to happen soon. Far longer than it ever takes: machines stall.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Between two looks at something that is about to happen.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A server in a folder of its own, which is removed with it.
pub(crate) struct Program {
    folder: TempDir,
    db: PathBuf,
    port: u16,
    child: Option<Child>,
    /// Talks to it; keeps doing so after a restart.
    pub(crate) http: Client,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// Starts on new files; returns when it is ready.
    pub(crate) async fn start() -> Self {
        let mut program = Self::prepare();
        program.restart(&[]).await;
        program
    }

    /// Starts on a file elsewhere; returns when it is ready.
    pub(crate) async fn start_on(db: &Path) -> Self {
        let mut program = Self::prepare();
        program.db = db.to_owned();
        program.restart(&[]).await;
        program
    }

    /// Everything but the start.
    pub(crate) fn prepare() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let http = Client::new(&format!("http://127.0.0.1:{port}"));
        Self { db: folder.path().join("amends.db"), folder, port, child: None, http }
    }

    /// Starts again, on the same files and port, with further arguments; returns when it is ready.
    pub(crate) async fn restart(&mut self, arguments: &[&str]) {
        assert!(self.child.is_none(), "it runs already");
        let (stdout, stderr) = (self.log("stdout"), self.log("stderr"));
        let child = command()
            .args(["dev", "--port", &self.port.to_string(), "--db"])
            .arg(&self.db)
            .args(arguments)
            .stdout(stdout)
            .stderr(stderr)
            .spawn();
        self.child = Some(child.expect("the program starts"));
        let started = Instant::now();
        loop {
            if self.http.send(&Call::get("/readyz")).await.is_ok_and(|answer| answer.status == StatusCode::OK) {
                return;
            }
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("the server has ended with {status}: {}", self.stderr());
            }
            assert!(started.elapsed() < SOON, "the server does not become ready: {}", self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it can be waited for");
        }
    }

    /// Asks it to stop with SIGTERM, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(asked.expect("kill runs").success());
        eventually("the server stops", || std::future::ready(child.try_wait().expect("its status"))).await
    }

    /// The engine's database file.
    pub(crate) fn db(&self) -> &Path {
        &self.db
    }

    /// The participants' database file.
    pub(crate) fn participants_db(&self) -> PathBuf {
        self.db.with_extension("participants.db")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn log(&self, name: &str) -> File {
        let path = self.folder.path().join(name);
        OpenOptions::new().create(true).append(true).open(path).expect("a log file")
    }

    /// All that it has written to standard error, over all its starts.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// The same of standard output.
    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stdout")).unwrap_or_default()
    }

    /// Runs a command against this server.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> Run {
        run(command().args(arguments).env("AMENDS_SERVER", self.http.server())).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program, with nothing in its environment that changes what it does.
pub(crate) fn command() -> Command {
    let mut command = Command::new(binary());
    for name in ["AMENDS_SERVER", "AMENDS_PORT", "AMENDS_LOG", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command) -> Run {
    let mut command = tokio::process::Command::from(std::mem::replace(command, Command::new("")));
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).output();
    let output = tokio::time::timeout(SOON, output).await.expect("the command ends in time").expect("it can be run");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("error output is UTF-8"),
    }
}

/// Looks again and again until there is something; fails when that takes too long.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < SOON, "waited {SOON:?} in vain: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
