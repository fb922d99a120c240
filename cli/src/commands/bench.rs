//! `amends bench`: how fast orders go through, here or on a running server.

mod embedded;
mod remote;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amends_core::Status;
use async_trait::async_trait;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::args::{BenchArgs, Global, OutputFormat};
use crate::error::{CliError, Exit};

/// Drives one order to its end; the two implementations are the two ways to reach an engine.
#[async_trait]
trait Load: Send + Sync {
    /// Submits the `number`th order and waits until its saga has ended or parked.
    async fn drive(&self, number: u64) -> Result<Status, CliError>;
}

/// What the workers saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    completed: u64,
    compensated: u64,
    parked: u64,
    failed: u64,
    failure: Option<CliError>,
}

pub(crate) async fn run(global: &Global, args: BenchArgs) -> Result<(), CliError> {
    match &args.target {
        Some(target) => {
            let load = remote::Remote::connect(target, args.fail_rate.unwrap_or(0.0)).await?;
            if let Some(on_hand) = args.stock {
                remote::stock_up(target, on_hand).await?;
            }
            let (seen, took) = measure(Arc::new(load), &args).await;
            report::print(global, &args, &seen, took, None)?;
            finish(seen)
        }
        None => {
            let embedded = embedded::start(&args).await?;
            let before = report::Usage::now();
            let (seen, took) = measure(embedded.load(args.fail_rate.unwrap_or(0.0)), &args).await;
            let used = before.zip(report::Usage::now()).map(|(before, after)| after.since(&before));
            embedded.stop().await;
            report::print(global, &args, &seen, took, used)?;
            finish(seen)
        }
    }
}

fn finish(seen: Seen) -> Result<(), CliError> {
    seen.failure.map_or(Ok(()), Err)
}

/// Keeps `concurrency` orders in flight until all are through.
async fn measure(load: Arc<dyn Load>, args: &BenchArgs) -> (Seen, Duration) {
    let progress = progress(args);
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..args.concurrency.min(args.orders) {
        let (load, next, progress, orders) = (load.clone(), next.clone(), progress.clone(), args.orders);
        workers.spawn(async move {
            let mut seen = Seen::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= orders {
                    return seen;
                }
                let submitted = Instant::now();
                let result = load.drive(number).await;
                seen.latencies.push(submitted.elapsed());
                match result {
                    Ok(Status::Completed) => seen.completed += 1,
                    Ok(Status::Compensated) => seen.compensated += 1,
                    Ok(_) => seen.parked += 1,
                    Err(error) => {
                        seen.failed += 1;
                        seen.failure = Some(error);
                    }
                }
                progress.inc(1);
            }
        });
    }
    let mut all = Seen::default();
    while let Some(joined) = workers.join_next().await {
        match joined {
            Ok(seen) => all.add(seen),
            Err(error) => all.failure = Some(CliError::new(Exit::Other, "a worker of the bench died").why(error)),
        }
    }
    let took = began.elapsed();
    progress.finish_and_clear();
    all.latencies.sort_unstable();
    (all, took)
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.completed += other.completed;
        self.compensated += other.compensated;
        self.parked += other.parked;
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
    }
}

/// Drawn on a terminal only.
fn progress(args: &BenchArgs) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} orders · {per_sec} · {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(args.orders).with_style(style)
}

/// The line of the report that `-o json` replaces.
fn is_json(global: &Global) -> bool {
    matches!(global.output, OutputFormat::Json | OutputFormat::Jsonl)
}
