//! Participants that do nothing: for measurement only.
//!
//! They answer the same four commands as the real ones, with answers of the same shape, from memory and without a
//! database, a barrier or a check. What a bench reaches with them is what the engine alone can do.

use std::sync::Arc;

use amends_sdk::{Command, Failure, Operation, Outcome, Payload, Reply, ReplySink};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Most commands answered in one go; as many as a real host takes into one transaction.
const BATCH_MAX: usize = 256;

/// Answers commands until `commands` is closed or `cancel` is. For measurement only: nothing is done or remembered.
pub async fn run_trivial(
    mut commands: mpsc::Receiver<Command>,
    replies: Arc<dyn ReplySink>,
    cancel: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        let received = tokio::select! {
            received = commands.recv_many(&mut batch, BATCH_MAX) => received,
            () = cancel.cancelled() => 0,
        };
        if received == 0 {
            return;
        }
        replies.send(batch.drain(..).map(answer).collect()).await;
    }
}

fn answer(command: Command) -> Reply {
    let outcome = match command.operation {
        Operation::Execute => execute(&command),
        Operation::Compensate => Outcome::Done(Payload::null()),
    };
    Reply {
        command_id: command.id,
        saga_id: command.saga_id,
        step: command.step,
        operation: command.operation,
        attempt: command.attempt,
        outcome,
    }
}

/// Builds what the real step would answer, as far as later steps could ask for it.
fn execute(command: &Command) -> Outcome {
    let part = |pointer| command.payload.pointer(pointer).map_or("null", |part| part.get());
    let id = command.id;
    let text = match command.command.as_str() {
        "order.create" => format!(r#"{{"order_id":{}}}"#, part("/order_id")),
        "payment.charge" => {
            format!(r#"{{"payment_id":"pay_{id}","amount":{},"currency":{}}}"#, part("/amount"), part("/currency"))
        }
        "inventory.reserve" => format!(r#"{{"reservation_id":"res_{id}","items":{}}}"#, part("/items")),
        "notification.send" => format!(r#"{{"notification_id":"ntf_{id}"}}"#),
        other => return refused(format!("no trivial participant answers to {other:?}")),
    };
    Payload::from_json(text).map_or_else(|error| refused(error.to_string()), Outcome::Done)
}

fn refused(message: String) -> Outcome {
    Outcome::Refused(Failure::new("UNKNOWN_COMMAND", message))
}
