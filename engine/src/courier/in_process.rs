//! The courier of the embedded engine: a bounded queue to a host in the same process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use amends_core::{Command, Timestamp};
use async_trait::async_trait;
use tokio::sync::mpsc;

use super::hindered::Hindered;
use super::{Courier, CourierError, Served};

/// Hands commands to a host through a queue.
pub struct InProcess {
    queue: mpsc::Sender<Command>,
    commands: Vec<String>,
    suspended: AtomicBool,
    /// The queue was full, or the host waited.
    hindered: Hindered,
}

impl InProcess {
    /// Makes the courier and the end that the host receives from. `commands` are those that the host serves;
    /// `capacity` bounds the queue and should be no less than the engine's sagas in flight.
    pub fn new(commands: Vec<String>, capacity: usize) -> (Self, mpsc::Receiver<Command>) {
        let (queue, receiver) = mpsc::channel(capacity);
        (Self { queue, commands, suspended: AtomicBool::new(false), hindered: Hindered::default() }, receiver)
    }

    /// The host waits for its database, or no longer does.
    pub fn suspend(&self, away: bool) {
        self.hindered.note();
        self.suspended.store(away, Ordering::Release);
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
                self.hindered.note();
                result = Err(CourierError::Unavailable(error.to_string()));
            }
        }
        result
    }

    fn served(&self) -> Vec<Served> {
        let mut by_participant: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for command in &self.commands {
            let participant = command.split('.').next().unwrap_or(command);
            by_participant.entry(participant).or_default().push(command.clone());
        }
        let suspended = self.suspended.load(Ordering::Acquire);
        let served = by_participant.into_iter().map(|(participant, commands)| Served {
            participant: participant.to_owned(),
            courier: "in-process",
            target: String::new(),
            commands,
            held: suspended.then(|| "its database is not available".to_owned()),
        });
        served.collect()
    }

    fn holds(&self, _participant: &str, _sent: Timestamp) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    fn hindered(&self, _participant: &str) -> Timestamp {
        self.hindered.last()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use amends_core::Reply;
    use tokio::sync::Mutex;

    use super::*;
    use crate::courier::Inlet;
    use crate::courier::conformance::{self, Kept, SERVED, Subject};

    struct Under {
        courier: InProcess,
        queue: Mutex<mpsc::Receiver<Command>>,
        inlet: Arc<Kept>,
    }

    #[async_trait]
    impl Subject for Under {
        fn courier(&self) -> &dyn Courier {
            &self.courier
        }

        async fn receive(&self) -> Option<Command> {
            let mut queue = self.queue.lock().await;
            tokio::time::timeout(Duration::from_secs(1), queue.recv()).await.ok().flatten()
        }

        async fn reply(&self, reply: Reply) {
            self.inlet.replies(vec![reply]).await;
        }
    }

    #[tokio::test]
    async fn conforms() {
        conformance::run(|inlet| async {
            let (courier, queue) = InProcess::new(vec![SERVED.to_owned()], 1_000);
            Under { courier, queue: Mutex::new(queue), inlet }
        })
        .await;
    }

    #[tokio::test]
    async fn a_full_queue_is_said_and_never_waited_for() {
        let (courier, queue) = InProcess::new(vec![SERVED.to_owned()], 1);
        let command: Command = serde_json::from_str(COMMAND).unwrap();
        let answer = courier.send(vec![command.clone(), command]).await;
        assert!(matches!(answer, Err(CourierError::Unavailable(_))), "{answer:?}");
        assert_eq!(queue.len(), 1);
    }

    const COMMAND: &str = r#"{"id":"00000000-0000-0000-0000-000000000001",
        "saga_id":"00000000-0000-0000-0000-000000000002","saga_type":"suite","step":"echo","operation":"execute",
        "command":"suite.echo","participant":"suite","attempt":1,"revision":0,"redrive":0,"deadline":0,"payload":null,
        "cause":null}"#;
}
