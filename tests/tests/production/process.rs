//! One process of `amends` with its log in a file, which can be killed, stopped for a while, or told to end.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use amends_tests::program::{binary, build_folder};

/// How long anything may take that is promised to happen soon. Far longer than it ever takes: machines stall.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// Between two looks at something that is about to happen.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Lines of a log that a failure shows, and characters of each.
const TAIL: usize = 4;
const WIDTH: usize = 240;

/// What the last panic said, and where.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// A running process; killed when dropped.
pub(crate) struct Process {
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a command whose output is added to `log`.
    pub(crate) fn start(log: &Path, mut command: Command) -> Self {
        let open = || OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let child = command.stdout(open()).stderr(open()).spawn().expect("the program starts");
        Self { log: log.to_owned(), child }
    }

    /// Sends a signal by its name, e.g. `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "{signal} was not sent");
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// Asks it to stop with SIGTERM, and waits until it has.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        eventually("a process stops", || std::future::ready(self.child.try_wait().expect("its status"))).await
    }

    /// Fails if it has ended by itself.
    pub(crate) fn assert_alive(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("{} has ended with {status}:\n{}", self.log.display(), tail(&self.log));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, or have been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a file.
pub(crate) fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<String> = text.lines().map(|line| line.chars().take(WIDTH).collect()).collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// Keeps what a panic says, for [`last_panic`].
pub(crate) fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
            before(panic);
        }));
    });
}

/// What the last panic said: to be repeated below the logs, since often a part of a long output is all that is kept.
pub(crate) fn last_panic() -> String {
    PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The program, with nothing in its environment that changes what it does.
pub(crate) fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AMENDS_")) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end; gives what it printed, or what it complained about.
pub(crate) async fn run(mut command: Command) -> Result<String, String> {
    command.stdin(Stdio::null());
    let output = tokio::process::Command::from(command).kill_on_drop(true).output();
    let output = tokio::time::timeout(SOON, output).await.expect("the command ends in time").expect("it can be run");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    Err(format!("{}\n{stdout}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Where a test keeps its logs: `target/production/TEST`, empty.
pub(crate) fn log_folder(test: &str) -> PathBuf {
    let folder = build_folder().parent().expect("target").join("production").join(test);
    // There may be none yet.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the logs");
    folder
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

/// Tells who looks on.
#[allow(clippy::print_stderr, reason = "shown with a failure, and with --nocapture")]
pub(crate) fn say(text: &str) {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    eprintln!("production, {:>5.1} s: {text}", BEGUN.get_or_init(Instant::now).elapsed().as_secs_f64());
}
