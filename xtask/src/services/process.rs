//! Processes and ports of this machine. A process is known by its command line, not by its pid alone: after a crash or
//! a reboot the recorded pid may be somebody else's.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::error::{Error, Result};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(50);

/// How many ports are tried from the usual one on.
const PORTS: u16 = 200;

/// What tells a process of ours from all others: its program and arguments that no other has.
pub(super) struct Mark<'a> {
    pub(super) program: &'a str,
    pub(super) args: Vec<&'a str>,
}

impl Mark<'_> {
    /// Finds the process: the recorded one if it is still that, else the one that bears the mark. A zombie has no
    /// command line, so it does not count.
    pub(super) fn find(&self, recorded: Option<u32>) -> Option<u32> {
        recorded.filter(|pid| self.is_on(*pid)).or_else(|| all().find(|pid| self.is_on(*pid)))
    }

    fn is_on(&self, pid: u32) -> bool {
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let Some((program, args)) = words.split_first() else { return false };
        let program = Path::new(std::str::from_utf8(program).unwrap_or_default()).file_name();
        program.is_some_and(|program| program == self.program)
            && self.args.iter().all(|mark| args.contains(&mark.as_bytes()))
    }
}

fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes whose parent this is.
pub(super) fn children(parent: u32) -> Vec<u32> {
    let mut found: Vec<_> = all().filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent)).collect();
    found.sort_unstable();
    found
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before them is in parentheses and may hold anything, also spaces and parentheses.
    let mut rest = text[text.rfind(')')? + 1..].split_whitespace();
    Some((rest.next()?.chars().next()?, rest.next()?.parse().ok()?))
}

/// Sends a signal; a process that is gone already is fine, the wait that follows says so.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits until a process is gone, or a zombie that only its parent can put away; false if it is there still.
pub(super) fn wait_gone(pid: u32, longest: Duration) -> bool {
    until(longest, || stat(pid).is_none_or(|(state, _)| matches!(state, 'Z' | 'X')))
}

/// Waits until something holds; false if it does not in time.
pub(super) fn until(longest: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if start.elapsed() > longest {
            return false;
        }
        sleep(LOOK);
    }
}

/// Whether a port can be listened on.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The first port from this one on that can be listened on and is not spoken for.
pub(super) fn spare_port(from: u16, taken: &[u16]) -> Option<u16> {
    (from..from.saturating_add(PORTS)).find(|port| !taken.contains(port) && is_free(*port))
}

/// Runs a command to its end and gives what it printed.
pub(super) fn run(what: &str, command: &mut Command) -> Result<String> {
    finish(what, command.output())
}

fn finish(what: &str, output: io::Result<Output>) -> Result<String> {
    let failed = |said: String| Error::Command { what: what.to_owned(), said };
    let output = output.map_err(|error| failed(error.to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(failed(format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))))
}

/// The end of a log.
pub(super) fn tail(log: &Path) -> String {
    const LINES: usize = 12;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_command_line() {
        let seconds = format!("{}.25", 1000 + std::process::id());
        let mark = Mark { program: "sleep", args: vec![&seconds] };
        assert_eq!(mark.find(None), None);
        let mut child = Command::new("sleep").arg(&seconds).spawn().unwrap();
        let pid = child.id();
        assert!(until(Duration::from_secs(5), || mark.find(None) == Some(pid)));
        assert_eq!(mark.find(Some(1)), Some(pid), "a recorded pid that is somebody else's");
        assert!(children(std::process::id()).contains(&pid));
        assert!(!wait_gone(pid, Duration::ZERO));
        signal(pid, Signal::KILL);
        assert!(wait_gone(pid, Duration::from_secs(5)), "nobody waited for it, so it is a zombie, which is gone");
        assert_eq!(mark.find(Some(pid)), None);
        child.wait().unwrap();
    }

    #[test]
    fn a_spare_port_is_neither_held_nor_spoken_for() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        assert!(!is_free(port));
        let spare = spare_port(port, &[port + 1]).unwrap();
        assert!(spare > port + 1);
    }
}
