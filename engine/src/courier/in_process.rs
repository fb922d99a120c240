//! The courier of the embedded engine: a bounded queue to a host in the same process.

use amends_core::Command;
use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Courier, CourierError};

/// Hands commands to a host through a queue.
pub struct InProcess {
    queue: mpsc::Sender<Command>,
    commands: Vec<String>,
}

impl InProcess {
    /// Makes the courier and the end that the host receives from. `commands` are those that the host serves;
    /// `capacity` bounds the queue and should be no less than the engine's sagas in flight.
    pub fn new(commands: Vec<String>, capacity: usize) -> (Self, mpsc::Receiver<Command>) {
        let (queue, receiver) = mpsc::channel(capacity);
        (Self { queue, commands }, receiver)
    }
}

#[async_trait]
impl Courier for InProcess {
    /// Never waits: a lane that waited for the host while the host waits for the lane to take its replies would stop
    /// both. What does not fit is reported, and sent again by its time-out.
    async fn send(&self, commands: Vec<Command>) -> Result<(), CourierError> {
        let mut result = Ok(());
        for command in commands {
            if !self.commands.contains(&command.command) {
                result = Err(CourierError::Unserved(command.command));
            } else if let Err(error) = self.queue.try_send(command) {
                result = Err(CourierError::Unavailable(error.to_string()));
            }
        }
        result
    }

    fn name(&self) -> &'static str {
        "in-process"
    }

    fn commands(&self) -> Vec<String> {
        self.commands.clone()
    }
}
