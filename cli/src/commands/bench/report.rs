//! What the bench prints: rate, latencies, outcomes, and what it cost this process.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::{Seen, is_json};
use crate::args::{BenchArgs, Global};
use crate::error::CliError;

/// Clock ticks a second in `/proc`: fixed at 100 for user space on Linux.
const TICKS: f64 = 100.0;

/// What this process has used so far.
pub(super) struct Usage {
    cpu_seconds: f64,
    written_bytes: f64,
}

impl Usage {
    /// Reads it from the kernel; `None` where there is no `/proc`.
    pub(super) fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may hold spaces; the 12th and 13th fields after it are user and system time.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        let io = std::fs::read_to_string("/proc/self/io").ok()?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()?;
        Some(Self { cpu_seconds: ticks / TICKS, written_bytes: written })
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            written_bytes: self.written_bytes - before.written_bytes,
        }
    }
}

pub(super) fn print(
    global: &Global,
    args: &BenchArgs,
    seen: &Seen,
    took: Duration,
    used: Option<Usage>,
) -> Result<(), CliError> {
    let ended = seen.completed + seen.compensated;
    let rate = ended as f64 / took.as_secs_f64();
    let [p50, p95, p99] = [0.50, 0.95, 0.99].map(|part| quantile_ms(&seen.latencies, part));
    let per_saga = |total: f64| total / (ended.max(1) as f64);
    let cpu_ms = used.as_ref().map(|used| per_saga(used.cpu_seconds) * 1_000.0);
    let written_kb = used.as_ref().map(|used| per_saga(used.written_bytes) / 1_000.0);
    let mut out = anstream::stdout();
    if is_json(global) {
        let report = json!({
            "orders": args.orders, "concurrency": args.concurrency, "seconds": took.as_secs_f64(),
            "sagas_per_second": rate, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
            "completed": seen.completed, "compensated": seen.compensated, "parked": seen.parked, "failed": seen.failed,
            "cpu_ms_per_saga": cpu_ms, "written_kb_per_saga": written_kb,
        });
        writeln!(out, "{report}")?;
        return Ok(());
    }
    let BenchArgs { orders, concurrency, participants, .. } = args;
    let place = match &args.target {
        Some(target) => target.clone(),
        None => format!("{participants} participants, embedded (SQLite, in-process, durable)"),
    };
    writeln!(out, "  {orders} orders, {concurrency} in flight, {place}")?;
    writeln!(out, "  rate      {rate:.0} sagas/s over {:.2} s", took.as_secs_f64())?;
    writeln!(out, "  latency   p50 {p50:.2} ms · p95 {p95:.2} ms · p99 {p99:.2} ms")?;
    let Seen { completed, compensated, parked, failed, .. } = seen;
    writeln!(out, "  outcomes  {completed} completed · {compensated} compensated · {parked} parked · {failed} failed")?;
    if let Some((cpu, written)) = cpu_ms.zip(written_kb) {
        writeln!(out, "  cost      {cpu:.3} ms CPU and {written:.2} kB written per saga, load generator included")?;
    }
    Ok(())
}

fn quantile_ms(sorted: &[Duration], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
}
