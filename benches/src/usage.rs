//! What processes have used: CPU from `/proc`, log bytes from Postgres.

use std::collections::BTreeMap;
use std::process::Command;

use xtask::services::Services;

use crate::BenchError;

/// CPU seconds by part of the set-up, and the position of Postgres' log in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: BTreeMap<&'static str, f64>,
    pub(crate) wal_bytes: f64,
}

impl Usage {
    /// Reads everything as it is now. `parts` names the processes that the bench has started.
    pub(crate) fn now(services: &Services, parts: &[(&'static str, u32)]) -> Result<Self, BenchError> {
        let pids = services.pids()?;
        let mut cpu_seconds = BTreeMap::new();
        let mut add = |part, pid, children| *cpu_seconds.entry(part).or_default() += seconds(pid, children);
        // A backend that has ended counts among its parent's waited-for children.
        add("postgres", pids.postmaster, true);
        pids.postgres_children.iter().for_each(|pid| add("postgres", *pid, false));
        add("kafka", pids.kafka, false);
        parts.iter().for_each(|(part, pid)| add(part, *pid, false));
        Ok(Self { cpu_seconds, wal_bytes: wal_bytes(&services.postgres_url)? })
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let spent = |(part, seconds): (&&'static str, &f64)| {
            (*part, seconds - before.cpu_seconds.get(part).copied().unwrap_or_default())
        };
        Self { cpu_seconds: self.cpu_seconds.iter().map(spent).collect(), wal_bytes: self.wal_bytes - before.wal_bytes }
    }
}

/// CPU that a process has used, that of its ended children included if asked for; 0 if it is gone.
fn seconds(pid: u32, children: bool) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    // The name in parentheses may hold spaces; after it, fields 12 to 15 are the process' own and its children's times.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |from: usize, to: usize| -> f64 {
        fields.get(from..to).unwrap_or_default().iter().filter_map(|field| field.parse::<f64>().ok()).sum()
    };
    let ticks = ticks(11, if children { 15 } else { 13 });
    ticks / rustix::param::clock_ticks_per_second() as f64
}

fn wal_bytes(url: &str) -> Result<f64, BenchError> {
    let asked = Command::new("psql").args([url, "-Atc", "select pg_current_wal_lsn() - '0/0'"]).output();
    let answer = asked.map_err(|error| BenchError::Io { doing: "psql cannot be started".to_owned(), error })?;
    let text = String::from_utf8_lossy(&answer.stdout);
    text.trim().parse().map_err(|_| {
        BenchError::Process(format!(
            "postgres does not say where its log is: {}",
            String::from_utf8_lossy(&answer.stderr)
        ))
    })
}
