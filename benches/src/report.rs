//! One measured run, the median of some, and how they are shown.

use std::collections::BTreeMap;

use serde_json::json;
use xtask::services::Services;

use crate::BenchError;
use crate::cluster::Cluster;
use crate::usage::Usage;

/// What one run gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) sagas_per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    ended: f64,
    failed: f64,
    /// CPU milliseconds per saga, by part.
    cpu_ms: BTreeMap<&'static str, f64>,
    wal_kb: f64,
}

/// Drives orders through a cluster and measures what that costs.
pub(crate) fn measure(
    services: &Services,
    cluster: &mut Cluster<'_>,
    orders: u64,
    concurrency: u64,
    fail_rate: f64,
) -> Result<Measured, BenchError> {
    let parts = cluster.parts();
    let before = Usage::now(services, &parts)?;
    let (report, load_cpu) = cluster.load(orders, concurrency, fail_rate)?;
    let used = Usage::now(services, &parts)?.since(&before);
    let number = |name: &str| report[name].as_f64().unwrap_or_default();
    let ended = number("completed") + number("compensated");
    let per_saga = |total: f64| total / ended.max(1.0);
    let mut cpu_ms: BTreeMap<_, _> =
        used.cpu_seconds.iter().map(|(part, seconds)| (*part, per_saga(seconds * 1_000.0))).collect();
    cpu_ms.insert("load", per_saga(load_cpu * 1_000.0));
    Ok(Measured {
        sagas_per_second: number("sagas_per_second"),
        p50_ms: number("p50_ms"),
        p95_ms: number("p95_ms"),
        p99_ms: number("p99_ms"),
        ended,
        failed: number("failed") + number("parked"),
        cpu_ms,
        wal_kb: per_saga(used.wal_bytes / 1_000.0),
    })
}

/// The run with the middle rate.
pub(crate) fn median(runs: &[Measured]) -> Measured {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|a, b| a.sagas_per_second.total_cmp(&b.sagas_per_second));
    sorted.get(sorted.len() / 2).cloned().unwrap_or_default()
}

#[allow(clippy::print_stdout, reason = "this is the bench's output")]
pub(crate) fn print(name: &str, measured: &Measured, as_json: bool) {
    let Measured { sagas_per_second, p50_ms, p95_ms, p99_ms, ended, failed, cpu_ms, wal_kb } = measured;
    let cpu_total: f64 = cpu_ms.values().sum();
    if as_json {
        let report = json!({
            "name": name, "sagas_per_second": sagas_per_second, "p50_ms": p50_ms, "p95_ms": p95_ms, "p99_ms": p99_ms,
            "ended": ended, "failed": failed, "cpu_ms_per_saga": cpu_ms, "cpu_ms_per_saga_total": cpu_total,
            "wal_kb_per_saga": wal_kb,
        });
        return println!("{report}");
    }
    let parts: Vec<_> = cpu_ms.iter().map(|(part, ms)| format!("{part} {ms:.3}")).collect();
    println!("{name}");
    println!("  rate      {sagas_per_second:.0} sagas/s · {ended} ended · {failed} failed or parked");
    println!("  latency   p50 {p50_ms:.2} ms · p95 {p95_ms:.2} ms · p99 {p99_ms:.2} ms");
    println!("  CPU       {cpu_total:.3} ms per saga: {}", parts.join(" · "));
    println!("  WAL       {wal_kb:.2} kB per saga");
}
