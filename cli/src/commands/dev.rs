//! `amends dev`: everything in this process, kept in one place.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use amends_engine::api::ApiOptions;
use amends_engine::{Ended, Engine};
use amends_proto::orders::v1::order_service_server::OrderServiceServer;
use chrono::Local;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;

use crate::args::{DevArgs, Global, Participants};
use crate::embedded::{Embedded, Options, participants_path};
use crate::error::{CliError, Exit};
use crate::gateway::Orders;
use crate::order_mix;
use crate::output::saga_line;
use crate::signals::Stop;

/// Orders a second of `--fail-rate` without `--demo`.
const DEMO_RATE: f64 = 2.0;

/// The demo's share of failing orders unless told otherwise.
const DEMO_FAIL_RATE: f64 = 0.25;

pub(crate) async fn run(_global: &Global, args: DevArgs) -> Result<(), CliError> {
    init_log();
    let address = format!("127.0.0.1:{}", args.port);
    // Before the database is touched: a second `amends dev` shall fail on the port, which the user can change.
    let listener = TcpListener::bind(&address).await.map_err(|error| port_taken(args.port, &error))?;
    let address = listener.local_addr().map_or(address, |bound| bound.to_string());
    if args.reset {
        reset(&args.db)?;
    }
    let options = Options { db: &args.db, participants: Participants::Full, lanes: 1, address: address.clone() };
    let embedded = Embedded::start(options).await?;
    let engine = embedded.engine.clone();
    let cancel = CancellationToken::new();
    let router = router(&embedded, &cancel);
    let server = tokio::spawn(amends_engine::api::serve(listener, router, cancel.clone()));
    let ended = engine.ended();
    banner(&args.db, &address)?;
    let printer = tokio::spawn(print_ends(ended));
    if args.demo.is_some() || args.fail_rate.is_some() {
        let rate = args.demo.unwrap_or(DEMO_RATE);
        tokio::spawn(demo(engine, rate, args.fail_rate.unwrap_or(DEMO_FAIL_RATE), cancel.clone()));
    }
    Stop::listen().requested().await;
    let _ = writeln!(anstream::stderr(), "\n  stopping; unfinished orders carry on at the next start");
    cancel.cancel();
    printer.abort();
    let served = server.await;
    embedded.stop().await;
    served
        .unwrap_or_else(|died| Err(died.into()))
        .map_err(|error| CliError::new(Exit::Other, "the server failed").why(error).next("amends dev"))
}

/// Engine, order gateway and participants' reads on one port.
fn router(embedded: &Embedded, cancel: &CancellationToken) -> axum::Router {
    let orders = Orders::new(embedded.engine.clone(), Arc::new(embedded.participants.clone()));
    let http = amends_participants::routes(embedded.participants.clone()).merge(orders.clone().routes());
    let mut grpc = RoutesBuilder::default();
    grpc.add_service(OrderServiceServer::new(orders));
    let options = ApiOptions {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: "embedded".to_owned(),
        reflection: true,
        shutdown: cancel.clone(),
    };
    amends_engine::api::router(embedded.engine.clone(), http, grpc, options)
}

/// Logs go to standard error; warnings only, unless `AMENDS_LOG` says otherwise.
fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AMENDS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

fn port_taken(port: u16, error: &std::io::Error) -> CliError {
    let what = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("port {port} is taken; another program, or another amends, listens there")
        }
        _ => format!("cannot listen on port {port}"),
    };
    CliError::new(Exit::Other, what).why(error).next(format!("amends dev --port {}", port.saturating_add(1)))
}

/// Removes the files of an earlier run. The store's own lock keeps a running engine's files safe: it is asked first.
fn reset(db: &str) -> Result<(), CliError> {
    if db == ":memory:" {
        return Ok(());
    }
    amends_engine::store::sqlite::SqliteStore::check_unused(db).map_err(|error| {
        CliError::new(Exit::Refused, format!("cannot reset {db}")).why(error).next("stop the other amends first")
    })?;
    for file in [db.to_owned(), participants_path(db)] {
        for suffix in ["", "-wal", "-shm"] {
            let path = format!("{file}{suffix}");
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let error = CliError::new(Exit::Other, format!("cannot remove {path}")).why(error);
                    return Err(error.next("amends dev --db OTHER.db"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn banner(db: &str, address: &str) -> Result<(), CliError> {
    let version = env!("CARGO_PKG_VERSION");
    let kept = match db {
        ":memory:" => "kept in memory only".to_owned(),
        db => format!("kept in {db}"),
    };
    let body = r#"{"user_id":"user_123","items":[{"product_id":"LAPTOP001","quantity":1,"price":1299.99}]}"#;
    let server = if address.ends_with(":7400") { String::new() } else { format!(" --server http://{address}") };
    let mut out = anstream::stdout();
    writeln!(out, "  amends {version} · embedded · everything in this process, {kept}")?;
    writeln!(out, "  API  http://{address}/v1      gRPC  {address}")?;
    writeln!(out, "  Try       amends order submit{server} -d '{body}' --wait")?;
    writeln!(out, "            curl --json '{body}' {address}/orders")?;
    writeln!(out, "  Stop with Ctrl-C; run again and unfinished orders carry on.\n")?;
    out.flush()?;
    Ok(())
}

/// A line per saga that ends or parks.
async fn print_ends(mut ended: tokio::sync::broadcast::Receiver<Ended>) {
    loop {
        match ended.recv().await {
            Ok(Ended { saga }) => {
                let time = Local::now().format("%H:%M:%S");
                // Whoever read the output has gone; the engine goes on.
                let _ = writeln!(anstream::stdout(), "  {time} {}", saga_line::render(&saga));
            }
            Err(RecvError::Lagged(count)) => {
                let _ = writeln!(anstream::stdout(), "           … {count} more");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Submits made-up orders at a steady rate until cancelled.
async fn demo(engine: Engine, rate: f64, fail_rate: f64, cancel: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate.clamp(0.01, 10_000.0)));
    let mut number = u64::try_from(engine.now().0).unwrap_or(0);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = cancel.cancelled() => return,
        }
        number += 1;
        if let Err(error) = engine.start_saga(order_mix::start(&engine, number, fail_rate)).await {
            tracing::warn!(%error, "a demo order was not accepted");
        }
    }
}
