//! Prints how many commands a second each built-in participant answers, durably, and what they cost.
//!
//! `cargo run --release -p amends-participants --features postgres --example participant_rate [PLACE] [COMMANDS] [IN_FLIGHT]`
//!
//! `PLACE` is an empty Postgres database (`postgres://…`) or a file. CPU is that of this process, and of the server's
//! processes for this database if it runs on this machine.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the terminal")]

use std::sync::Arc;
use std::time::Instant;

use amends_participants::{PARTICIPANTS, Restock, host_for, open, restock};
use amends_sdk::{Command, CommandId, Operation, Outcome, Payload, Reply, ReplySink, SagaType, StepName, Timestamp};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Lets as many new commands go as are answered.
struct Counter {
    in_flight: Arc<Semaphore>,
}

#[async_trait]
impl ReplySink for Counter {
    async fn send(&self, replies: Vec<Reply>) {
        assert!(replies.iter().all(|reply| matches!(reply.outcome, Outcome::Done(_))), "{:?}", replies[0]);
        self.in_flight.add_permits(replies.len());
    }
}

fn command(participant: &str, n: usize) -> Command {
    let order = format!("ord_{n:08}");
    let (command, payload) = match participant {
        "order" => {
            let items = json!([{ "product_id": "p1", "quantity": 1, "price": "9.99" }]);
            ("order.create", json!({ "order_id": order, "user_id": "u1", "total": 999, "items": items }))
        }
        "payment" => ("payment.charge", json!({ "order_id": order, "user_id": "u1", "amount": 999 })),
        "inventory" => {
            let item = |at: usize| json!({ "product_id": format!("p{}", at % 5), "quantity": 1 });
            ("inventory.reserve", json!({ "order_id": order, "items": [item(n), item(n + 1 + n % 3)] }))
        }
        _ => ("notification.send", notice(&order)),
    };
    // Time-ordered ids, as the engine gives them.
    let saga_id = format!("{:032x}", 0x0190_0000_0000_7000_8000_0000_0000_0000_u128 + n as u128).parse().unwrap();
    let step = StepName::new(command.replace('.', "_")).unwrap();
    Command {
        id: CommandId::derive(saga_id, &step, Operation::Execute, 0),
        saga_id,
        saga_type: SagaType::new("order").unwrap(),
        step,
        operation: Operation::Execute,
        command: command.into(),
        participant: participant.into(),
        attempt: 1,
        revision: 0,
        redrive: 0,
        deadline: Timestamp(0),
        payload: Payload::encode(&payload).unwrap(),
        cause: None,
    }
}

fn notice(order: &str) -> Value {
    json!({ "order_id": order, "user_id": "u1", "template": "order_confirmed", "total": 999, "currency": "USD" })
}

/// CPU time so far, in seconds: of this process, and of the server's processes for a database.
fn cpu(database: &str) -> (f64, f64) {
    const TICKS: f64 = 100.0;
    let of = |process: &str| -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some((fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?) / TICKS)
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let server = processes.filter_map(|entry| {
        let process = entry.file_name().into_string().ok()?;
        let line = std::fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
        (line.starts_with("postgres: ") && line.contains(&format!(" {database} "))).then(|| of(&process)).flatten()
    });
    (of("self").unwrap_or_default(), server.sum())
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = tempfile::tempdir().unwrap();
    let place = arguments.next().unwrap_or_else(|| folder.path().join("rate.db").to_str().unwrap().to_owned());
    let mut numbers = arguments.map(|number| number.parse::<usize>().unwrap());
    let (commands, in_flight) = (numbers.next().unwrap_or(50_000), numbers.next().unwrap_or(256));
    let database = open(&place).await.unwrap();
    for n in 0..5 {
        restock(&database, Restock::new(&format!("p{n}"), None, 1_000_000_000).unwrap()).await.unwrap();
    }
    let name = place.split('?').next().unwrap().rsplit('/').next().unwrap();
    for participant in PARTICIPANTS {
        let host = host_for(&[participant], &database).unwrap();
        let (sender, receiver) = mpsc::channel(in_flight);
        let free = Arc::new(Semaphore::new(in_flight));
        let sink = Arc::new(Counter { in_flight: Arc::clone(&free) });
        let running = tokio::spawn(async move { host.run(receiver, sink, CancellationToken::new()).await });
        let (started, before) = (Instant::now(), cpu(name));
        for n in 0..commands {
            free.acquire().await.unwrap().forget();
            sender.send(command(participant, n)).await.unwrap();
        }
        drop(sender);
        running.await.unwrap();
        let (took, after) = (started.elapsed().as_secs_f64(), cpu(name));
        let each = |seconds: f64| seconds * 1e6 / commands as f64;
        println!(
            "{participant:>12}: {:6.0} commands/s, CPU per command {:5.1} µs here, {:5.1} µs in the server",
            commands as f64 / took,
            each(after.0 - before.0),
            each(after.1 - before.1),
        );
    }
    database.close().await;
}
